// What the figures show of a choice: costs on the chosen device, its limits, trials that do not
// fit made faint, the chosen trial and the one beside it marked, scores by their distance from
// the best one there can be.
const CHOSEN = "#c2255c", OTHER = "#7048e8";
const places = new Map(data.trials.map((trial, place) => [trial.number, place]));
const fields = data.resources.map(resource => resource.field);
const own = data.choices.find(choices => choices.key === "any");

function valueOf(name, trial, device) {
  const r = fields.indexOf(name);
  return r < 0 ? data.trials[trial].score
    : column(data, device.costs[r], trial) * data.resources[r].scale;
}

// The traces of a figure for a device. Measured costs stay: nothing is measured elsewhere.
function ported(trace, device) {
  const {x, y} = trace.meta ?? {};
  if (x === undefined || data.source === "measured") return trace;
  const r = fields.indexOf(x), scale = data.resources[r].scale;
  if (trace.name === "dense")
    return {...trace, x: device.dense.map(dense => dense && dense[r] * scale)};
  if (trace.name === "staircase") {
    const front = device.fronts[r].map(number => places.get(number));
    const steps = front.map(trial => valueOf(x, trial, device));
    const scores = front.map(trial => data.trials[trial].score);
    const ends = data.trials.map((_, trial) => valueOf(x, trial, device));
    return {...trace, x: [...steps, Math.max(...trace.x, ...ends)],
            y: [...scores, scores.at(-1)]};
  }
  if (!trace.customdata) return trace;
  const trials = trace.customdata.map(number => places.get(number));
  return {...trace, x: trials.map(trial => valueOf(x, trial, device)),
          y: trials.map(trial => valueOf(y, trial, device))};
}

function faded(trace, view) {
  if (!trace.customdata || trace.name === "staircase") return trace;
  const trials = trace.customdata.map(number => places.get(number));
  const usual = trace.marker.opacity ?? 1;
  const opacity = trials.map(trial =>
    holds(needs(data, view.device, trial), view.limits) ? usual : usual / 4);
  return {...trace, hovertext: trials.map(trial => data.trials[trial].hover),
          hoverinfo: "text", marker: {...trace.marker, opacity}};
}

// A ring around a trial, in each plane of a figure.
function rings(traces, trial, name, color, size) {
  const seen = new Set();
  return traces.flatMap(trace => {
    const at = trace.customdata && trace.name !== "staircase"
      ? trace.customdata.indexOf(data.trials[trial].number) : -1;
    const plane = `${trace.xaxis}${trace.yaxis}`;
    if (at < 0 || seen.has(plane)) return [];
    seen.add(plane);
    return [{type: "scatter", name, mode: "markers", x: [trace.x[at]], y: [trace.y[at]],
             xaxis: trace.xaxis, yaxis: trace.yaxis, hoverinfo: "skip", cliponaxis: false,
             marker: {symbol: "circle-open", size, color, line: {width: 3, color}}}];
  });
}

// The limits as lines with their labels; one that is far away is named at the edge.
function limited(layout, r, limit) {
  const shapes = (layout.shapes ?? []).filter(shape => shape.name !== "limit");
  const annotations = (layout.annotations ?? []).filter(label => label.name !== "limit");
  if (limit === null) return {...layout, shapes, annotations};
  const {scale, unit} = data.resources[r];
  const {type, range} = layout.xaxis;
  const value = limit * scale;
  const at = type === "log" ? Math.log10(value) : value;
  const shown = range === undefined || at <= range[1];
  const share = range === undefined ? 0.5 : (at - range[0]) / (range[1] - range[0]);
  const text = `limit ${short(value)} ${unit}`;
  const label = {name: "limit", text: shown ? text : `${text} \u2192`, showarrow: false,
    x: shown ? Math.max(at, range?.[0] ?? at) : 1, xref: shown ? "x" : "paper", y: 1,
    yref: "paper", yanchor: "bottom", font: {size: 11, color: "#c92a2a"},
    xanchor: !shown || share > 0.7 ? "right" : share < 0.2 ? "left" : "center"};
  const line = {type: "line", name: "limit", layer: "below", x0: value, x1: value, y0: 0, y1: 1,
    yref: "paper", line: {color: "#c92a2a", dash: "dash", width: 1.4}};
  return {...layout, shapes: shown ? [...shapes, line] : shapes,
          annotations: [...annotations, label]};
}

function ticksWithin(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const digit of [1, 2, 5]) ticks.push(digit * 10 ** power);
  return ticks.filter(tick => tick >= low && tick <= high);
}

// Scores as distances from the best one, on a logarithmic axis whose ticks name the scores. What
// is at the best one lies at the last tick, below the least distance that there is.
function byError(traces, layout) {
  const axes = new Set(traces.filter(trace => trace.meta?.y === "score")
    .map(trace => trace.yaxis ?? "y"));
  const distance = score => Math.abs(data.best - score);
  const all = data.trials.map(trial => distance(trial.score)).filter(value => value > 0);
  const least = Math.min(...all), most = Math.max(...all);
  const exact = all.length < data.trials.length;
  const floor = exact ? least / 2 : least;
  const up = score => score === null ? null : Math.max(distance(score), floor);
  const moved = traces.map(trace => {
    if (!axes.has(trace.yaxis ?? "y")) return trace;
    const y = trace.y.map(up);
    const spread = trace.error_y?.array;
    if (!spread) return {...trace, y};
    const minus = spread.map((value, at) => Math.min(value, y[at] - floor));
    return {...trace, y, error_y: {...trace.error_y, symmetric: false, arrayminus: minus}};
  });
  const sign = data.rises ? -1 : 1, inside = ticksWithin(least * 0.7, most * 1.3);
  const values = exact ? [floor, ...inside] : inside;
  const texts = values.map(tick => exact && tick === floor ? String(data.best)
    : String(Number((data.best + sign * tick).toPrecision(6))));
  const margin = 0.06 * Math.log10(most / floor || 10) + 0.02;
  const range = [Math.log10(most) + margin, Math.log10(floor) - margin];
  const frame = {...layout};
  for (const axis of axes) {
    const name = nameOf(axis);
    const title = {...layout[name].title, text: `${layout[name].title.text}, by log error`};
    frame[name] = {...layout[name], type: "log", range, tickvals: values, ticktext: texts, title};
  }
  if (axes.has("y")) frame.shapes = (layout.shapes ?? []).map(shape =>
    shape.yref === "paper" ? shape : {...shape, y0: up(shape.y0), y1: up(shape.y1)});
  return {traces: moved, layout: frame};
}

const nameOf = axis => axis.replace(/^[xy]/, "$&axis");

// The axis of a resource whose costs are those of another device.
function elsewhere(axis, device) {
  const r = data.resources.findIndex(resource => resource.unit === "ms");
  const times = ranked(data, device).map(trial => costs(data, device, trial)[r]);
  const ends = [Math.min(...times), Math.max(...times, ...device.dense.map(dense => dense?.[r] ?? 0))];
  const text = axis.title.text.replace(/ \(/, ` on ${device.device} (`);
  const title = {...axis.title, text}, log = axis.type === "log";
  const margin = log ? (ends[1] / ends[0]) ** 0.08 : 0.08 * (ends[1] - ends[0]);
  const range = log ? [Math.log10(ends[0] / margin), Math.log10(ends[1] * margin)]
    : [Math.max(0, ends[0] - margin), ends[1] + margin];
  if (!log) return {...axis, title, range};
  const ticks = ticksWithin(ends[0] / margin, ends[1] * margin);
  const every = 1 + Math.floor((ticks.length - 1) / 8);
  const tickvals = ticks.filter((_, at) => at % every === 0);
  return {...axis, title, range, tickvals, ticktext: tickvals.map(String)};
}

function isOwn(device) {
  return data.source === "measured" ||
    fields.every((_, r) => device.costs[r] === own.costs[r]);
}

function marked(id, figure, view) {
  if (!figure.data.some(trace => trace.customdata)) return figure;
  const {device} = view, panel = fields.indexOf(id);
  const moved = !isOwn(device);
  let layout = {...figure.layout};
  let traces = figure.data.map(trace => ported(trace, device));
  if (moved) traces = traces.filter(trace => trace.meta !== undefined);  // not the study's budgets
  for (const {meta, xaxis = "x", yaxis = "y"} of moved ? traces : [])
    for (const [field, axis] of [[meta.x, xaxis], [meta.y, yaxis]])
      if (field === "latency_ms") layout[nameOf(axis)] = elsewhere(figure.layout[nameOf(axis)], device);
  traces = traces.map(trace => faded(trace, view));
  if (view.chosen !== undefined)
    traces.push(...rings(traces, view.chosen, "chosen", CHOSEN, 19));
  if (view.other !== undefined)
    traces.push(...rings(traces, view.other.trial, "compared", OTHER, 26));
  if (panel >= 0) layout = limited(layout, panel, view.limits[panel]);
  return view.byError ? (({traces: data, layout}) => ({data, layout}))(byError(traces, layout))
    : {data: traces, layout};
}

// The trials whose points lie where a figure was clicked, as places in `data.trials`.
function pointsAt(element, event) {
  const [point] = event.points;
  const {xaxis, yaxis} = point, x = xaxis.d2p(point.x), y = yaxis.d2p(point.y);
  const found = new Set();
  for (const trace of element.data) {
    const same = (trace.xaxis ?? "x") === xaxis._id && (trace.yaxis ?? "y") === yaxis._id;
    if (!same || !trace.customdata || trace.name === "staircase") continue;
    trace.customdata.forEach((number, at) => {
      const away = Math.hypot(xaxis.d2p(trace.x[at]) - x, yaxis.d2p(trace.y[at]) - y);
      if (away <= 6) found.add(places.get(number));
    });
  }
  return [...found];
}

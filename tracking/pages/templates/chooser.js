// The page's part for people: fields, answers, the address.
const byId = id => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const cell = (text, kind = "") => element("td", {class: kind || null}, text);
const heading = (text, kind = "") => element("th", {scope: "col", class: kind || null}, text);
const rowHeading = text => element("th", {scope: "row", class: "text"}, text);

function table(headings, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...rows.map(cells => element("tr", {}, ...cells))));
}

const short = value => Math.abs(value) < 100
  ? String(Number(value.toPrecision(3))) : value.toFixed(0);
const size = value => value >= 1 << 20 ? `${short(value / (1 << 20))} MiB`
  : value >= 1024 ? `${short(value / 1024)} KiB` : `${value} B`;
const amount = (value, r) => value === null ? "\u2013"
  : data.resources[r].unit === "ms" ? `${short(value)} ms` : size(value);
const score = value => value === null || value === undefined ? "\u2013" : value.toFixed(4);
const signed = (value, text) => `${value < 0 ? "\u2212" : "+"}${text}`;
const gain = (after, before) => after === before ? "the same"
  : signed(after - before, score(Math.abs(after - before)));
const trialName = trial => `trial ${data.trials[trial].number}`;
const scoreOf = trial => data.trials[trial].score;

// --- the state of the page, which is in its address

function stateOf(fragment) {
  const words = new URLSearchParams(fragment.replace(/^#/, ""));
  const keyed = key => data.choices.find(choices => choices.key === key);
  const device = keyed(words.get("device")) ?? keyed(data.first) ?? data.choices[0];
  const [number, on] = (words.get("other") ?? "").split("@");
  const trial = number === "" ? undefined : places.get(Number(number));
  const other = trial === undefined ? undefined : {trial, device: keyed(on) ?? device};
  const axis = words.get("axis") ?? (data.crowded ? "error" : "score");
  return {device, other, byError: axis === "error" && data.best !== null,
          texts: data.resources.map(resource => words.get(resource.key) ?? "")};
}

function fragmentOf({device, texts, other, byError}) {
  const words = new URLSearchParams({device: device.key});
  data.resources.forEach((resource, r) => texts[r].trim() && words.set(resource.key, texts[r].trim()));
  if (other) words.set("other", `${data.trials[other.trial].number}@${other.device.key}`);
  if (byError !== data.crowded && data.best !== null) words.set("axis", byError ? "error" : "score");
  return `#${words}`;
}

let state = stateOf(location.hash);

function go(changes, keep = true) {
  state = {...state, ...changes};
  if (keep) try {
    if (location.hash !== fragmentOf(state)) history.pushState(null, "", fragmentOf(state));
  } catch { /* in a frame without an address of its own, such as MLflow's */ }
  show();
}

addEventListener("hashchange", () => { state = stateOf(location.hash); show(); });

// --- fields

const fieldsets = data.resources.map(resource => ({
  text: byId(`limit-${resource.key}`), slider: byId(`slider-${resource.key}`),
  hint: byId(`hint-${resource.key}`), error: byId(`error-${resource.key}`),
}));

function stopsOf(device, r) {
  const values = ranked(data, device).map(trial => needs(data, device, trial)[r]);
  return stops(Math.min(...values), Math.max(...values), data.resources[r]);
}

function withText(r, text) {
  return {texts: state.texts.map((old, at) => at === r ? text : old)};
}

function withSlider(r, position) {
  const values = stopsOf(state.device, r);
  return withText(r, position < values.length ? writeLimit(values[position], data.resources[r]) : "");
}

fieldsets.forEach(({text, slider}, r) => {
  text.addEventListener("input", () => go(withText(r, text.value), false));
  text.addEventListener("change", () => go(withText(r, text.value)));
  slider.addEventListener("input", () => go(withSlider(r, Number(slider.value)), false));
  slider.addEventListener("change", () => go(withSlider(r, Number(slider.value))));
});

function showField(r, parsed, view) {
  const {text, slider, hint, error} = fieldsets[r], values = stopsOf(view.device, r);
  if (text.value !== state.texts[r]) text.value = state.texts[r];
  slider.max = values.length;
  const limit = parsed.value;
  const position = limit === null ? values.length : values.filter(value => value <= limit).length - 1;
  slider.value = Math.max(position, 0);
  slider.setAttribute("aria-valuetext", limit === null ? "no limit" : amount(limit, r));
  const left = view.device.limits[r];
  hint.textContent = left === null ? "no limit of its own" : `the chip leaves ${amount(left, r)}`;
  error.textContent = parsed.error ?? "";
  text.setAttribute("aria-invalid", parsed.error ? "true" : "false");
}

byId("device").addEventListener("change", event =>
  go({device: data.choices.find(choices => choices.key === event.target.value)}));
byId("axis")?.addEventListener("change", event => go({byError: event.target.checked}));
byId("clear").addEventListener("click", () => go({texts: data.resources.map(() => ""), other: undefined}));
byId("keep").addEventListener("click", () => go({other: {trial: view.chosen, device: state.device}}));
byId("other").addEventListener("change", event => {
  const trial = event.target.value === "" ? undefined : Number(event.target.value);
  go({other: trial === undefined ? undefined : {trial, device: state.device}});
});

byId("link").hidden = location.protocol === "about:" || location.protocol === "blob:";
for (const button of document.querySelectorAll("[data-copy]"))
  button.addEventListener("click", () => copy(button,
    button.dataset.copy === "address" ? location.href : byId(button.dataset.copy).textContent));

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // not allowed in this frame
    const field = element("textarea", {}, text);
    button.after(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
}

// --- answers

function verdict(view) {
  if (view.unreadable) return "A limit cannot be read.";
  if (view.unlimited) return "Choose a chip, or write a limit.";
  if (view.chosen === undefined) return missing(view);
  const {number, test} = data.trials[view.chosen];
  const seen = test === null ? "" : `, ${score(test)} on test`;
  return `Trial ${number}: ${data.metric} ${score(scoreOf(view.chosen))}${seen}`;
}

// What would have to be given for anything to fit.
function missing({device, limits}) {
  const alone = data.resources.flatMap((_, r) => {
    const next = limits[r] === null ? undefined : withMore(data, device, limits, r);
    return next === undefined ? [] : [{...next, r, share: next.limit / limits[r] - 1}];
  });
  alone.sort((a, b) => a.share - b.share);
  const over = (trial, r) => {
    const need = needs(data, device, trial)[r];
    return `${data.resources[r].name} ${amount(need, r)} instead of ${amount(limits[r], r)}`;
  };
  const trial = alone.length ? alone[0].trial : nearest(data, device, limits);
  if (trial === undefined) return "No trial can be chosen for this chip.";
  const short = alone.length ? [alone[0].r]
    : [...limits.keys()].filter(r => limits[r] !== null && needs(data, device, trial)[r] > limits[r]);
  return `Nothing fits. Nearest: ${short.map(r => over(trial, r)).join(" and ")} would admit ` +
    `${trialName(trial)} (${score(scoreOf(trial))}).`;
}

function showAmounts(view) {
  const rows = view.chosen === undefined ? [] : data.resources.map((resource, r) => {
    const cost = costs(data, view.device, view.chosen)[r];
    const need = needs(data, view.device, view.chosen)[r], limit = view.limits[r];
    const bar = element("div", {class: "bar"});
    bar.append(element("i", {style: `width:${limit === null ? 0 : 100 * need / limit}%`}));
    const margin = need > cost ? [element("small", {}, `${amount(need, r)} with its margin`)] : [];
    return [rowHeading(resource.name), element("td", {}, amount(cost, r), ...margin),
            element("td", {class: "bars"}, limit === null ? "" : bar),
            cell(limit === null ? "no limit" : `of ${amount(limit, r)}`),
            cell(limit === null ? "" : `${amount(limit - need, r)} left`)];
  });
  byId("amounts").replaceChildren(table(
    [heading("", "text"), heading("takes"), heading(""), heading("limit"), heading("left")], rows));
  byId("amounts").hidden = view.chosen === undefined;
  const {fronts = [], page, all} = view.chosen === undefined ? {} : data.trials[view.chosen];
  byId("about").replaceChildren(
    fronts.length ? `On the front: ${fronts.join(", ")}. ` : "",
    page ? element("a", {href: page}, "Why it looks as it does.") : "", " ",
    all ? element("a", {href: all}, "All that it answers, and its worst mistakes.") : "");
}

function stepCell(view, r, step, isMore) {
  if (step === undefined) return cell("nothing");
  const {trial, limit} = step, before = view.limits[r];
  const change = view.chosen === undefined ? "" : ` (${gain(scoreOf(trial), scoreOf(view.chosen))})`;
  const from = isMore ? `${signed(limit - before, amount(limit - before, r))}, from ${amount(limit, r)}`
    : `below ${amount(needs(data, view.device, view.chosen)[r], r)}`;
  const text = `${from}: ${score(scoreOf(trial))}${change}`;
  const least = view.device.limits[r];
  if (isMore && least !== null && limit > least) return cell(`${text}: more than the chip has`);
  const take = () => go(withText(r, writeLimit(limit, data.resources[r])));
  return element("td", {}, element("button", {type: "button", class: "step", onclick: take}, text));
}

function showSteps(view) {
  const rows = data.resources.map((resource, r) => [
    rowHeading(resource.name),
    stepCell(view, r, view.chosen === undefined ? undefined
      : withLess(data, view.device, view.limits, r), false),
    cell(amount(view.limits[r], r)),
    view.limits[r] === null ? cell("no limit")
      : stepCell(view, r, withMore(data, view.device, view.limits, r), true)]);
  byId("steps").replaceChildren(table(
    [heading("", "text"), heading("with less"), heading("limit now"), heading("with more")], rows));
}

// --- two trials side by side

function bars(width, most, kind) {
  const bar = element("div", {class: `bar ${kind}`});
  bar.append(element("i", {style: `width:${100 * (width ?? 0) / most}%`}));
  return element("td", {class: "bars"}, bar, element("span", {}, width ?? "\u2013"));
}

function costRows(one, two) {
  const [first, second] = [one, two].map(({trial, device}) => costs(data, device, trial));
  const trials = [data.trials[one.trial], data.trials[two.trial]];
  const scores = [["score", "score"], ["on test", "test"]].map(([name, part]) => [
    rowHeading(name), ...trials.map(trial => cell(score(trial[part]))),
    cell(trials.some(trial => trial[part] === null) ? "" : gain(trials[1][part], trials[0][part]))]);
  const amounts = data.resources.map((resource, r) => [
    rowHeading(resource.name), cell(amount(first[r], r)), cell(amount(second[r], r)),
    cell(signed(second[r] - first[r], amount(Math.abs(second[r] - first[r]), r)))]);
  const macs = [rowHeading("MACs"), ...trials.map(trial => cell(trial.macs.toLocaleString("en"))),
    cell(signed(trials[1].macs - trials[0].macs,
      Math.abs(trials[1].macs - trials[0].macs).toLocaleString("en")))];
  return [...scores, ...amounts, macs];
}

function widthRows(one, two) {
  const most = Math.max(1, ...data.trials.flatMap(trial => trial.widths.map(width => width ?? 0)));
  return data.groups.map((group, g) => {
    const [first, second] = [one, two].map(({trial}) => data.trials[trial].widths[g]);
    return [rowHeading(group), bars(first, most, "chosen"), bars(second, most, "compared"),
            cell((second ?? 0) === (first ?? 0) ? "" : signed((second ?? 0) - (first ?? 0),
              String(Math.abs((second ?? 0) - (first ?? 0)))))];
  });
}

function section(title) {
  return [element("th", {scope: "colgroup", colspan: 4, class: "text section"}, title)];
}

function showComparison(view) {
  const {chosen, other} = view, select = byId("other");
  const order = ranked(data, view.device);
  select.replaceChildren(element("option", {value: ""}, "nothing"), ...order.map(trial =>
    element("option", {value: trial}, `${trialName(trial)}: ${score(scoreOf(trial))}, ` +
      amount(costs(data, view.device, trial)[0], 0))));
  select.value = other === undefined ? "" : other.trial;
  byId("keep").disabled = chosen === undefined;
  const place = byId("comparison");
  if (chosen === undefined || other === undefined) {
    place.replaceChildren(element("p", {class: "note"},
      "Click a point in a figure, press a button in the table of the front, or choose a trial here. " +
      "\u201cKeep\u201d holds the one chosen now while you go on to other limits or another chip."));
    return;
  }
  const one = {trial: chosen, device: view.device};
  const title = ({trial, device}, name) => heading(`${name}: ${trialName(trial)} on ${device.device}`);
  place.replaceChildren(table(
    [heading("", "text"), title(one, "chosen"), title(other, "compared"), heading("difference")],
    [...costRows(one, other), ...classRows(one, other),
     section("channels of each group"), ...widthRows(one, other)]));
}

// --- what a trial answers

const share = value => value === null ? "\u2013" : `${(100 * value).toFixed(1)} %`;
const answersOf = (trial, split) => trial === undefined ? undefined : data.trials[trial].answers[split];

// What each finds of the samples of every class.
function classRows(one, two) {
  const split = byId("split").value;
  const [first, second] = [one, two].map(({trial}) => answersOf(trial, split)?.recall);
  if (!first || !second) return [];
  const rows = data.classes.map((name, c) => {
    const change = first[c] === null || second[c] === null || first[c] === second[c] ? ""
      : signed(second[c] - first[c], `${(100 * Math.abs(second[c] - first[c])).toFixed(1)} pp`);
    return [rowHeading(name), cell(share(first[c])), cell(share(second[c])), cell(change)];
  });
  return [section(`recall of each class, on ${split}`), ...rows];
}

function matrix({cells, support}) {
  const counts = data.classes.map(() => data.classes.map(() => 0));
  for (let at = 0; at < cells.length; at += 3) counts[cells[at]][cells[at + 1]] = cells[at + 2];
  const rows = counts.map((row, target) => [rowHeading(data.classes[target]),
    ...row.map((count, answer) => {
      const part = support[target] ? Math.round(100 * (count / support[target]) ** 0.5) : 0;
      const kind = answer === target ? "right" : "wrong";
      return element("td", {class: count ? kind : null, style: `--part:${part}%`,
        title: `${data.classes[target]} taken for ${data.classes[answer]}: ${count}`}, count || "");
    })]);
  const names = data.classes.map(name => element("th", {scope: "col"}, element("span", {}, name)));
  const made = table([heading("class \\ answer", "text"), ...names], rows);
  made.classList.add("matrix");
  made.classList.toggle("many", data.classes.length > 14);
  return made;
}

function showAnswers({chosen}) {
  const place = byId("answers"), splits = chosen === undefined ? [] : Object.keys(data.trials[chosen].answers);
  byId("answers-card").hidden = data.trials.every(trial => !Object.keys(trial.answers).length);
  const answers = answersOf(chosen, byId("split").value);
  if (!answers) {
    place.replaceChildren(element("p", {class: "note"}, chosen === undefined ? "No trial is chosen."
      : splits.length ? `${trialName(chosen)} was not evaluated on this split.`
      : `${trialName(chosen)} was not evaluated: trials on a front are, once the study is over.`));
    return;
  }
  byId("samples").textContent = `${answers.samples} samples`;
  if (answers.rows) {
    const rows = answers.rows.map(([name, ...values]) => [rowHeading(name), ...values.map(value => cell(value))]);
    place.replaceChildren(table(answers.headings.map((name, at) => heading(name, at ? "" : "text")), rows));
    return;
  }
  const byClass = data.classes.map((name, c) => [rowHeading(name), cell(share(answers.recall[c])),
    cell(share(answers.precision[c])), cell(answers.support[c])]);
  place.replaceChildren(
    element("div", {class: "wide"}, matrix(answers)),
    element("div", {class: "wide tall"}, table([heading("class", "text"), heading("recall"),
      heading("precision"), heading("samples")], byClass)));
}

byId("split").addEventListener("change", () => show());

// --- all together

let view;

function show() {
  const parsed = state.texts.map((text, r) => parseLimit(text, data.resources[r]));
  const limits = tightest(parsed.map(limit => limit.value), state.device);
  const unlimited = !state.device.named && limits.every(limit => limit === null);
  const unreadable = parsed.some(limit => limit.error);
  const chosen = unlimited || unreadable ? undefined : choose(data, state.device, limits);
  view = {...state, limits, chosen, unlimited, unreadable};
  byId("device").value = state.device.key;
  parsed.forEach((limit, r) => showField(r, limit, view));
  const said = verdict(view);
  if (byId("verdict").textContent !== said) byId("verdict").textContent = said;
  byId("command").textContent = chosen === undefined ? "" : command(data, state.device, limits);
  byId("get").hidden = chosen === undefined;
  if (byId("axis")) byId("axis").checked = state.byError;
  showAmounts(view);
  showSteps(view);
  showComparison(view);
  showAnswers(view);
  for (const row of document.querySelectorAll("[data-trial]")) {
    const trial = places.get(Number(row.dataset.trial));
    row.classList.toggle("chosen", trial === chosen);
    row.classList.toggle("compared", trial === state.other?.trial);
    row.querySelector("button")?.setAttribute("aria-pressed", trial === state.other?.trial);
  }
  draw(ofTrials);
}

const ofTrials = Object.keys(figures).filter(id => figures[id].data.some(trace => trace.customdata));
adjusted = (id, figure) => marked(id, figure, view);

for (const row of document.querySelectorAll("tr[data-trial]"))
  row.addEventListener("click", event => {
    if (event.target.closest("a, code")) return;
    const trial = places.get(Number(row.dataset.trial));
    go({other: state.other?.trial === trial ? undefined : {trial, device: state.device}});
  });

made = (id, figure) => {
  if (!ofTrials.includes(id)) return;
  figure.on("plotly_click", event => {
    const here = pointsAt(figure, event);
    if (!here.length) return;
    const next = here[(here.indexOf(state.other?.trial) + 1) % here.length];
    byId("here").textContent = here.length < 2 ? ""
      : `${here.length} trials lie here: ${here.map(trial => data.trials[trial].number).join(", ")}. ` +
        "Click again for the next.";
    go({other: {trial: next, device: state.device}});
    const row = document.querySelector(`tr[data-trial="${data.trials[next].number}"]`);
    row?.closest(".wide").scrollTo({top: row.offsetTop - row.offsetHeight});
  });
};

show();
draw();

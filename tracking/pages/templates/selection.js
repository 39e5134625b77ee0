// How the page chooses: the rule of `paring pick`. Trials are known by their place in
// `data.trials`; `device` is one of `data.choices`, whose rank, costs and needs are columns of
// numbers by trial, null where a trial cannot be chosen. Limits are three: flash and SRAM in
// bytes, latency in ms; null where there is none.

function column(data, place, trial) {
  return data.columns[place][trial];
}

function needs(data, device, trial) {
  return device.needed.map(place => column(data, place, trial));
}

function costs(data, device, trial) {
  return device.costs.map(place => column(data, place, trial));
}

// A limit as people write it: {value}, which is null for no text, or {error}.
function parseLimit(text, resource) {
  const written = text.trim().toLowerCase();
  if (written === "") return {value: null};
  const match = /^([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)$/.exec(written);
  const number = match ? Number(match[1]) : NaN;
  const inBytes = resource.unit !== "ms";
  const unit = match ? match[2] : "";
  const scale = unit === "" ? 1 : resource.units[unit];
  const value = inBytes ? Math.floor(number * scale) : number * scale;
  if (Number.isFinite(value) && number > 0 && (!inBytes || value >= 1)) return {value};
  const example = inBytes ? "32KiB, 16k or 4096" : "20ms, 0.5s or 20";
  return {value: null, error: `Cannot read "${text.trim()}": write a number such as ${example}`};
}

// The same number as text that `paring pick` reads as just this number.
function writeLimit(value, resource) {
  if (resource.unit === "ms") return `${value}ms`;
  const kib = value / 1024;
  return Number.isInteger(kib * 64) && kib >= 1 ? `${kib}KiB` : `${value}`;
}

// The tighter of what a person set and what the device leaves.
function tightest(limits, device) {
  return limits.map((limit, r) => {
    const own = device.limits[r];
    return limit === null ? own : own === null ? limit : Math.min(limit, own);
  });
}

function holds(needed, limits, except = -1) {
  return needed.every((need, r) => r === except || limits[r] === null || need <= limits[r]);
}

// Every trial that can be chosen for a device, the best first.
function ranked(data, device) {
  const rank = data.columns[device.rank];
  const trials = [...rank.keys()].filter(trial => rank[trial] !== null);
  return trials.sort((a, b) => rank[a] - rank[b]);
}

// What `paring pick` gives: the first that fits; undefined if none does.
function choose(data, device, limits) {
  return ranked(data, device).find(trial => holds(needs(data, device, trial), limits));
}

// The next better trial that a larger limit on one resource alone would admit, or the first if
// nothing fits: {trial, limit}; undefined if there is none.
function withMore(data, device, limits, resource) {
  const order = ranked(data, device);
  const chosen = choose(data, device, limits);
  const better = chosen === undefined ? order : order.slice(0, order.indexOf(chosen));
  let next;
  for (const trial of better) {
    const needed = needs(data, device, trial);
    if (!holds(needed, limits, resource)) continue;
    const limit = needed[resource];
    if (next === undefined || limit < next.limit) next = {trial, limit};
  }
  return next;
}

// What is left when a limit is lower than what the chosen trial needs: {trial, limit}, with the
// lowest limit at which it is so; undefined if nothing is.
function withLess(data, device, limits, resource) {
  const chosen = choose(data, device, limits);
  if (chosen === undefined) return undefined;
  const least = needs(data, device, chosen)[resource];
  const trial = ranked(data, device).find(other => {
    const needed = needs(data, device, other);
    return needed[resource] < least && holds(needed, limits);
  });
  return trial === undefined ? undefined : {trial, limit: needs(data, device, trial)[resource]};
}

// Where nothing fits, the trial whose largest excess, as a share of its limit, is least.
function nearest(data, device, limits) {
  const excess = trial => Math.max(...needs(data, device, trial).map(
    (need, r) => limits[r] === null ? -1 : limits[r] > 0 ? need / limits[r] - 1 : Infinity));
  let best;
  for (const trial of ranked(data, device))
    if (best === undefined || excess(trial) < excess(best)) best = trial;
  return best;
}

// The line that gets what is chosen. Limits that the device's name stands for are left out.
function command(data, device, limits) {
  const budget = data.resources.flatMap((resource, r) =>
    limits[r] === null || (device.named && limits[r] === device.limits[r])
      ? [] : [`budget.${resource.key}=${writeLimit(limits[r], resource)}`]);
  return ["paring pick", `study=${data.study}`, device.words, ...budget].filter(Boolean).join(" ");
}

// Values on the way of a slider, round ones: sixteen to the doubling for bytes, ninety to the
// power of ten for times.
function stops(low, high, resource) {
  const [base, first, parts] = resource.unit === "ms" ? [10, 10, 90] : [2, 16, 16];
  const values = [];
  for (let power = Math.floor(Math.log(low) / Math.log(base)); base ** power <= high; power++)
    for (let part = 0; part < parts; part++)
      values.push(Number(((first + part) / first * base ** power).toPrecision(12)));
  const above = values.findIndex(value => value >= high);
  const whole = resource.unit === "ms" ? values : values.filter(Number.isInteger);
  return whole.filter(value => value >= low && value <= (above < 0 ? high : values[above]));
}

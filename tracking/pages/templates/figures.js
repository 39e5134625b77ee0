// Draws each figure in the element of its name, in the colours that the reader's system asks for.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const config = {responsive: true, displayModeBar: false};
const DARK = {
  "#1f2933": "#e3e8ee", "white": "#1c232b", "#e8edf2": "#2c353f", "#b8c4ce": "#566270",
  "#9fb0c0": "#66788a", "#0b7285": "#3bc9db", "#d9730d": "#ffa94d", "#c92a2a": "#ff8787",
  "#7048e8": "#b197fc", "#2b8a3e": "#69db7c", "#c2255c": "#f783ac", "#5c940d": "#a9e34b",
  "#c2410c": "#ff922b",
};

function themed(part) {
  if (!dark.matches || part === null) return part;
  if (typeof part === "string")
    return (DARK[part] ?? part).replace("rgba(70, 90, 110,", "rgba(170, 190, 210,");
  if (Array.isArray(part)) return typeof part[0] === "number" ? part : part.map(themed);
  if (typeof part !== "object") return part;
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, themed(value)]));
}

let adjusted = (id, figure) => figure;  // what a page makes of a figure before it is drawn
let made = () => {};  // what a page does with the element of a figure once it is there

const stale = new Set();
const idle = () => new Promise(done => setTimeout(done));

// Draw figures from the top of the page, one at a time, so that the page goes on to answer.
async function draw(ids = Object.keys(figures)) {
  const isBusy = stale.size > 0 || document.body.dataset.drawing === "true";
  ids.forEach(id => stale.add(id));
  if (isBusy) return;
  document.body.dataset.drawing = "true";
  while (stale.size) {
    await idle();
    const id = Object.keys(figures).find(id => stale.has(id));
    stale.delete(id);
    const {data: traces, layout} = themed(adjusted(id, figures[id]));
    const element = document.getElementById(id), isNew = element.on === undefined;
    Plotly.react(element, traces, layout, config);
    if (isNew) made(id, element);
  }
  document.body.dataset.drawing = "false";
}

dark.addEventListener("change", () => draw());

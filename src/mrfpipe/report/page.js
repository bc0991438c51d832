// One page, one result. `state` says what is shown; `draw` shows it.

const state = {
  slice: 0, y: N_Y >> 1, x: N_X >> 1, view: "result", faded: true, alone: null, pointed: null,
  mode: "voxel", chosen: null, regions: [], active: -1, corners: [],
};
const panels = [], comparisons = [];
let inside, rows, signals, crop;

function buildTools() {
  Object.assign(element("slice"), { max: N_SLICES, disabled: N_SLICES === 1 });
  element("slice").addEventListener("input", event => goTo({ slice: event.target.value - 1 }));
  const views = data.truthMask ? [...VIEWS, "beside"] : [];
  element("views").hidden = !views.length;
  for (const view of views) {
    const input = make("input", { type: "radio", name: "view", value: view, checked: view === "result" });
    input.addEventListener("change", () => { state.view = view; draw(); });
    element("views").append(make("label", {}, input, wordOf(view)));
  }
  for (const input of document.querySelectorAll("input[name=mode]"))
    input.addEventListener("change", () => { state.mode = input.value; state.corners = []; draw(); });
  element("close").addEventListener("click", closePolygon);
  element("clear").addEventListener("click", () => { Object.assign(state, { regions: [], active: -1, corners: [] }); draw(); });
  element("reset").addEventListener("click", resetWindows);
  element("fade").addEventListener("change", event => { state.faded = event.target.checked; draw(); });
  element("fading").hidden = !data.images.some(image => image.counts);
  element("quality-maps").addEventListener("toggle", draw);
  element("copy").addEventListener("click", event => copyText(table(), event.target));
  element("save").addEventListener("click", saveRegions);
  element("open").addEventListener("change", openRegions);
  element("name").addEventListener("change", event => renameRegion(event.target.value));
}

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawNow(); });
}

function drawNow() {
  element("slice").value = state.slice + 1;
  element("slice-number").textContent = `${state.slice + 1} of ${N_SLICES}, y ${state.y}, x ${state.x}`;
  layOut();
  for (const panel of panels) if (isDrawn(panel)) drawPanel(panel);
  drawRegions();
  drawSignal();
}

// The part of the image that holds the mask of any slice, and a margin.
function cropOf(masks) {
  let [top, bottom, left, right] = [N_Y, -1, N_X, -1];
  for (const mask of masks) mask.forEach((m, i) => {
    if (!m) return;
    const y = Math.floor(i / N_X) % N_Y, x = i % N_X;
    [top, bottom, left, right] = [Math.min(top, y), Math.max(bottom, y), Math.min(left, x), Math.max(right, x)];
  });
  if (bottom < 0) return { y: 0, x: 0, ny: N_Y, nx: N_X };
  const margin = Math.ceil(0.05 * Math.max(bottom - top, right - left)) + 1;
  const y = Math.max(0, top - margin), x = Math.max(0, left - margin);
  return { y, x, ny: Math.min(N_Y, bottom + margin + 1) - y, nx: Math.min(N_X, right + margin + 1) - x };
}

// The voxel inside the mask that is nearest to the middle: the first values read are of tissue.
function central(slice) {
  const middle = { y: crop.y + (crop.ny >> 1), x: crop.x + (crop.nx >> 1) }, far = v => (v.y - middle.y) ** 2 + (v.x - middle.x) ** 2;
  let found = null;
  for (let y = 0; y < N_Y; y++) for (let x = 0; x < N_X; x++)
    if (inside[offset(slice, y, x)] && (!found || far({ y, x }) < far(found))) found = { y, x };
  return found ?? middle;
}

async function start() {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser cannot unpack the maps; use a newer one");
  inside = await unpack(data.mask, Uint8Array);
  const truthInside = data.truthMask && await unpack(data.truthMask, Uint8Array);
  rows = Int32Array.from(inside, (seen => m => m ? seen++ : -1)(0)); // number of the voxel, counted inside the mask
  for (const [name, table] of Object.entries(data.colours)) data.colours[name] = decode(table);
  crop = cropOf(truthInside ? [inside, truthInside] : [inside]);
  panels.push(...data.images.map(buildPanel));
  for (const panel of panels) { // a map and its standard deviation
    panel.deviation = panels.find(p => p.image.name === `${panel.image.name}_sd`);
    if (panel.deviation) panel.deviation.parameter = panel;
  }
  await read(panels.filter(p => !p.image.quality), truthInside);
  Object.assign(state, { slice: N_SLICES >> 1, ...central(N_SLICES >> 1) });
  buildTools();
  buildQuality();
  listenKeys();
  resetWindows();
  for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
  performance.mark("shown"); // the maps are seen before their quality and the fingerprints, the larger part, are read
  await read(panels.filter(p => p.image.quality), truthInside);
  await unpackLabels(data.labels);
  await buildAgreement();
  const match = panels.find(p => p.image.name === "match").values.filter(v => !Number.isNaN(v));
  const redraw = () => { comparisons.forEach(plotAgreement); drawRegions.shown = drawSignal.shown = null; draw(); drawHistogram(element("match-plot"), match, true); };
  new ResizeObserver(redraw).observe(element("viewer"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  signals = await unpackSignals(data.fingerprints);
  redraw();
  document.documentElement.dataset.ready = "yes";
}

async function read(some, truthInside) {
  await Promise.all(some.map(async panel => {
    const { image } = panel;
    panel.truth = image.truth ? await unpackImage(image.truth, truthInside) : null;
    panel.counts = await unpackCounts(image, inside);
    panel.truthCounts = image.truth ? await unpackCounts(image.truth, truthInside) : null;
    panel.values = await unpackImage(image, inside);
  }));
}

start().catch(error => { element("status").textContent = `The maps cannot be shown: ${error.message}.`; throw error; });

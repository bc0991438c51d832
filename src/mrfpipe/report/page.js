// One page, one result. `state` says what is shown; `draw` shows it. Values outside the mask are NaN, never 0.

const data = JSON.parse(document.getElementById("data").textContent);
const [N_SLICES, N_Y, N_X] = data.shape;
const element = id => document.getElementById(id);
const state = { slice: 0, y: N_Y >> 1, x: N_X >> 1, view: "result", mode: "voxel", chosen: null, regions: [], active: -1, corners: [] };
const panels = [], comparisons = [];
let inside, rows, signals, crop;

// ---- reading what Python packed ------------------------------------------------------------------------------------

function decode(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

const through = async (stream, bytes) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

async function unpack(text, Type) {
  const planes = await through(new DecompressionStream("gzip"), decode(text));
  const size = Type.BYTES_PER_ELEMENT, n = planes.length / size;
  const bytes = new Uint8Array(planes.length); // from significance by significance to number by number
  for (let p = 0; p < size; p++) for (let i = 0; i < n; i++) bytes[i * size + p] = planes[p * n + i];
  return new Type(bytes.buffer);
}

async function unpackImage(image, mask) {
  const numbers = await unpack(image.data, Uint16Array);
  const values = new Float32Array(mask.length).fill(NaN);
  for (let i = 0, v = 0; i < mask.length; i++) if (mask[i]) values[i] = image.offset + image.scale * numbers[v++];
  return values;
}

// Where a map counts; null if everywhere.
async function unpackCounts(image, mask) {
  if (!image.counts) return null;
  const counts = await unpack(image.counts, Uint8Array);
  let v = 0;
  return mask.map(m => m && counts[v++]);
}

async function unpackSignals(packed) {
  if (!packed) return null;
  const [basis, measured, residual] = await Promise.all(
    [unpack(packed.basis, Float32Array), unpack(packed.measured, Int16Array), unpack(packed.residual, Int16Array)]);
  return { ...packed, basis, measured, residual };
}

// ---- values and words ----------------------------------------------------------------------------------------------

const offset = (slice, y, x) => (slice * N_Y + y) * N_X + x;

function number(v, digits = 4) {
  if (!Number.isFinite(v)) return "–";
  if (v === 0) return "0";
  return Math.abs(v) >= 10 ** digits ? String(Math.round(v)) : v.toPrecision(digits).replace("-", "\u2212").replace(/e.*/, e => " × 10^" + e.slice(1));
}

const round = v => String(+v.toPrecision(4)).replace("-", "\u2212"); // for the ends of a scale: no zeros to fill up
const countBits = v => { let n = 0; for (let b = Math.round(v); b; b >>= 1) n += b & 1; return n; };

// For more values than a call takes as arguments.
const least = values => values.reduce((a, b) => Math.min(a, b));
const most = values => values.reduce((a, b) => Math.max(a, b));

function valueAt(panel, i) {
  if (panel.image.bits.length) return panel.values[i];
  if (state.view === "truth" && panel.truth) return panel.truth[i];
  if (state.view === "difference" && panel.truth) return panel.values[i] - panel.truth[i];
  return panel.values[i];
}

// What a value is drawn and averaged as: an edge counts how many parameters it names.
function amountAt(panel, i) {
  const value = valueAt(panel, i);
  return panel.image.bits.length && !Number.isNaN(value) ? countBits(value) : value;
}

function worded(panel, value) {
  if (Number.isNaN(value)) return "outside";
  const { bits, unit, digits } = panel.image;
  if (bits.length) return bits.filter((_, b) => Math.round(value) >> b & 1).join(", ") || "none";
  const sign = state.view === "difference" && panel.truth && value > 0 ? "+" : "";
  return sign + number(value, digits) + (unit ? " " + unit : "");
}

const wordOf = view => ({ result: data.names[0], truth: data.names[1], difference: data.names.join(" − ") })[view];

const shownView = panel => panel.truth ? state.view : "result";

// Result and truth share one window, so that they can be compared; the difference has its own.
const windowOf = panel => panel.windows[shownView(panel) === "difference" ? "difference" : "result"];

// ---- page ----------------------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) name in node ? node[name] = value : node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function buildPanel(image) {
  const panel = { image, windows: {}, defaults: { result: image.window, difference: image.difference?.window } };
  panel.readout = make("output", { className: "value" });
  panel.canvas = make("canvas", { className: "map", role: "img" });
  panel.canvas.setAttribute("aria-label", `${image.name}: ${image.title}`);
  panel.bar = make("canvas", { className: "bar", width: 256, height: 1 });
  panel.bar.setAttribute("aria-hidden", "true");
  panel.caption = make("p", { className: "title", title: image.title });
  panel.low = make("span");
  panel.high = make("span");
  const slider = words => {
    const input = make("input", { type: "range", min: -0.25, max: 1.25, step: 0.005 });
    input.setAttribute("aria-label", `${words} of ${image.name}`);
    return input;
  };
  [panel.level, panel.width] = [slider("Level"), slider("Window")];
  panel.width.min = 0.01;
  panel.level.addEventListener("input", () => slideWindow(panel));
  panel.width.addEventListener("input", () => slideWindow(panel));
  panel.buffer = document.createElement("canvas");
  panel.node = make("figure", {},
    make("figcaption", {}, make("b", {}, image.name), panel.readout),
    panel.caption, panel.canvas, panel.bar,
    make("div", { className: "ends" }, panel.low, make("span", {}, image.unit), panel.high),
    make("div", { className: "window" }, "level", panel.level, "window", panel.width));
  panel.node.dataset.name = image.name;
  listenPanel(panel);
  element("viewer").append(panel.node);
  return panel;
}

function resetWindows() {
  for (const panel of panels) panel.windows = { result: [...panel.defaults.result], difference: [...(panel.defaults.difference ?? [])] };
  draw();
}

// The sliders run over the default window, and a quarter of it or as much again to either side.
function slideWindow(panel) {
  const [low, high] = panel.defaults[shownView(panel) === "difference" ? "difference" : "result"];
  const span = high - low, level = low + span * panel.level.value, width = span * panel.width.value;
  setWindow(panel, level, width);
}

function setWindow(panel, level, width) {
  const window = windowOf(panel);
  [window[0], window[1]] = [level - width / 2, level + width / 2];
  draw();
}

function buildTools() {
  Object.assign(element("slice"), { max: N_SLICES, disabled: N_SLICES === 1 });
  element("slice").addEventListener("input", event => goTo({ slice: event.target.value - 1 }));
  const views = data.truthMask ? ["result", "truth", "difference"] : [];
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
  element("copy").addEventListener("click", copyTable);
  element("save").addEventListener("click", saveRegions);
  element("open").addEventListener("change", openRegions);
  element("name").addEventListener("change", event => renameRegion(event.target.value));
}

function buildQuality() {
  const voxels = inside.reduce((sum, m) => sum + m, 0);
  element("summary").textContent = `${voxels.toLocaleString("en")} voxels in ${N_SLICES} slice${N_SLICES > 1 ? "s" : ""} of ${N_X} × ${N_Y}`;
  element("precision").textContent = "Rounding of the values on this page: at most " +
    panels.filter(p => !p.image.bits.length).map(p => `${p.image.name} ${p.image.precision.toPrecision(1)} ${p.image.unit}`.trim()).join(", ");
  for (const text of data.warnings) element("warnings").append(make("li", {}, text));
  if (data.coils) {
    element("coils").hidden = false;
    element("coils").append(make("img", { src: data.coils, alt: "Coil sensitivity maps" }));
  }
  for (const [what, value] of data.account) element("account").append(make("dt", {}, what), make("dd", {}, value));
  for (const [name, share] of Object.entries(data.edges))
    element("edges").tBodies[0].append(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, (100 * share).toFixed(1) + " %")));
}

// ---- pointer and keys ----------------------------------------------------------------------------------------------

function voxelUnder(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  const at = (position, extent, start, n) => start + Math.min(n - 1, Math.max(0, Math.floor(position / extent * n)));
  return { y: at(event.clientY - box.top, box.height, crop.y, crop.ny), x: at(event.clientX - box.left, box.width, crop.x, crop.nx) };
}

function listenPanel(panel) {
  const { canvas } = panel;
  let dragged = null, grabbed = null;
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("pointerdown", event => {
    if (event.button === 2) {
      const [low, high] = windowOf(panel);
      dragged = { x: event.clientX, y: event.clientY, level: (low + high) / 2, width: high - low };
    } else if (event.button === 0) {
      goTo(voxelUnder(panel, event));
      act();
      grabbed = state.mode === "ellipse" && state.corners.length ? { y: state.y, x: state.x } : null;
    }
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (!dragged) return goTo(voxelUnder(panel, event));
    const step = dragged.width / 250;
    setWindow(panel, dragged.level + (dragged.y - event.clientY) * step,
      Math.max(dragged.width / 100, dragged.width + (event.clientX - dragged.x) * step));
  });
  canvas.addEventListener("pointerup", () => {
    if (grabbed && (grabbed.y !== state.y || grabbed.x !== state.x)) act(); // a drag ends where it lets go
    dragged = grabbed = null;
  });
  canvas.addEventListener("pointercancel", () => { dragged = grabbed = null; });
  canvas.addEventListener("dblclick", closePolygon);
  canvas.addEventListener("wheel", event => {
    if (N_SLICES === 1 || event.ctrlKey) return;
    event.preventDefault();
    goTo({ slice: state.slice + Math.sign(event.deltaY) });
  }, { passive: false });
}

function listenKeys() {
  element("viewer").addEventListener("keydown", event => {
    if (event.target !== element("viewer") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: { x: state.x - step }, ArrowRight: { x: state.x + step }, ArrowUp: { y: state.y - step }, ArrowDown: { y: state.y + step },
      PageUp: { slice: state.slice - 1 }, PageDown: { slice: state.slice + 1 }, Home: { slice: 0 }, End: { slice: N_SLICES - 1 },
    };
    if (event.key in moves) goTo(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") act();
    else if (event.key === "Escape") { state.corners = []; draw(); }
    else return;
    event.preventDefault();
  });
}

function goTo(place) {
  const clamp = (v, low, n) => Math.min(low + n - 1, Math.max(low, v));
  const { slice, y, x } = { ...state, ...place };
  const at = { slice: clamp(slice, 0, N_SLICES), y: clamp(y, crop.y, crop.ny), x: clamp(x, crop.x, crop.nx) };
  if (at.slice !== state.slice) state.corners = []; // a region lies in one slice
  Object.assign(state, at);
  draw();
}

// What a click, or Enter at the cross-hair, does.
function act() {
  const { slice, y, x, mode, corners } = state;
  if (mode === "voxel") state.chosen = { slice, y, x };
  else if (mode === "ellipse" && corners.length) addRegion([corners[0], { y, x }]);
  else if (corners.length > 2 && corners.at(-1).y === y && corners.at(-1).x === x) closePolygon();
  else if (!(corners.length && corners.at(-1).y === y && corners.at(-1).x === x)) corners.push({ y, x });
  draw();
}

// ---- drawing -------------------------------------------------------------------------------------------------------

const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawNow(); });
}

function drawNow() {
  element("slice").value = state.slice + 1;
  element("slice-number").textContent = `${state.slice + 1} of ${N_SLICES}, y ${state.y}, x ${state.x}`;
  for (const panel of panels) drawPanel(panel);
  drawRegions();
  drawSignal();
}

function fit(canvas) { // one dot of the canvas is one of the screen
  const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, width: box.width, height: box.height };
}

function paint(panel) { // voxels into the buffer, only if something of them has changed
  const [low, high] = windowOf(panel), view = shownView(panel);
  const painted = JSON.stringify([low, high, view, state.slice]);
  if (painted === panel.painted) return;
  panel.painted = painted;
  const colours = data.colours[view === "difference" ? panel.image.difference.colours : panel.image.colours];
  Object.assign(panel.buffer, { width: crop.nx, height: crop.ny });
  const context = panel.buffer.getContext("2d"), pixels = context.createImageData(crop.nx, crop.ny);
  for (let y = 0, p = 0; y < crop.ny; y++) for (let x = 0; x < crop.nx; x++, p += 4) {
    const value = amountAt(panel, offset(state.slice, crop.y + y, crop.x + x));
    if (Number.isNaN(value)) continue; // stays transparent: the hatched page shows
    const c = 3 * Math.min(255, Math.max(0, Math.floor((value - low) / (high - low) * 256)));
    for (let i = 0; i < 3; i++) pixels.data[p + i] = colours[c + i];
    pixels.data[p + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  const bar = panel.bar.getContext("2d"), ramp = bar.createImageData(256, 1);
  for (let i = 0; i < 256; i++) ramp.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
  bar.putImageData(ramp, 0, 0);
  [panel.low.textContent, panel.high.textContent] = [round(low), round(high)];
  const [from, to] = panel.defaults[view === "difference" ? "difference" : "result"];
  panel.level.value = ((low + high) / 2 - from) / (to - from);
  panel.width.value = (high - low) / (to - from);
}

function drawPanel(panel) {
  paint(panel);
  panel.readout.textContent = worded(panel, valueAt(panel, offset(state.slice, state.y, state.x)));
  panel.caption.textContent = (state.view === "result" || panel.truth ? "" : `${data.names[0]}'s `) + panel.image.title;
  const { context, width, height } = fit(panel.canvas);
  context.imageSmoothingEnabled = false;
  context.drawImage(panel.buffer, 0, 0, width, height);
  const sx = width / crop.nx, sy = height / crop.ny;
  const at = ({ y, x }) => [(x - crop.x + 0.5) * sx, (y - crop.y + 0.5) * sy];
  const outlined = (line, faint) => { // dark below light: seen on every colour
    for (const [style, thick] of faint ? [["rgba(0,0,0,0.35)", 1.4], ["rgba(255,255,255,0.7)", 0.7]] : [["rgba(0,0,0,0.7)", 3], ["#fff", 1.2]]) {
      Object.assign(context, { strokeStyle: style, lineWidth: thick });
      context.beginPath();
      line();
      context.stroke();
    }
  };
  state.regions.forEach((r, i) => outlined(() => traceBorders(context, r, sx, sy), i !== state.active));
  if (state.corners.length) {
    const corners = [...state.corners, { y: state.y, x: state.x }];
    outlined(() => traceCorners(context, corners, at, sx, sy));
  }
  const [cx, cy] = at(state), gap = 6;
  outlined(() => {
    for (const [x0, y0, x1, y1] of [[0, cy, cx - gap, cy], [cx + gap, cy, width, cy], [cx, 0, cx, cy - gap], [cx, cy + gap, cx, height]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
  });
  if (state.chosen?.slice === state.slice) outlined(() => context.arc(...at(state.chosen), 5, 0, 7));
  Object.assign(context, { fillStyle: "#fff", strokeStyle: "#000", lineWidth: 3, lineJoin: "round", font: "600 12px system-ui, sans-serif" });
  for (const [letter, x, y] of [[data.letters.left, 4, height / 2 + 4], [data.letters.top, width / 2 - 4, 13]]) {
    context.strokeText(letter, x, y);
    context.fillText(letter, x, y);
  }
}

function traceBorders(context, { borders }, sx, sy) {
  for (const [y0, x0, y1, x1] of borders.get(state.slice) ?? []) {
    context.moveTo((x0 - crop.x) * sx, (y0 - crop.y) * sy);
    context.lineTo((x1 - crop.x) * sx, (y1 - crop.y) * sy);
  }
}

function traceCorners(context, corners, at, sx, sy) {
  if (state.mode === "ellipse") {
    const [[x0, y0], [x1, y1]] = corners.map(at);
    context.ellipse((x0 + x1) / 2, (y0 + y1) / 2, (Math.abs(x0 - x1) + sx) / 2, (Math.abs(y0 - y1) + sy) / 2, 0, 0, 2 * Math.PI);
  } else corners.forEach((corner, i) => i ? context.lineTo(...at(corner)) : context.moveTo(...at(corner)));
}

function drawHistogram(canvas, values, axis = false) {
  const { context, width, height } = fit(canvas), bottom = axis ? height - 18 : height;
  if (!values.length) return;
  const low = least(values), high = most(values);
  const n = axis ? 40 : 24, counts = new Array(n).fill(0), span = high - low || 1;
  for (const v of values) counts[Math.min(n - 1, Math.floor((v - low) / span * n))]++;
  const heights = counts.map(c => axis ? Math.log1p(c) : c), top = Math.max(...heights);
  context.fillStyle = colour("accent");
  heights.forEach((h, i) => context.fillRect(i * width / n, bottom - h / top * (bottom - 2), width / n - 1, h / top * (bottom - 2)));
  if (!axis) return;
  Object.assign(context, { fillStyle: colour("text"), font: "11px system-ui, sans-serif" });
  context.fillText(number(low), 0, height - 4);
  const text = number(high);
  context.fillText(text, width - context.measureText(text).width, height - 4);
}

// ---- fingerprints --------------------------------------------------------------------------------------------------

// Measured and matched signal of a voxel over the frames, as real and imaginary parts, and their correlation.
function signalsAt(voxel) {
  const { frames, rank, steps, basis, measured, residual } = signals, n = measured.length / (2 * rank);
  const both = [new Float64Array(2 * frames), new Float64Array(2 * frames)];
  for (let k = 0; k < rank; k++) {
    const [re, im] = [measured[2 * k * n + voxel], measured[(2 * k + 1) * n + voxel]];
    const parts = [[re, im], [re + residual[2 * k * n + voxel], im + residual[(2 * k + 1) * n + voxel]]];
    parts.forEach(([a, b], s) => {
      for (let f = 0; f < frames; f++) {
        const u = basis[2 * (f * rank + k)], v = basis[2 * (f * rank + k) + 1];
        both[s][2 * f] += (u * a - v * b) / steps;
        both[s][2 * f + 1] += (u * b + v * a) / steps;
      }
    });
  }
  return { measured: both[0], fitted: both[1], correlation: correlation(...both) };
}

function correlation(a, b) {
  let re = 0, im = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i += 2) {
    re += a[i] * b[i] + a[i + 1] * b[i + 1];
    im += a[i] * b[i + 1] - a[i + 1] * b[i];
    aa += a[i] ** 2 + a[i + 1] ** 2;
    bb += b[i] ** 2 + b[i + 1] ** 2;
  }
  return aa && bb ? Math.hypot(re, im) / Math.sqrt(aa * bb) : NaN;
}

function drawSignal() {
  if (!data.fingerprints) element("signal-text").textContent = "This result holds no fingerprints.";
  if (!signals) return;
  if (!state.chosen || drawSignal.shown === state.chosen) return;
  drawSignal.shown = state.chosen;
  const { slice, y, x } = state.chosen, i = offset(slice, y, x), voxel = rows[i], plot = element("signal-plot");
  const place = `Slice ${slice + 1}, y ${y}, x ${x}`;
  plot.hidden = voxel < 0;
  if (voxel < 0) { element("signal-text").textContent = `${place} is outside the mask.`; return; }
  const found = signalsAt(voxel);
  const words = panels.filter(p => !p.image.bits.length).map(p => `${p.image.name} ${number(p.values[i], p.image.digits)} ${p.image.unit}`.trim());
  element("signal-text").textContent = `${place}: ${words.join(", ")}; correlation of the two curves ${found.correlation.toFixed(5)}.`;
  plotSignals(plot, found);
}

function plotSignals(canvas, { measured, fitted }) {
  const { context, width, height } = fit(canvas), frames = measured.length / 2;
  const left = 58, right = width - 8, size = v => Float64Array.from({ length: frames }, (_, f) => Math.hypot(v[2 * f], v[2 * f + 1]));
  const angle = v => Float64Array.from({ length: frames }, (_, f) => Math.atan2(v[2 * f + 1], v[2 * f]));
  const top = Math.max(...size(measured), ...size(fitted)) || 1;
  const charts = [
    { title: "magnitude", unit: 1 / top, low: 0, high: 1, ticks: [[0, "0"], [0.5, "0.5"], [1, "1"]], of: size, from: 20, to: 0.56 * height },
    { title: "phase", unit: 1, low: -Math.PI, high: Math.PI, ticks: [[-Math.PI, "−π"], [0, "0"], [Math.PI, "π"]], of: angle, from: 0.62 * height, to: height - 32 },
  ];
  const xOf = f => left + (frames > 1 ? f / (frames - 1) : 0.5) * (right - left);
  context.font = "11px system-ui, sans-serif";
  for (const chart of charts) {
    const yOf = v => chart.to - (v * chart.unit - chart.low) / (chart.high - chart.low) * (chart.to - chart.from);
    Object.assign(context, { fillStyle: colour("soft"), strokeStyle: colour("line"), lineWidth: 1 });
    for (const [value, text] of chart.ticks) {
      const y = yOf(value / chart.unit);
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(right, y);
      context.stroke();
      context.fillText(text, left - 6 - context.measureText(text).width, y + 4);
    }
    context.save();
    context.translate(12, (chart.from + chart.to) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(chart.title, -context.measureText(chart.title).width / 2, 0);
    context.restore();
    const line = chart.of(fitted), dots = chart.of(measured);
    Object.assign(context, { strokeStyle: colour("fitted"), lineWidth: 1.8 });
    context.beginPath(); // broken where the phase wraps
    line.forEach((v, f) => f && Math.abs(v - line[f - 1]) * chart.unit < Math.PI ? context.lineTo(xOf(f), yOf(v)) : context.moveTo(xOf(f), yOf(v)));
    context.stroke();
    context.fillStyle = colour("measured");
    dots.forEach((v, f) => { context.beginPath(); context.arc(xOf(f), yOf(v), 1.8, 0, 7); context.fill(); });
  }
  context.fillStyle = colour("soft");
  for (let f = 1; f <= frames; f += Math.max(1, Math.round(frames / 7 / 5) * 5)) context.fillText(String(f), xOf(f - 1) - 4, height - 17);
  context.fillText("frame", (left + right) / 2 - 12, height - 3);
  Object.assign(context, { fillStyle: colour("measured") });
  context.fillText("● measured", left, 12);
  context.fillStyle = colour("fitted");
  context.fillText("— fingerprint of the maps, scaled to the signal", left + 84, 12);
}

// ---- agreement -----------------------------------------------------------------------------------------------------

async function buildAgreement() {
  element("agreement").hidden = !data.comparisons.length;
  if (!data.comparisons.length) return;
  const [first, second] = data.names, cell = v => v === null ? "–" : Number.isInteger(v) ? String(v) : number(v);
  element("agreement-text").textContent = `${first} compared with the reference, ${second}: ${data.rule}. ` +
    `Scatter plots show the regression and the line of identity, Bland-Altman plots the bias and the 95 % limits of agreement. ` +
    `Each point is a ${data.comparisons[0].points === "voxel" ? "voxel" : "mean over a region in a slice"}.`;
  const columns = Object.keys(data.comparisons[0].errors);
  element("agreement-table").tHead.rows[0].append(...["Map", ...columns].map(c => make("th", { scope: "col" }, c)));
  for (const packed of data.comparisons) {
    const [estimate, reference] = await Promise.all([unpack(packed.estimate, Float32Array), unpack(packed.reference, Float32Array)]);
    const unit = packed.unit ? ` (${packed.unit})` : "", plots = ["scatter", "Bland-Altman"].map(kind => make("canvas", { role: "img" }));
    ["Scatter plot", "Bland-Altman plot"].forEach((kind, i) => plots[i].setAttribute("aria-label", `${kind} of ${packed.name}`));
    const row = make("tr", {}, make("th", { scope: "row" }, packed.name + unit), ...columns.map(c => make("td", {}, cell(packed.errors[c]))));
    row.dataset.name = packed.name;
    element("agreement-table").tBodies[0].append(row);
    const shown = estimate.length < packed.n ? `, ${estimate.length} of ${packed.n} ${packed.points}s` : `, ${packed.n} ${packed.points}${packed.n === 1 ? "" : "s"}`;
    element("agreement-plots").append(make("figure", {}, make("figcaption", {}, make("b", {}, packed.name + unit + shown)), make("div", {}, ...plots)));
    comparisons.push({ ...packed, estimate, reference, plots });
  }
}

function plotAgreement({ estimate, reference, lines, plots }) {
  const [first, second] = data.names, all = [...estimate, ...reference];
  if (!all.length) return;
  const both = spread(all, 0.002), difference = estimate.map((v, i) => v - reference[i]), middle = estimate.map((v, i) => (v + reference[i]) / 2);
  plotPoints(plots[0], reference, estimate, both, both, second, first,
    [[1, 0, "soft"], ...(lines.slope === null ? [] : [[lines.slope, lines.intercept, "fitted"]])]);
  const ends = [lines.lower, lines.bias, lines.upper].filter(v => v !== null), [low, high] = spread([...difference], 0.002);
  plotPoints(plots[1], middle, difference, spread([...middle], 0.002), spread([low, high, ...ends], 0), "mean of the two", "difference",
    [[0, 0, "soft"], ...ends.map(v => [0, v, "fitted"])]);
}

// All but so large a share of the values at either end, with a margin.
function spread(values, share) {
  const sorted = Float64Array.from(values).sort(), cut = Math.floor(share * sorted.length);
  const [low, high] = [sorted[cut], sorted[sorted.length - 1 - cut]], margin = 0.05 * (high - low) || 1;
  return [low - margin, high + margin];
}

function plotPoints(canvas, xs, ys, [x0, x1], [y0, y1], xWords, yWords, lines) {
  const { context, width, height } = fit(canvas), [left, top, right, bottom] = [48, 6, width - 6, height - 30];
  const xOf = v => left + (v - x0) / (x1 - x0) * (right - left), yOf = v => bottom - (v - y0) / (y1 - y0) * (bottom - top);
  const short = (text, room) => text.length * 6 > room ? "…" + text.slice(text.length - Math.floor(room / 6)) : text;
  Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: colour("soft"), strokeStyle: colour("line"), lineWidth: 1 });
  context.strokeRect(left, top, right - left, bottom - top);
  const centred = (text, x, y) => context.fillText(text, x - context.measureText(text).width / 2, y);
  for (const v of ticks(x0, x1, 4)) { context.fillRect(xOf(v), bottom, 1, 3); centred(round(v), xOf(v), bottom + 14); }
  for (const v of ticks(y0, y1, 6)) {
    context.fillRect(left - 3, yOf(v), 3, 1);
    context.fillText(round(v), left - 5 - context.measureText(round(v)).width, yOf(v) + 4);
  }
  centred(short(xWords, right - left), (left + right) / 2, height - 3);
  context.save();
  context.translate(10, (top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  centred(short(yWords, bottom - top), 0, 0);
  context.restore();
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  Object.assign(context, { fillStyle: colour("accent"), globalAlpha: xs.length > 300 ? 0.35 : 0.9 });
  const size = xs.length > 300 ? 1.5 : 4;
  for (let i = 0; i < xs.length; i++) context.fillRect(xOf(xs[i]) - size / 2, yOf(ys[i]) - size / 2, size, size);
  context.globalAlpha = 1;
  for (const [slope, intercept, name] of lines) {
    Object.assign(context, { strokeStyle: colour(name), lineWidth: 1.3 });
    context.setLineDash(name === "soft" ? [4, 3] : []);
    context.beginPath();
    context.moveTo(xOf(x0), yOf(slope * x0 + intercept));
    context.lineTo(xOf(x1), yOf(slope * x1 + intercept));
    context.stroke();
  }
  context.restore();
}

// Round numbers, about so many, from low to high.
function ticks(low, high, n) {
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find(s => s * power >= raw) * power;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

// ---- start ---------------------------------------------------------------------------------------------------------

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
  for (const image of data.images) {
    const panel = buildPanel(image);
    panel.values = await unpackImage(image, inside);
    panel.truth = image.truth ? await unpackImage(image.truth, truthInside) : null;
    panel.counts = await unpackCounts(image, inside);
    panel.truthCounts = image.truth ? await unpackCounts(image.truth, truthInside) : null;
    panel.canvas.style.aspectRatio = `${crop.nx * data.spacing[1]} / ${crop.ny * data.spacing[0]}`;
    panels.push(panel);
  }
  await unpackLabels(data.labels);
  await buildAgreement();
  Object.assign(state, { slice: N_SLICES >> 1, ...central(N_SLICES >> 1) });
  buildTools();
  buildQuality();
  listenKeys();
  resetWindows();
  const match = panels.find(p => p.image.name === "match").values.filter(v => !Number.isNaN(v));
  const redraw = () => { panels.forEach(p => { p.painted = null; }); comparisons.forEach(plotAgreement); drawRegions.shown = drawSignal.shown = null; draw(); drawHistogram(element("match-plot"), match, true); };
  new ResizeObserver(redraw).observe(element("viewer"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
  performance.mark("shown"); // the maps are seen before the fingerprints, which are the larger part, are read
  signals = await unpackSignals(data.fingerprints);
  draw();
  document.documentElement.dataset.ready = "yes";
}

start().catch(error => { element("status").textContent = `The maps cannot be shown: ${error.message}.`; throw error; });

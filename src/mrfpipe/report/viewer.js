// Viewer: a panel for every map; a cell of it for what is shown of the map, three of them side by side.

const VIEWS = ["result", "truth", "difference"];
const LEAST_WIDTH = 300; // of a panel, for its words and sliders
const FRAME = 18; // of a panel, on both sides of its image
const GAP = 12; // between panels
const FADED = 0.8; // share of grey where a map does not count

function buildPanel(image) {
  const panel = { image, windows: {}, defaults: { result: image.window, difference: image.difference?.window } };
  panel.cells = (image.truth ? VIEWS : ["result"]).map(view => buildCell(panel, view));
  panel.caption = make("figcaption");
  const alone = make("button", { type: "button", className: "alone", title: "This map alone, or all maps (f)" }, "⤢");
  alone.setAttribute("aria-label", `Show ${image.name} alone`);
  alone.addEventListener("click", () => showAlone(panel));
  panel.node = make("figure", {}, make("div", { className: "top" }, panel.caption, alone),
    make("div", { className: "cells" }, ...panel.cells.map(cell => cell.node)));
  panel.node.dataset.name = image.name;
  element(image.quality ? "quality-grid" : "maps").append(panel.node);
  return panel;
}

function buildCell(panel, view) {
  const { name, title } = panel.image, cell = { panel, view, buffer: document.createElement("canvas") };
  cell.name = make("b");
  cell.readout = make("output", { className: "value" });
  cell.canvas = make("canvas", { className: "map", role: "img" });
  cell.canvas.setAttribute("aria-label", `${name}: ${title}`);
  cell.bar = make("canvas", { className: "bar", width: 256, height: 1 });
  cell.bar.setAttribute("aria-hidden", "true");
  [cell.low, cell.high] = [make("span"), make("span")];
  const slider = words => {
    const input = make("input", { type: "range", min: -0.25, max: 1.25, step: 0.005 });
    input.setAttribute("aria-label", `${words} of ${name}`);
    input.addEventListener("input", () => slideWindow(cell));
    return input;
  };
  [cell.level, cell.width] = [slider("Level"), slider("Window")];
  cell.width.min = 0.01;
  cell.node = make("div", { className: "cell" },
    make("div", { className: "head" }, cell.name, cell.readout), cell.canvas, cell.bar,
    make("div", { className: "ends" }, cell.low, make("span", {}, panel.image.unit), cell.high),
    make("div", { className: "window" }, "level", cell.level, "window", cell.width));
  listenCell(cell);
  return cell;
}

// ---- what is shown -------------------------------------------------------------------------------------------------

const isBeside = panel => state.view === "beside" && !!panel.truth;
const viewOf = cell => isBeside(cell.panel) ? cell.view : shownView(cell.panel);
const isDrawn = panel => panel.values && (state.alone ? state.alone === panel : !panel.image.quality || element("quality-maps").open);

function showAlone(panel) {
  state.alone = state.alone === panel ? null : panel;
  drawNow();
  panel.node.scrollIntoView({ block: "nearest" });
}

// Columns of maps of their native size at least, in rows of equal length; what is alone is no higher than the window.
function layOut() {
  const viewer = element("viewer"), [height, width] = [crop.ny * data.spacing[0], crop.nx * data.spacing[1]];
  const native = Math.max(crop.nx, crop.ny * width / height), n = panels.filter(p => !p.image.quality).length;
  const most = Math.max(1, Math.floor((viewer.clientWidth + GAP) / (Math.max(LEAST_WIDTH, native + FRAME) + GAP)));
  viewer.style.setProperty("--columns", Math.ceil(n / Math.ceil(n / most)));
  viewer.style.setProperty("--aspect", width / height);
  viewer.style.setProperty("--native", `${native}px`);
  viewer.classList.toggle("beside", state.view === "beside");
  viewer.classList.toggle("one", !!state.alone);
  for (const panel of panels) {
    panel.node.hidden = !!state.alone && state.alone !== panel;
    panel.cells.forEach((cell, i) => { cell.node.hidden = i > 0 && !isBeside(panel); });
  }
}

// ---- windows -------------------------------------------------------------------------------------------------------

const kindOf = view => view === "difference" ? "difference" : "result"; // result and reference share one window

function resetWindows() {
  for (const panel of panels) panel.windows = { result: [...panel.defaults.result], difference: [...(panel.defaults.difference ?? [])] };
  draw();
}

// The sliders run over the default window, and a quarter of it or as much again to either side.
function slideWindow(cell) {
  const [low, high] = cell.panel.defaults[kindOf(viewOf(cell))], span = high - low;
  setWindow(cell, low + span * cell.level.value, span * cell.width.value);
}

function setWindow(cell, level, width) {
  cell.panel.windows[kindOf(viewOf(cell))] = [level - width / 2, level + width / 2];
  draw();
}

// ---- drawing -------------------------------------------------------------------------------------------------------

function drawPanel(panel) {
  const rule = ruleOf(panel), other = isBeside(panel) && ruleOf(panel, "truth");
  const words = panel.image.title + (rule ? `, counts where ${rule}` : "") + (other && other !== rule ? `; reference and difference where ${other}` : "");
  if (panel.caption.title !== words) panel.caption.textContent = panel.caption.title = words;
  for (const cell of panel.cells) if (!cell.node.hidden) drawCell(cell);
}

function paint(cell) { // voxels into the buffer, only if something of them has changed
  const { panel } = cell, view = viewOf(cell), [low, high] = panel.windows[kindOf(view)], grey = colour("faded");
  const painted = JSON.stringify([low, high, view, state.slice, state.faded, grey]);
  if (painted === cell.painted) return;
  cell.painted = painted;
  const colours = data.colours[view === "difference" ? panel.image.difference.colours : panel.image.colours];
  const faded = [1, 3, 5].map(i => parseInt(grey.slice(i, i + 2), 16));
  Object.assign(cell.buffer, { width: crop.nx, height: crop.ny });
  const context = cell.buffer.getContext("2d"), pixels = context.createImageData(crop.nx, crop.ny);
  for (let y = 0, p = 0; y < crop.ny; y++) for (let x = 0; x < crop.nx; x++, p += 4) {
    const at = offset(state.slice, crop.y + y, crop.x + x), value = amountAt(panel, at, view);
    if (Number.isNaN(value)) continue; // stays transparent: the hatched page shows
    const c = 3 * Math.min(255, Math.max(0, Math.floor((value - low) / (high - low) * 256)));
    const share = state.faded && !countsAt(panel, at, view) ? FADED : 0;
    for (let i = 0; i < 3; i++) pixels.data[p + i] = (1 - share) * colours[c + i] + share * faded[i];
    pixels.data[p + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  const bar = cell.bar.getContext("2d"), ramp = bar.createImageData(256, 1);
  for (let i = 0; i < 256; i++) ramp.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
  bar.putImageData(ramp, 0, 0);
  [cell.low.textContent, cell.high.textContent] = [round(low), round(high)];
  const [from, to] = panel.defaults[kindOf(view)];
  cell.level.value = ((low + high) / 2 - from) / (to - from);
  cell.width.value = (high - low) / (to - from);
}

function label(cell) {
  const { panel, canvas, name, readout } = cell, view = viewOf(cell), at = offset(state.slice, state.y, state.x);
  readout.textContent = worded(panel, at, view);
  readout.classList.toggle("uncounted", !countsAt(panel, at, view));
  readout.title = countsAt(panel, at, view) ? "" : `Does not count here: counts where ${ruleOf(panel, view)}`;
  const whose = data.truthMask && (isBeside(panel) || view !== "result" || !panel.truth) ? `, ${isBeside(panel) && view === "difference" ? view : wordOf(view)}` : "";
  if (name.textContent === panel.image.name + whose) return;
  name.textContent = name.title = panel.image.name + whose;
  canvas.setAttribute("aria-label", `${panel.image.name}${whose}: ${panel.image.title}`);
}

function drawCell(cell) {
  paint(cell);
  label(cell);
  const { context, width, height } = fit(cell.canvas);
  context.imageSmoothingEnabled = false;
  context.drawImage(cell.buffer, 0, 0, width, height);
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

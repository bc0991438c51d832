// Viewer: a panel for every map, its window and what is drawn on it.

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

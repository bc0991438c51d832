// Plots: histograms and scatter plots on canvases.

const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function fit(canvas) { // one dot of the canvas is one of the screen
  const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, width: box.width, height: box.height };
}

function drawHistogram(canvas, values, axis = false) {
  const { context, width, height } = fit(canvas), bottom = axis ? height - 18 : height;
  if (!values.length) return;
  const low = least(values), high = most(values);
  const n = axis ? 40 : 24, counts = Array.from({ length: n }, () => 0), span = high - low || 1;
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

// Fingerprint: the measured signal of a voxel beside the simulated one.

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
  const words = panels.filter(p => !p.image.bits.length && !p.parameter).map(p => `${p.image.name} ${worded(p, i, "result")}`);
  element("signal-text").textContent = `${place}: ${words.join(", ")}. Correlation of the two curves: ${found.correlation.toFixed(5)}, the match of this voxel; 1 if they are equal.`;
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

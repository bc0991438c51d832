// Regions: voxels with a label and a name, drawn here or read from a label image, and what the maps are in them.

function regionOf(label, name, voxels) {
  return { label, name, voxels, borders: bordersOf(voxels) };
}

// The edges of voxels that no other of them shares, slice by slice.
function bordersOf(voxels) {
  const within = new Set(voxels), borders = new Map();
  for (const i of voxels) {
    const x = i % N_X, y = Math.floor(i / N_X) % N_Y, slice = Math.floor(i / (N_X * N_Y));
    if (!borders.has(slice)) borders.set(slice, []);
    const edges = borders.get(slice);
    if (x === 0 || !within.has(i - 1)) edges.push([y, x, y + 1, x]);
    if (x === N_X - 1 || !within.has(i + 1)) edges.push([y, x + 1, y + 1, x + 1]);
    if (y === 0 || !within.has(i - N_X)) edges.push([y, x, y, x + 1]);
    if (y === N_Y - 1 || !within.has(i + N_X)) edges.push([y + 1, x, y + 1, x + 1]);
  }
  return borders;
}

// The regions of a label image, given label by label, voxel by voxel.
function regionsIn(labels, names) {
  const voxels = new Map();
  labels.forEach((label, i) => {
    if (label && !voxels.has(label)) voxels.set(label, []);
    if (label) voxels.get(label).push(i);
  });
  return [...voxels.keys()].sort((a, b) => a - b).map(n => regionOf(n, names.get(n) ?? `region ${n}`, voxels.get(n)));
}

async function unpackLabels(packed) {
  if (!packed) return;
  const names = new Map(packed.numbers.map((n, i) => [n, packed.names[i]]));
  Object.assign(state, { regions: regionsIn(await unpack(packed.voxels, Int32Array), names), active: 0 });
}

// ---- drawing regions -----------------------------------------------------------------------------------------------

function closePolygon() {
  if (state.mode === "polygon" && state.corners.length > 2) addRegion(state.corners);
  draw();
}

function addRegion(corners) {
  const label = 1 + most([0, ...state.regions.map(r => r.label)]);
  state.regions.push(regionOf(label, `region ${label}`, voxelsIn(state.mode, corners, state.slice)));
  Object.assign(state, { active: state.regions.length - 1, corners: [] });
}

// A region that is given the name of another becomes part of it: a muscle is drawn slice by slice.
function renameRegion(text) {
  const region = state.regions[state.active], name = text.trim().replace(/\s+/g, " ");
  const other = state.regions.find(r => r !== region && r.name === name);
  if (other) {
    const whole = regionOf(other.label, name, [...new Set([...other.voxels, ...region.voxels])]);
    state.regions = state.regions.filter(r => r !== region).map(r => r === other ? whole : r);
    state.active = state.regions.indexOf(whole);
  } else if (name) region.name = name;
  draw();
}

// A voxel belongs to a region if its centre does; the corners of a region are centres of voxels.
function voxelsIn(kind, corners, slice) {
  const within = kind === "ellipse" ? withinEllipse(...corners) : (y, x) => withinPolygon(corners, y, x);
  const found = [];
  const [top, bottom] = [Math.min(...corners.map(c => c.y)), Math.max(...corners.map(c => c.y))];
  const [left, right] = [Math.min(...corners.map(c => c.x)), Math.max(...corners.map(c => c.x))];
  for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) if (within(y, x)) found.push(offset(slice, y, x));
  return found;
}

// The ellipse fills the box of whole voxels from one corner to the other.
function withinEllipse(a, b) {
  const cy = (a.y + b.y) / 2, cx = (a.x + b.x) / 2, ry = (Math.abs(a.y - b.y) + 1) / 2, rx = (Math.abs(a.x - b.x) + 1) / 2;
  return (y, x) => ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1;
}

// Even-odd rule; what lies on an edge belongs to the region.
function withinPolygon(corners, y, x) {
  let odd = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const a = corners[i], b = corners[j];
    const side = (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x);
    if (side === 0 && y >= Math.min(a.y, b.y) && y <= Math.max(a.y, b.y) && x >= Math.min(a.x, b.x) && x <= Math.max(a.x, b.x)) return true;
    if ((a.y > y) !== (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) odd = !odd;
  }
  return odd;
}

// ---- numbers -------------------------------------------------------------------------------------------------------

// Of an angle, the mean is the direction of the mean vector; deviations from it go the short way round.
function statistics(panel, region) {
  const voxels = region.voxels.filter(i => countsAt(panel, i) && !Number.isNaN(valueAt(panel, i)));
  let values = voxels.map(i => amountAt(panel, i));
  const n = values.length, sum = of => values.reduce((total, v) => total + of(v), 0);
  const mean = panel.image.cyclic ? Math.atan2(sum(Math.sin), sum(Math.cos)) : sum(v => v) / n;
  if (panel.image.cyclic) values = values.map(v => mean + Math.atan2(Math.sin(v - mean), Math.cos(v - mean)));
  const deviation = n > 1 ? Math.sqrt(sum(v => (v - mean) ** 2) / (n - 1)) : NaN;
  const [p5, median, p95] = quantiles(values, [0.05, 0.5, 0.95]);
  return { voxels, values, n, mean, deviation, median, p5, p95 };
}

// Linear between the two values nearest to the share.
function quantiles(values, shares) {
  const sorted = Float64Array.from(values).sort();
  return shares.map(share => {
    const place = share * (sorted.length - 1), low = Math.floor(place), high = Math.min(low + 1, sorted.length - 1);
    return sorted.length ? sorted[low] + (place - low) * (sorted[high] - sorted[low]) : NaN;
  });
}

const COLUMNS = ["slice", "region", "name", "map", "view", "unit", "n", "n_region", "mean", "sd", "median", "p5", "p95", "predicted_sd"];
const quoted = text => /["\t\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

// The columns and units of `mrfpipe stats`, separated by tabs, as spreadsheets paste them.
function table() {
  const exact = v => Number.isFinite(v) ? String(+v.toPrecision(7)) : "";
  const lines = state.regions.flatMap(region => panels.filter(p => p.values).map(panel => {
    const { voxels, n, mean, deviation, median, p5, p95 } = statistics(panel, region), { name, unit, factor } = panel.image;
    const sd = shownView(panel) === "result" && panel.deviation;
    const predicted = sd ? voxels.reduce((total, i) => total + sd.values[i], 0) / n : NaN;
    return [sliceOf(region), region.label, quoted(region.name), name, quoted(wordOf(shownView(panel))), factor === 1 ? unit || "1" : "1", n, region.voxels.length,
      ...[mean, deviation, median, p5, p95, predicted].map(v => exact(v / factor))];
  }));
  return [COLUMNS, ...lines].map(line => line.join("\t")).join("\n") + "\n";
}

const sliceOf = region => region.borders.size > 1 ? "all" : [...region.borders.keys()][0] + 1;

// ---- files ---------------------------------------------------------------------------------------------------------

function download(name, content) {
  const link = make("a", { href: URL.createObjectURL(new Blob([content])), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// A label image and, beside it, the table of names.
async function saveRegions() {
  const labels = new Int32Array(N_SLICES * N_Y * N_X), stem = `${fileStem}_dseg`;
  let shared = 0;
  for (const { label, voxels } of state.regions) for (const i of voxels) {
    shared += labels[i] !== 0;
    labels[i] = label;
  }
  download(`${stem}.nii.gz`, await through(new CompressionStream("gzip"), labelImage(labels)));
  download(`${stem}.tsv`, [["index", "name"], ...state.regions.map(r => [r.label, quoted(r.name)])].map(line => line.join("\t") + "\n").join(""));
  element("status").textContent = `Saved ${stem}.nii.gz and ${stem}.tsv.` + (shared ? ` Voxels in two regions, ${shared}, are of the later one.` : "");
}

async function openRegions(event) {
  const files = [...event.target.files], ending = pattern => files.find(file => pattern.test(file.name));
  const image = ending(/\.nii(\.gz)?$/i), names = ending(/\.tsv$/i);
  try {
    if (state.regions.length) throw new Error("there are regions; save and remove them first");
    if (!image) throw new Error("choose a label image, .nii or .nii.gz, and with it, if there is one, its table of names, .tsv");
    const labels = await readLabels(new Uint8Array(await image.arrayBuffer()));
    Object.assign(state, { regions: regionsIn(labels, names ? namesIn(await names.text()) : new Map()), active: 0 });
    element("status").textContent = `Opened ${image.name}.`;
    goTo({ slice: nearestOf(state.regions[0]) });
  } catch (error) {
    element("status").textContent = `The regions cannot be opened: ${error.message}.`;
  }
  event.target.value = "";
}

// A table as `saveRegions` writes it, and BIDS has it beside segmentations.
function namesIn(text) {
  const [header, ...lines] = text.trim().split(/\r?\n/).map(line => line.split("\t"));
  const [index, name] = ["index", "name"].map(column => header.indexOf(column));
  if (index < 0 || name < 0) throw new Error("the table of names has no columns index and name");
  const plain = cell => cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
  return new Map(lines.map(line => [+line[index], plain(line[name])]));
}

// ---- showing -------------------------------------------------------------------------------------------------------

// The slice shown, if the region lies in it, or its nearest.
function nearestOf(region) {
  return [...region.borders.keys()].reduce((a, b) => Math.abs(b - state.slice) < Math.abs(a - state.slice) ? b : a);
}

function drawRegions() {
  const region = state.regions[state.active];
  element("close").disabled = !(state.mode === "polygon" && state.corners.length > 2);
  element("clear").disabled = !(state.regions.length || state.corners.length);
  element("copy").disabled = element("save").disabled = !state.regions.length;
  element("region-table").hidden = element("region-name").hidden = !region;
  element("region-text").hidden = !!region;
  const shown = JSON.stringify([state.regions.map(r => [r.label, r.name, r.voxels.length]), state.active, state.view]);
  if (shown === drawRegions.shown) return;
  drawRegions.shown = shown;
  element("region-choice").replaceChildren(...state.regions.map((r, i) => {
    const button = make("button", { type: "button" }, r.borders.size > 1 ? r.name : `${r.name}, slice ${sliceOf(r)}`);
    button.setAttribute("aria-pressed", i === state.active);
    button.addEventListener("click", () => { state.active = i; goTo({ slice: nearestOf(r) }); });
    return button;
  }));
  if (!region) return;
  element("name").value = region.name;
  element("region-table").tBodies[0].replaceChildren(...panels.filter(p => p.values).map(panel => {
    const { values, n, mean, deviation, median, p5, p95 } = statistics(panel, region), { digits, unit } = panel.image, rule = ruleOf(panel);
    const plot = make("canvas", { role: "img" }), cell = text => make("td", {}, text);
    plot.setAttribute("aria-label", `Histogram of ${panel.image.name} in the region`);
    requestAnimationFrame(() => drawHistogram(plot, values));
    const row = make("tr", {}, make("th", { scope: "row" }, panel.image.name + (unit && ` (${unit})`)),
      make("td", { className: "mean" }, number(mean, digits)), cell(number(deviation)),
      cell(n < region.voxels.length ? `${n} of ${region.voxels.length}` : String(n)),
      cell(n ? `${round(least(values))} to ${round(most(values))}` : "–"),
      cell(n ? `${number(median, digits)} (${round(p5)} to ${round(p95)})` : "–"), make("td", {}, plot));
    Object.assign(row, { title: rule ? `where ${rule}` : "" }).dataset.name = panel.image.name;
    return row;
  }));
}

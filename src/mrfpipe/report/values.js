// Values: what Python packed into the page, voxel by voxel, and the words for it. Values outside the mask are NaN, never 0.

const data = JSON.parse(document.getElementById("data").textContent);
const [N_SLICES, N_Y, N_X] = data.shape;
const element = id => document.getElementById(id);
const fileStem = data.title.replace(/[\p{Cc}/\\:*?"<>|]+/gu, "-"); // what files that the page saves begin with

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

// What is shown of a map where one view is: side by side, the words below the maps are of the result.
const shownView = panel => panel.truth && state.view !== "beside" ? state.view : "result";

// Two paths without the folders that they share: network/thigh and matching/thigh are network and matching.
function apart(names) {
  let [first, second] = names.map(name => name.split("/"));
  const least = () => Math.min(first.length, second.length);
  while (least() > 1 && first[0] === second[0]) [first, second] = [first.slice(1), second.slice(1)];
  while (least() > 1 && first.at(-1) === second.at(-1)) [first, second] = [first.slice(0, -1), second.slice(0, -1)];
  return [first, second].map(parts => parts.join("/"));
}

const NAMES = apart(data.names);
const wordOf = view => ({ result: NAMES[0], truth: NAMES[1], difference: NAMES.join(" − "), beside: "side by side" })[view];

function valueAt(panel, i, view = shownView(panel)) {
  if (view === "truth") return panel.truth[i];
  return view === "difference" ? panel.values[i] - panel.truth[i] : panel.values[i];
}

// What a value is drawn and averaged as: an edge counts how many parameters it names.
function amountAt(panel, i, view = shownView(panel)) {
  const value = valueAt(panel, i, view);
  return panel.image.bits.length && !Number.isNaN(value) ? countBits(value) : value;
}

// Whether a voxel of a map counts, by the condition of what is shown or, of a difference, of the reference.
function countsAt(panel, i, view = shownView(panel)) {
  const counts = view === "result" ? panel.counts : panel.truthCounts;
  return !counts || !!counts[i];
}

const ruleOf = (panel, view = shownView(panel)) => (view === "result" ? panel.image : panel.image.truth).rule;

function worded(panel, i, view = shownView(panel)) {
  const value = valueAt(panel, i, view), { bits, unit, digits } = panel.image;
  if (Number.isNaN(value)) return "outside";
  if (bits.length) return bits.filter((_, b) => Math.round(value) >> b & 1).join(", ") || "none";
  const sign = view === "difference" && value > 0 ? "+" : "", within = view === "result" && panel.deviation?.values?.[i];
  return sign + (within > 0 ? uncertain(value, within) : number(value, digits)) + (unit ? " " + unit : "");
}

// A value as exactly as two digits of its standard deviation are.
function uncertain(value, deviation) {
  const decimals = Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(deviation))));
  return [value, deviation].map(v => v.toFixed(decimals).replace("-", "\u2212")).join(" ± ");
}

// ---- elements ------------------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a browser may refuse a page from disk; the older way asks nobody
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  element("status").textContent = "Copied.";
}

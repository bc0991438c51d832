// Values: what Python packed into the page, voxel by voxel, and the words for it. Values outside the mask are NaN, never 0.

const data = JSON.parse(document.getElementById("data").textContent);
const [N_SLICES, N_Y, N_X] = data.shape;
const element = id => document.getElementById(id);

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

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) name in node ? node[name] = value : node.setAttribute(name, value);
  node.append(...children);
  return node;
}

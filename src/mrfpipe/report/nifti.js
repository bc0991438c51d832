// NIfTI: label images where the result's images lie. Voxels go x by x, y by y, slice by slice, as everywhere on this page.

const NEAR = 0.01; // of a voxel's smallest side: headers keep places in single precision
const NUMBERS = { // by the header's code: how a voxel is read, and its bytes
  2: ["getUint8", 1], 4: ["getInt16", 2], 8: ["getInt32", 4], 16: ["getFloat32", 4], 64: ["getFloat64", 8],
  256: ["getInt8", 1], 512: ["getUint16", 2], 768: ["getUint32", 4], 1024: ["getBigInt64", 8], 1280: ["getBigUint64", 8],
};

// The header is Python's, of an image of int32.
function labelImage(labels) {
  const header = decode(data.header), bytes = new Uint8Array(header.length + 4 * labels.length), view = new DataView(bytes.buffer);
  bytes.set(header);
  labels.forEach((label, i) => view.setInt32(header.length + 4 * i, label, true));
  return bytes;
}

async function readLabels(packed) {
  const bytes = packed[0] === 0x1f && packed[1] === 0x8b ? await through(new DecompressionStream("gzip"), packed) : packed;
  if (bytes.length < 352) throw new Error("the image is no NIfTI-1 image");
  const header = headerOf(bytes), own = headerOf(decode(data.header)), { view, little } = header;
  if (header.shape.join() !== own.shape.join())
    throw new Error(`the image has ${header.shape.join(" × ")} voxels and the maps ${own.shape.join(" × ")}; draw on one of the result's own images`);
  const apart = distance(header.affine, own.affine, own.shape), side = Math.min(...[0, 1, 2].map(c => Math.hypot(...own.affine.map(row => row[c]))));
  if (!(apart <= NEAR * side)) throw new Error(`the image lies elsewhere, up to ${apart.toPrecision(3)} mm away; draw on one of the result's own images`);
  const [read, size] = NUMBERS[header.code] ?? [], start = header.start, labels = new Int32Array(N_SLICES * N_Y * N_X);
  if (!read || bytes.length < start + size * labels.length) throw new Error("the image is damaged, or of colours or complex numbers");
  for (let i = 0; i < labels.length; i++) {
    const value = Number(view[read](start + size * i, little)) * header.slope + header.intercept;
    if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 31)) throw new Error("the image does not hold labels, whole numbers from 0");
    labels[i] = value;
  }
  if (!labels.some(label => label)) throw new Error("the image holds no region");
  return labels;
}

function headerOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset), little = view.getInt32(0, true) === 348;
  if (!little && view.getInt32(0) !== 348) throw new Error("the image is no NIfTI-1 image");
  const short = at => view.getInt16(at, little), float = at => view.getFloat32(at, little), n = short(40);
  const sizes = [1, 2, 3, 4, 5, 6, 7].map(d => d <= n ? short(40 + 2 * d) : 1);
  const shape = sizes.slice(0, sizes.findLastIndex((size, d) => d < 3 || size > 1) + 1);
  const scaled = float(112) !== 0 && Number.isFinite(float(112));
  return { view, little, shape, code: short(70), start: Math.max(352, float(108)), slope: scaled ? float(112) : 1, intercept: scaled ? float(116) : 0, affine: affineOf(short, float) };
}

// Voxel to mm: the header's matrix (sform), or else its rotation (qform), as nibabel takes them.
function affineOf(short, float) {
  if (short(254) > 0) return [280, 296, 312].map(row => [0, 4, 8, 12].map(column => float(row + column)));
  if (short(252) <= 0) throw new Error("the image does not say where it lies");
  const [b, c, d] = [256, 260, 264].map(float), a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const [dx, dy, dz] = [float(80), float(84), float(88) * (float(76) < 0 ? -1 : 1)];
  return [
    [(a * a + b * b - c * c - d * d) * dx, 2 * (b * c - a * d) * dy, 2 * (b * d + a * c) * dz, float(268)],
    [2 * (b * c + a * d) * dx, (a * a + c * c - b * b - d * d) * dy, 2 * (c * d - a * b) * dz, float(272)],
    [2 * (b * d - a * c) * dx, 2 * (c * d + a * b) * dy, (a * a + d * d - b * b - c * c) * dz, float(276)],
  ];
}

// How far, in mm, corners of two images of one shape are apart at most.
function distance(one, other, [nx, ny, nz]) {
  const corners = [0, nx - 1].flatMap(x => [0, ny - 1].flatMap(y => [0, nz - 1].map(z => [x, y, z, 1])));
  return Math.max(...corners.map(corner => Math.hypot(...one.map((row, r) => row.reduce((sum, v, c) => sum + (v - other[r][c]) * corner[c], 0)))));
}

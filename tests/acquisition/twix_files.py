"""Siemens Twix files from nothing: VD files written block by block with twixtools, VB files with its heads."""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import twixtools
from ismrmrd_files import FIRST_POSITION, FOV_MM, MATRIX, N_SPOKES, PHASE_DIR, READ_DIR, SPACING_MM, small_scan
from scipy.spatial.transform import Rotation
from twixtools.mdb import Mdb_local
from twixtools.mdh_def import VB17_header

from mrfpipe.acquisition.scan import RawScan

# Phase, read and slice direction are the columns of a rotation, so that read x phase points against the slice.
NORMAL = np.cross(PHASE_DIR, READ_DIR)
TABLE_MM = (1, -2, -345)
PLACES = (0, 2, 1)  # where along the stack the slices lie that are counted 0, 1, 2

PROTOCOL: Mapping[str, object] = {
    "tProtocolName": '"MRF"',
    "lContrasts": 1,
    "sProtConsistencyInfo.flNominalB0": 2.89,
    "alTE[0]": 2390,
    "alTE[1]": 15000,
    "alTR[0]": 10_000_000,
    "alTI[0]": 300_000,
    "adFlipAngleDegree[0]": 15.0,
    "sSliceArray.lSize": 3,
    "sSliceArray.asSlice[0].dThickness": 8.0,
    "sSliceArray.asSlice[0].dPhaseFOV": FOV_MM,
    "sSliceArray.asSlice[0].dReadoutFOV": FOV_MM,
    "sKSpace.lBaseResolution": MATRIX,
    "sKSpace.ucTrajectory": "0x2",
    "sPrepPulses.ucInversion": 4,
}


def twix_scan(**options: int) -> RawScan:
    return small_scan(**{"n_slices": 3, **options})


def header_bytes(changes: Mapping[str, object] | None = None, table_mm: Iterable[int] = TABLE_MM) -> bytes:
    """The header with lines of its protocol changed, or left out where they are None."""
    values = {**PROTOCOL, **(changes or {})}
    lines = "".join(f"{key}\t = \t{value}\n" for key, value in values.items() if value is not None)
    table = "".join(
        f'<ParamLong."lGlobalTablePos{axis}">  {{ {mm or ""}  }}\n'
        for axis, mm in zip(("Sag", "Cor", "Tra"), table_mm, strict=True)
    )
    field = '<ParamDouble."flMagneticFieldStrength">  { <Precision> 6  2.893620  }\n'
    texts = {
        "Config": "<XProtocol> {}\n",
        "Dicom": table + field,
        "MeasYaps": f"<XProtocol> {{}}\n### ASCCONV BEGIN object=MrProt ###\n{lines}### ASCCONV END ###\n",
    }
    buffers = b"".join(
        name.encode() + b"\0" + struct.pack("<I", len(text)) + text.encode() for name, text in texts.items()
    )
    length = -(-(8 + len(buffers)) // 32) * 32
    return struct.pack("<II", length, len(texts)) + buffers.ljust(length - 8, b"\0")


def place(head: object, s: int, spoke: int) -> None:
    """Fill in counters and geometry of a spoke; `s` is its slice's place along the stack."""
    head.Counter.Lin, head.Counter.Sli = spoke, PLACES.index(s)
    head.CenterCol = head.SamplesInScan // 2
    position = FIRST_POSITION + s * SPACING_MM * NORMAL - np.array(TABLE_MM)
    head.SliceData.SlicePos.Sag, head.SliceData.SlicePos.Cor, head.SliceData.SlicePos.Tra = position
    x, y, z, w = Rotation.from_matrix(np.stack([PHASE_DIR, READ_DIR, NORMAL], axis=1)).as_quat()
    head.SliceData.Quaternion[:] = (w, x, y, z)


def spoke_block(scan: RawScan, s: int, spoke: int) -> Mdb_local:
    block = Mdb_local(scan.kspace[s, :, spoke])
    place(block.mdh, s, spoke)
    block.add_flag("ONLINE")
    return block


def spoke_blocks(scan: RawScan) -> list[Mdb_local]:
    """All spokes in the order of an interleaved scan: spoke by spoke, its slices as they are counted."""
    return [spoke_block(scan, s, i) for i in range(N_SPOKES) for s in PLACES if s < scan.n_slices]


def noise_block(noise: np.ndarray) -> Mdb_local:
    return flagged(Mdb_local(noise), "NOISEADJSCAN")


def flagged(block: Mdb_local, *flags: str) -> Mdb_local:
    for flag in flags:
        block.add_flag(flag)
    return block


def sync_block() -> Mdb_local:
    """What a scanner writes now and then: bytes that are no samples."""
    block = Mdb_local(np.arange(20) + 1j)
    block.mdh.FlagsAndDMALength = 192 + 160
    return flagged(block, "SYNCDATA")


def write_file(path: Path, *measurements: list[Mdb_local], header: bytes | None = None) -> Path:
    """Write a VD file of these measurements, all with one header."""
    text = np.frombuffer(header or header_bytes(), "S1")
    twixtools.write_twix([{"hdr_str": text, "mdb": blocks} for blocks in measurements], str(path))
    return path


def write_whole(path: Path, scan: RawScan, **changes: object) -> Path:
    """Write a VD file of a scan with noise."""
    changes = {"sSliceArray.lSize": scan.n_slices, **changes}
    return write_file(path, [noise_block(scan.noise), *spoke_blocks(scan)], header=header_bytes(changes))


def write_vb_file(path: Path, scan: RawScan) -> Path:
    """Write a VB file of a scan with noise."""
    header = header_bytes({"sSliceArray.lSize": scan.n_slices})
    return write_vb_blocks(path, [noise_block(scan.noise), *spoke_blocks(scan)], header)


def write_vb_blocks(path: Path, blocks: Iterable[Mdb_local], header: bytes) -> Path:
    """Write a VB file: no table of measurements, and a whole head before every coil."""
    parts = [header.ljust(10_240, b"\0")]
    parts[0] = struct.pack("<I", len(parts[0])) + parts[0][4:]
    for block in blocks:
        head = VB17_header()
        head.UsedChannels, head.SamplesInScan = block.data.shape
        head.EvalInfoMask = block.mdh.EvalInfoMask
        for name in ("Counter", "SliceData", "CenterCol"):
            setattr(head, name, getattr(block.mdh, name))
        for coil, of_coil in enumerate(block.data):
            head.ChannelId = coil
            parts += [bytes(head), of_coil.tobytes()]
    end = VB17_header()
    end.EvalInfoMask = 1
    path.write_bytes(b"".join([*parts, bytes(end), bytes(256)]))
    return path

"""Parse the text header of a Siemens Twix file.

The protocol (the lines between the marks ``ASCCONV`` in the buffer ``MeasYaps``: times in us, angles in degrees,
lengths in mm; values of zero are omitted) and some parameters of the other buffers are used.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.header import Header
from mrfpipe.arrays import Double
from mrfpipe.errors import InputError

_TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral", 8: "other"}
_INVERSIONS = (1, 2)  # slice-selective, non-selective; the inversion time of any other is a relic
_MOST_ECHOES = 128
_THIRD_FREE = re.compile(r"T1_mapping$|.*(raFin_|T1_?MAP|MRF2D|customIR_Reco)")
"""Names of protocols in which ``alFree[3]`` is the number of readouts per slice; in others it is ``alFree[4]``."""
_PROTOCOL = re.compile(r"### ASCCONV BEGIN[^\n]*\n(.*?)### ASCCONV END ###", re.DOTALL)
_LINE = re.compile(r"^[ \t]*([\w.\[\]]+)[ \t]*=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)


class _Protocol:
    """The lines of the protocol, and access to their numbers."""

    def __init__(self, buffers: dict[str, str], path: Path) -> None:
        found = _PROTOCOL.search(buffers.get("MeasYaps", ""))
        if found is None:
            raise InputError(f"{path}: its header has no protocol (MeasYaps); the file is damaged, copy it again.")
        # VB spells the name of the block of free parameters differently.
        self.values = dict(_LINE.findall(found[1].replace("sWiPMemBlock", "sWipMemBlock")))
        self.path = path

    def number(self, key: str) -> float | None:
        """Return a finite number; None if the protocol has no such line."""
        value = self.values.get(key)
        if value is None:
            return None
        try:
            number = float(int(value, 16)) if value.lower().startswith("0x") else float(value)
        except (ValueError, OverflowError):
            number = np.nan
        if not np.isfinite(number):
            raise InputError(f"{self.path}: {key} in its header is '{value[:20]}', not a number; copy it again.")
        return number

    def count(self, key: str) -> int | None:
        """Return a number, rounded to an integer; None if the protocol has no such line."""
        number = self.number(key)
        return None if number is None else round(number)

    def times_ms(self, key: str, n: int) -> tuple[float, ...]:
        """Return the first `n` times in ms, or as many as there are."""
        times = (self.number(f"{key}[{i}]") for i in range(n))
        return tuple(t / 1e3 for t in times if t is not None)


def parse_twix_header(buffers: dict[str, str], path: Path) -> Header:
    """Parse the text buffers of the header.

    InputError if there is no protocol in them, or one of its values is not a number.
    """
    protocol = _Protocol(buffers, path)
    matrix = protocol.count("sKSpace.lBaseResolution")
    trajectory = protocol.count("sKSpace.ucTrajectory")
    name, sequence = (protocol.values.get(key, "").strip('"') for key in ("tProtocolName", "tSequenceFileName"))
    is_third = _THIRD_FREE.match(name) or sequence.endswith("\\raFin")
    fov_mm = tuple(protocol.number(f"sSliceArray.asSlice[0].{key}") for key in ("dReadoutFOV", "dPhaseFOV"))
    thickness_mm = protocol.number("sSliceArray.asSlice[0].dThickness") or 0.0
    field_strength = protocol.number("sProtConsistencyInfo.flNominalB0")
    flip_deg = protocol.number("adFlipAngleDegree[0]")
    n_echoes = min(protocol.count("lContrasts") or 1, _MOST_ECHOES)
    is_inverted = protocol.count("sPrepPulses.ucInversion") in _INVERSIONS
    return Header(
        vendor="SIEMENS",
        field_strength=_parameter(buffers, "flMagneticFieldStrength") if field_strength is None else field_strength,
        protocol_name=name or None,
        sequence_name=sequence or None,
        trajectory=None if trajectory is None else _TRAJECTORIES.get(trajectory, "other"),
        readouts_per_slice=protocol.count(f"sWipMemBlock.alFree[{3 if is_third else 4}]"),
        n_slices=protocol.count("sSliceArray.lSize"),
        matrix=None if matrix is None else (matrix, matrix),
        fov_mm=None if fov_mm[0] is None or fov_mm[1] is None else (fov_mm[0], fov_mm[1], thickness_mm),
        slice_thickness_mm=thickness_mm or None,
        te_ms=protocol.times_ms("alTE", n_echoes),
        tr_ms=protocol.times_ms("alTR", 1),
        ti_ms=protocol.times_ms("alTI", 1) if is_inverted else (),
        flip_deg=() if flip_deg is None else (flip_deg,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TwixTimes:
    """Times in s that the T1-FF sequence stores in the header."""

    echo_spacing: float
    """Time from pulse to pulse (TR) at the shortest TE."""
    inversion: float
    """Time from the inversion to the first pulse."""
    shortest_te: float
    """Shortest TE."""
    repetition: float
    """Time from one inversion to the next, including recovery."""


def times_of(buffers: dict[str, str], path: Path) -> TwixTimes:
    """Read the times of a 2-D scan of T1-FF; InputError if one is missing or not above 0, or the scan is 3-D."""
    protocol = _Protocol(buffers, path)
    name = protocol.values.get("tProtocolName", "").strip('"')
    if "3D" in name:
        raise InputError(f"{path}: is a 3-D scan ('{name}'); mrfpipe reads slices.")

    def seconds(key: str, unit: float) -> float:
        value = protocol.number(key)
        if value is None or not value > 0:
            raise InputError(f"{path}: its header has no {key}, where a scan of T1-FF keeps a time; name such a scan.")
        return round(value * unit, 9)

    return TwixTimes(
        echo_spacing=seconds("sWipMemBlock.adFree[0]", 1e-3),
        inversion=seconds("sWipMemBlock.adFree[1]", 1e-3),
        shortest_te=seconds("alTE[0]", 1e-6),
        repetition=seconds("alTR[0]", 1e-6),
    )


def table_position_mm(buffers: dict[str, str], path: Path) -> Double:
    """Return the table position in mm relative to the landmark, in LPS. Shape `(3)`."""
    moved = [_parameter(buffers, f"lGlobalTablePos{axis}") for axis in ("Sag", "Cor", "Tra")]
    if moved[2] is None:
        moved[2] = _Protocol(buffers, path).number("lScanRegionPosTra")
    return np.array([0.0 if value is None else value for value in moved])


def _parameter(buffers: dict[str, str], name: str) -> float | None:
    """Find a number among the parameters of the buffers ``Dicom`` and ``Meas``."""
    pattern = re.compile(
        rf'<Param(?:Long|Double)\."{name}">\s*\{{\s*(?:<Precision>\s*\d+\s*)?(-?\d{{1,15}}(?:\.\d{{0,15}})?)\s*\}}'
    )
    found = (pattern.search(buffers.get(buffer, "")) for buffer in ("Dicom", "Meas"))
    return next((float(match[1]) for match in found if match), None)

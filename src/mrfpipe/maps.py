"""ParameterMaps: the five quantitative maps of a scan, and the maps that say how far to trust them.

Fingerprints are what the maps were read from: the signal of every voxel and the one it was explained by.
"""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Bool, Byte, Complex, Double, Float, check_dtype, check_shape, frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One of the five parameters: what it is called where, and how it is written to files."""

    field: str
    """Name in `ParameterMaps` and in `Grid`."""
    name: str
    """Name in files, tables and figures."""
    unit: str
    """Unit in files, tables and figures."""
    scale: float
    """Factor from SI to that unit."""
    title: str
    """Name for people."""


PARAMETERS = (
    Parameter(field="ff", name="FF", unit="1", scale=1.0, title="fat fraction"),
    Parameter(field="t1w", name="T1H2O", unit="ms", scale=1e3, title="T1 of water"),
    Parameter(field="t1f", name="T1fat", unit="ms", scale=1e3, title="T1 of fat"),
    Parameter(field="df", name="df", unit="Hz", scale=1.0, title="off-resonance"),
    Parameter(field="b1", name="B1", unit="1", scale=1.0, title="flip angle efficacy"),
)
"""In the order of the dictionary's axes; bit n of `ParameterMaps.edge` stands for the n-th."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A map that says how far to trust the parameters: what it is called, and how it is written to files."""

    field: str
    """Name in `ParameterMaps`."""
    name: str
    """Name in files and figures."""
    unit: str
    """Unit in files and figures."""
    title: str
    """What it is, for people."""


_EDGE_BITS = ", ".join(f"{1 << bit} {parameter.name}" for bit, parameter in enumerate(PARAMETERS))
M0 = Quality(
    field="m0",
    name="M0",
    unit="arbitrary",
    title="scale between signal and simulated fingerprint: proton density times receive gain",
)
PHASE = Quality(field="phase", name="M0phase", unit="rad", title="phase of that scale, -pi to pi")
MATCH = Quality(field="match", name="match", unit="1", title="normalised correlation of signal and fingerprint, 0 to 1")
EDGE = Quality(
    field="edge",
    name="edge",
    unit="1",
    title=f"sum of a number for each parameter at an end of its grid: {_EDGE_BITS}",
)
GAP = Quality(
    field="gap",
    name="gap",
    unit="1",
    title="normalised correlation that the second-best pair of off-resonance and B1 lacks, all of it if there is none",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterMaps:
    """What a scan yields, by matching or by a network alike. Arrays have shape `(slices, y, x)`.

    Voxels outside the mask, and voxels without any signal, are NaN in every map and outside `mask`.
    """

    ff: Float
    """Fat fraction, 0 to 1."""
    t1w: Float
    """T1 of water in s."""
    t1f: Float
    """T1 of fat in s."""
    df: Float
    """Off-resonance in Hz."""
    b1: Float
    """Flip angle efficacy."""
    m0: Float
    """Magnitude of the scale between signal and simulated fingerprint (proton density times receive gain)."""
    phase: Float
    """Phase of that scale in rad, from -pi to pi: of the signal at the moment of excitation."""
    match: Float
    """Normalised correlation of signal and fingerprint, 0 to 1."""
    edge: Byte
    """Bit n is set where the n-th of `PARAMETERS` lies at an end of its grid."""
    mask: Bool
    """Where the maps are defined."""
    affine: Double
    """Voxel `(x, y, slice)` to RAS in mm. Shape `(4, 4)`."""
    gap: Float | None = None
    """How far the second-best explanation falls behind in correlation, if it was looked for; see
    `mrfpipe.matching.gap`."""

    def __post_init__(self) -> None:
        sizes = check_shape("mask", self.mask, "slices y x")
        check_dtype("mask", self.mask, np.bool_)
        check_shape("edge", self.edge, "slices y x", sizes)
        check_dtype("edge", self.edge, np.uint8)
        check_shape("affine", self.affine, "4 4")
        images = [*(p.field for p in PARAMETERS), "m0", "phase", "match", *(["gap"] if self.gap is not None else [])]
        for name in images:
            array = getattr(self, name)
            check_shape(name, array, "slices y x", sizes)
            check_dtype(name, array, np.float32)
            if not np.all(np.isfinite(array[self.mask])):
                raise ValueError(f"{name} is not finite everywhere inside the mask.")
        for name in (*images, "edge", "mask", "affine"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __repr__(self) -> str:
        size, voxels = " x ".join(map(str, self.mask.shape)), f"{self.mask.sum():,} voxels inside the mask"
        means = ", ".join(f"{p.name} {self._mean(p):.3g} {p.unit}".removesuffix(" 1") for p in PARAMETERS)
        return f"<ParameterMaps {size} (slices, y, x), {voxels}; means: {means}>"

    def _mean(self, parameter: Parameter) -> float:
        inside = self.in_file_units(parameter)[self.mask]
        return float(inside.mean()) if inside.size else np.nan

    @property
    def quality(self) -> tuple[Quality, ...]:
        """The quality maps there are."""
        always = (M0, PHASE, MATCH, EDGE)
        return always if self.gap is None else (*always, GAP)

    def in_file_units(self, parameter: Parameter) -> Float:
        """Return the map of `parameter` in the unit it has in files. Shape `(slices, y, x)`."""
        scaled: Float = getattr(self, parameter.field) * np.float32(parameter.scale)
        return scaled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprints:
    """Measured and matched signals of the voxels inside a mask, as coefficients: ``signal = basis @ coefficients``.

    Voxels go slice by slice and row by row, as numpy's ``values[mask]`` gives them.
    """

    basis: Complex
    """Orthonormal temporal basis. Shape `(frames, rank)`."""
    measured: Complex
    """Coefficients of the scan. Shape `(voxels, rank)`."""
    simulated: Complex
    """Coefficients of the fingerprints at the estimated parameters, on any scale. Shape `(voxels, rank)`."""

    def __post_init__(self) -> None:
        sizes = check_shape("basis", self.basis, "frames rank")
        sizes = check_shape("measured", self.measured, "voxels rank", sizes)
        check_shape("simulated", self.simulated, "voxels rank", sizes)
        for name in ("basis", "measured", "simulated"):
            array = getattr(self, name)
            check_dtype(name, array, np.complex64)
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} has values that are not finite.")
            object.__setattr__(self, name, frozen(array))

    @property
    def fitted(self) -> Complex:
        """Each simulated signal on the complex scale that brings it nearest to the measured. Shape `(voxels, rank)`."""
        energy = np.sum(np.abs(self.simulated) ** 2, axis=1)
        product = np.sum(self.simulated.conj() * self.measured, axis=1)
        scale = np.divide(product, energy, out=np.zeros_like(product), where=energy > 0)
        scaled: Complex = scale[:, None] * self.simulated
        return scaled

"""ParameterMaps: the quantitative maps of a scan and their quality maps.

Fingerprints holds the measured signal of every voxel and the simulated signal at its estimates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Bool, Byte, Complex, Double, Float, check_dtype, check_shape, frozen
from mrfpipe.quantities import DEVIATION, EDGE, GAP, M0, MATCH, PHASE, Parameter, Quality, deviation_of, in_unit

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ParameterMaps(Mapping[str, Float]):
    """Quantitative maps, estimated by matching or a network: a mapping from the name of a parameter to its map.

    Indexing by name gives a map in the unit of files; `si` holds the maps in SI units. Arrays have shape
    `(slices, y, x)`. Voxels outside `mask`, which includes voxels without signal, are NaN in every map.
    """

    parameters: tuple[Parameter, ...]
    """The estimated parameters."""
    si: Mapping[str, Float]
    """Map of every parameter by its name, in SI units."""
    m0: Float
    """Magnitude of the signal relative to the simulated fingerprint: proton density times receive gain."""
    phase: Float
    """Phase of the signal relative to the fingerprint in rad, from -pi to pi: its phase at excitation."""
    match: Float
    """Normalised correlation of signal and fingerprint, 0 to 1."""
    edge: npt.NDArray[np.uint8]
    """Bit n is set where the n-th parameter is at its grid limit."""
    mask: Bool
    """Where the maps are defined."""
    affine: Double
    """Voxel `(x, y, slice)` to RAS in mm. Shape `(4, 4)`."""
    gap: Float | None = None
    """Difference in `match` between the best and the second-best local optimum; None if it was not computed. See
    `mrfpipe.matching.gap`."""
    sd: Mapping[str, Float] | None = None
    """Standard deviation of every parameter by its name, in SI units, if it is known."""

    def __post_init__(self) -> None:
        sizes = check_shape("mask", self.mask, "slices y x")
        check_dtype("mask", self.mask, np.bool_)
        check_shape("edge", self.edge, "slices y x", sizes)
        check_dtype("edge", self.edge, np.uint8)
        check_shape("affine", self.affine, "4 4")
        if len(self.parameters) > 8:
            raise ValueError(f"Maps have at most 8 parameters, not {len(self.parameters)}.")
        images = {p.name: self.si[p.name] for p in self.parameters} | {"m0": self.m0, "phase": self.phase}
        images |= {"match": self.match} | ({} if self.gap is None else {"gap": self.gap})
        images |= {} if self.sd is None else {f"{p.name}_sd": self.sd[p.name] for p in self.parameters}
        for name, array in images.items():
            check_shape(name, array, "slices y x", sizes)
            check_dtype(name, array, np.float32)
            if not np.all(np.isfinite(array[self.mask])):
                raise ValueError(f"{name} is not finite everywhere inside the mask.")
        object.__setattr__(self, "si", {p.name: frozen(self.si[p.name]) for p in self.parameters})
        for name in ("m0", "phase", "match", "edge", "mask", "affine", *(["gap"] if self.gap is not None else [])):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        if self.sd is not None:
            object.__setattr__(self, "sd", {p.name: frozen(self.sd[p.name]) for p in self.parameters})

    def __getitem__(self, name: str) -> Float:
        """Return the map of a parameter in the unit it has in files. Shape `(slices, y, x)`."""
        scale = np.float32(self.parameter(name).scale)
        scaled: Float = self.si[name] * scale
        return scaled

    def __iter__(self) -> Iterator[str]:
        return iter(p.name for p in self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __repr__(self) -> str:
        size, voxels = " x ".join(map(str, self.mask.shape)), f"{self.mask.sum():,} voxels inside the mask"
        means = ", ".join(in_unit(f"{p.name} {self._mean(p):.3g}", p.unit) for p in self.parameters)
        return f"<ParameterMaps {size} (slices, y, x), {voxels}; means: {means}>"

    def _mean(self, parameter: Parameter) -> float:
        inside = self[parameter.name][self.mask]
        return float(inside.mean()) if inside.size else np.nan

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of a name.

        Raises
        ------
        KeyError
            If there is none; the error names those there are.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(f"there is no map {name!r}; choose from {', '.join(self)}")

    def at_edge(self, parameter: Parameter) -> Bool:
        """Return the voxels where a parameter is at its grid limit. Shape `(slices, y, x)`."""
        found: Bool = self.edge >> self.parameters.index(parameter) & 1 > 0
        return found

    def in_order(self, order: Sequence[int], affine: Double) -> "ParameterMaps":
        """Return the maps with their slices in the order of these numbers, and with this affine."""
        si = {name: image[order] for name, image in self.si.items()}
        sd = None if self.sd is None else {name: image[order] for name, image in self.sd.items()}
        always = {name: getattr(self, name)[order] for name in ("m0", "phase", "match", "edge", "mask")}
        gap = None if self.gap is None else self.gap[order]
        return replace(self, si=si, sd=sd, gap=gap, affine=affine, **always)

    @property
    def quality(self) -> tuple[Quality, ...]:
        """The quality maps that are known."""
        bits = ", ".join(f"{1 << bit} {parameter.name}" for bit, parameter in enumerate(self.parameters))
        always = (M0, PHASE, MATCH, replace(EDGE, title=f"{EDGE.title}: {bits}"))
        known = always if self.gap is None else (*always, GAP)
        return known if self.sd is None else (*known, *map(deviation_of, self.parameters))

    def quality_map(self, quality: Quality) -> Float | Byte:
        """Return a known quality map, in its unit in files. Shape `(slices, y, x)`."""
        if quality.field == DEVIATION and self.sd is not None:
            parameter = self.parameter(quality.name.removesuffix("_sd"))
            scaled: Float = self.sd[parameter.name] * np.float32(parameter.scale)
            return scaled
        found: Float | Byte = getattr(self, quality.field)
        return found

    def images(self) -> Iterator[tuple[Parameter | Quality, Float | Byte]]:
        """Give all maps in the units of files, parameters first, then their quality. Each of shape `(slices, y, x)`."""
        yield from ((parameter, self[parameter.name]) for parameter in self.parameters)
        yield from ((quality, self.quality_map(quality)) for quality in self.quality)

    def counts(self, parameter: Parameter) -> Bool:
        """Return the voxels inside the mask in which the scan determines a parameter. Shape `(slices, y, x)`.

        They are those whose standard deviation is small (`mrfpipe.quantities.Quantity.certain`). Where standard
        deviations are unknown, the protocol's condition is used instead: `compared`.
        """
        if self.sd is None:
            return self.compared(parameter)
        certain = parameter.quantity.certain(self.si[parameter.name], self.sd[parameter.name])
        return self.mask & certain

    def counting_rule(self, parameter: Parameter) -> str:
        """Say in words where a parameter counts; empty if everywhere."""
        if self.sd is not None:
            return parameter.quantity.certainty
        return "" if parameter.counts is None else parameter.counts.text

    def compared(self, parameter: Parameter) -> Bool:
        """Return the voxels inside the mask in which estimates of a parameter are compared with these maps.

        They are those where the parameter's condition holds, whatever the standard deviations, so that every estimate
        is compared in the same voxels.
        Shape `(slices, y, x)`.
        """
        return self.mask & parameter.counts_where(self.si)

    @classmethod
    def known(
        cls,
        parameters: tuple[Parameter, ...],
        si: Mapping[str, Float],
        mask: Bool,
        affine: Double,
        m0: Float | None = None,
    ) -> "ParameterMaps":
        """Make maps of known values: `m0` (unless given) and `match` are 1, `phase` and `edge` are 0."""
        one = np.where(mask, np.float32(1), np.float32(np.nan))
        return cls(
            parameters=parameters,
            si=si,
            m0=one if m0 is None else m0,
            phase=0 * one,
            match=one,
            edge=np.zeros(mask.shape, np.uint8),
            mask=mask,
            affine=affine,
        )

    def counting_regions(self, parameter: Parameter, rois: Labels) -> Labels:
        """Return the labels of regions where a parameter is compared, 0 elsewhere.

        If the condition has an upper limit, a region counts only if its mean, over all its voxels in the mask, is
        within the limit, too: section 2.6 of Balsiger et al., Med Image Anal 64:101741 (2020).

        Parameters
        ----------
        parameter
            Which.
        rois
            Labels of regions, 0 for none. A region is its label in one slice. Shape `(slices, y, x)`.

        Returns
        -------
            Labels in the voxels that are compared. Shape `(slices, y, x)`.
        """
        counts: Labels = np.where(self.compared(parameter), rois, 0)
        condition = parameter.counts
        if condition is None or condition.sense != "<=":
            return counts
        for kept, values, mask, labels in zip(counts, self.si[condition.parameter], self.mask, rois, strict=True):
            for label in np.unique(kept[kept != 0]):
                region = labels == label
                if not condition.holds(values[region & mask].mean(dtype=np.float64)):
                    kept[region] = 0
        return counts


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

    def in_order(self, order: Sequence[int], mask: Bool) -> "Fingerprints":
        """Return the fingerprints with slices in the order of these numbers; the mask has the present order."""
        number = np.zeros(mask.shape, np.intp)
        number[mask] = np.arange(len(self.measured))
        voxels = number[order][mask[order]]
        return replace(self, measured=self.measured[voxels], simulated=self.simulated[voxels])

    @property
    def fitted(self) -> Complex:
        """Each simulated signal on the complex scale that brings it nearest to the measured. Shape `(voxels, rank)`."""
        energy = np.sum(np.abs(self.simulated) ** 2, axis=1)
        product = np.sum(self.simulated.conj() * self.measured, axis=1)
        scale = np.divide(product, energy, out=np.zeros_like(product), where=energy > 0)
        scaled: Complex = scale[:, None] * self.simulated
        return scaled

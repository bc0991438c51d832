"""Choices: options of reconstruction, as plain values that are quick to import."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mrfpipe.imaging.coils import MapMethod
    from mrfpipe.imaging.nufft import Backend

Recon = Literal["nufft", "subspace", "joint"]
NoiseSource = Literal["scan", "edges"]
KINDS: dict[Recon, str] = {
    "nufft": "adjoint NUFFT, frame by frame",
    "subspace": "subspace, conjugate gradients",
    "joint": "joint, Gauss-Newton step from a subspace",
}
"""What each reconstruction is called in records."""
VIRTUAL_COILS = 8
"""Default number of virtual coils. The time of a reconstruction is proportional to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """Options of reconstruction."""

    recon: Recon | None = "nufft"
    """``nufft``: density-compensated adjoint NUFFT, frame by frame. ``subspace``: coefficients of a temporal basis, by
    conjugate gradients over all readouts (`mrfpipe.imaging.subspace`). Unless off-resonance is corrected, they come
    with normal equations, to which matching fits the parameters of all voxels jointly (`mrfpipe.imaging.joint`).
    ``joint``: the same, with equations in more basis vectors. None leaves the choice to the mapper, see `or_best`."""
    backend: "Backend | None" = None
    """NUFFT library on the CPU; None for sigpy if frames are reconstructed, finufft otherwise (see `nufft`). On a GPU,
    torch computes the images."""
    coil_maps: "MapMethod" = "centre"
    """Method of coil sensitivity estimation."""
    virtual_coils: int = VIRTUAL_COILS
    """Number of virtual coils to compress to, if there are more coils."""
    noise: NoiseSource = "scan"
    """Noise for prewhitening: ``scan``, the noise scan, if there is one; or ``edges``, the edge of k-space."""
    conjugate: bool | None = None
    """Whether the samples are conjugated first, see `RawScan.conjugated`; None to conjugate those of vendors known to
    need it, see `RawScan.is_turned`."""
    correct_delays: bool | None = None
    """Whether significant gradient delays are corrected, see `mrfpipe.imaging.delays`; None to correct spokes only,
    where delays can be estimated."""
    field_map: str | Path | None = None
    """Result or image with the off-resonance to correct, see `mrfpipe.imaging.off_resonance`; None not to correct."""
    trust_protocol: bool = False
    """Whether the protocol overrides the header of the scan where they differ."""

    def __post_init__(self) -> None:
        if self.virtual_coils < 1:
            raise ValueError(f"virtual_coils must be at least 1, not {self.virtual_coils}.")

    def described(self, device: str) -> str:
        """Say in words how images are made on a device."""
        kind = "any reconstruction" if self.recon is None else KINDS[self.recon]
        coils = f"at most {self.virtual_coils} virtual coils"
        noise = "" if self.noise == "scan" else ", noise of the edges"
        delays = "delays left" if self.correct_delays is False else "significant delays of spokes corrected"
        sense = "" if self.conjugate is None else ", conjugated" if self.conjugate else ", not conjugated"
        field = "" if self.field_map is None else ", off-resonance corrected"
        return (
            f"{kind} ({self.nufft_on(device)}, coil maps by {self.coil_maps}, {coils}{noise}, {delays}{sense}{field})"
        )

    def or_best(self) -> "Imaging":
        """Choose the most accurate one if none is chosen: ``joint``, or ``subspace`` if off-resonance is corrected."""
        if self.recon is not None:
            return self
        return replace(self, recon="joint" if self.field_map is None else "subspace")

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the options, other than `recon`, that do not have their default values."""
        return tuple(f.name for f in fields(self) if f.name != "recon" and getattr(self, f.name) != f.default)

    @property
    def nufft(self) -> "Backend":
        """NUFFT library on the CPU; finufft is faster if many transforms share one trajectory."""
        return self.backend or ("sigpy" if self.recon == "nufft" else "finufft")

    def nufft_on(self, device: str) -> str:
        """Return the name of the NUFFT library that is used on a device."""
        return self.nufft if device == "cpu" else "torch"


BY_FRAMES = Imaging()
"""The defaults for frames."""
BEST = Imaging(recon=None)
"""The defaults for maps."""

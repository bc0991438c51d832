"""Choices: how a raw scan becomes a series of images, as plain values that are quick to import."""

from dataclasses import dataclass
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
SUBSPACE_COILS = 8
"""Virtual coils of subspace and joint reconstructions unless told otherwise; their time grows with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """How a raw scan becomes a series of images."""

    recon: Recon = "nufft"
    """``nufft``: density-compensated adjoint NUFFT, frame by frame; ``subspace``: coefficients of a basis, by conjugate
    gradients over all readouts, see `mrfpipe.imaging.subspace`; ``joint``: from its maps, the parameters of all voxels
    at once, see `mrfpipe.imaging.joint`."""
    backend: "Backend | None" = None
    """What computes the NUFFT; None for sigpy in frames and finufft otherwise, see `nufft`."""
    coil_maps: "MapMethod" = "centre"
    """How sensitivities are estimated."""
    virtual_coils: int | None = None
    """Coils to compress to, where there are more; None for all in frames and `SUBSPACE_COILS` otherwise."""
    noise: NoiseSource = "scan"
    """What coils are whitened by: ``scan``, the noise scan, if there is one; or ``edges``, the edge of k-space."""
    conjugate: bool | None = None
    """Whether the samples are conjugated before anything else, see `RawScan.conjugated`; None for those of makers whose
    samples are known to need it, see `RawScan.is_turned`."""
    correct_delays: bool | None = None
    """Whether significant gradient delays are corrected, see `mrfpipe.imaging.delays`; None for those of spokes, where
    they can be seen, and of nothing else."""
    field_map: str | Path | None = None
    """Result or image of the off-resonance that is corrected, see `mrfpipe.imaging.off_resonance`; None for none."""
    trust_protocol: bool = False
    """Whether the protocol is right where the header of the scan says other."""

    def __post_init__(self) -> None:
        if self.virtual_coils is not None and self.virtual_coils < 1:
            raise ValueError(f"Coils cannot be compressed to {self.virtual_coils}.")

    def __str__(self) -> str:
        kind = KINDS[self.recon]
        coils = "" if self.n_virtual is None else f", at most {self.n_virtual} virtual coils"
        noise = "" if self.noise == "scan" else ", noise of the edges"
        delays = "delays left" if self.correct_delays is False else "delays of spokes corrected"
        sense = "" if self.conjugate is None else ", conjugated" if self.conjugate else ", not conjugated"
        field = "" if self.field_map is None else ", off-resonance corrected"
        return f"{kind} ({self.nufft}, coil maps by {self.coil_maps}{coils}{noise}, {delays}{sense}{field})"

    @property
    def nufft(self) -> "Backend":
        """What computes the NUFFT. finufft is faster where many transforms have one trajectory."""
        return self.backend or ("sigpy" if self.recon == "nufft" else "finufft")

    @property
    def n_virtual(self) -> int | None:
        """Coils to compress to; None to leave them."""
        return SUBSPACE_COILS if self.virtual_coils is None and self.recon != "nufft" else self.virtual_coils


BY_FRAMES = Imaging()
"""What is done unless told otherwise."""

"""Frames of a phantom without a scan: for training on the fly, on a GPU or without one.

Every coil's true image of every frame goes through the point spread of the frame's spokes, gets noise, and is combined
with the others by coil maps estimated from the average image. Against scanning and reconstructing the phantom, what is
left out is the signal's change from spoke to spoke of a frame (of a thigh up to 5 % of its norm in the frames after the
inversion and after a change of the train, 0.5 % in most), the errors of gridding, and that receivers hear each other's
noise. Coil maps come from the average of the frames, not of the spokes, and the noise is correlated over long distances
only nearly as a scan's (see `mrfpipe.phantom.pointspread`).
"""

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Bool, Complex
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import PARAMETERS
from mrfpipe.phantom.pointspread import PointSpread
from mrfpipe.phantom.truth import Phantom
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import Protocol

CALIBRATION_RADIUS = 12.0
"""As in `mrfpipe.imaging.coils`, which is not imported: it needs sigpy."""


def true_frames(phantom: Phantom, index: int, protocol: Protocol, device: torch.device) -> Tensor:
    """Simulate the image of a slice at every frame, before any sampling. Complex64, shape `(frames, y, x)`.

    Raises
    ------
    MismatchError
        If the phantom's matrix is not the protocol's.
    ResourceError
        If the device is a GPU that Numba cannot use.
    """
    mask: Bool = phantom.maps.mask[index]
    if mask.shape != (protocol.sequence.matrix,) * 2:
        raise MismatchError(
            f"The phantom has {mask.shape[0]} x {mask.shape[1]} voxels, the protocol {protocol.sequence.matrix}; "
            "draw it for the protocol's matrix."
        )
    values = {p.field: getattr(phantom.maps, p.field)[index][mask].astype(np.float64) for p in PARAMETERS}
    signals = fingerprints(protocol, **values, device=device) * phantom.maps.m0[index][mask, None]
    images = torch.zeros((protocol.sequence.n_frames, *mask.shape), dtype=torch.complex64, device=device)
    images[:, torch.from_numpy(mask.copy()).to(device)] = torch.from_numpy(signals.T.copy()).to(device)
    return images


def frames_of(
    phantom: Phantom,
    index: int,
    protocol: Protocol,
    spread: PointSpread,
    coils: Tensor,
    *,
    generator: torch.Generator,
    snr: float = 4000.0,
) -> Tensor:
    """Make the frames of one slice of a phantom, on the device of the point spread.

    Parameters
    ----------
    phantom
        What to scan.
    index
        Which slice.
    protocol
        How to scan it; the matrix must be the phantom's.
    spread
        Point spread of the protocol's sequence.
    coils
        Receive sensitivities, complex64, on the same device; `mrfpipe.phantom.scanner.coil_maps` makes them. Shape
        `(coils, y, x)`.
    generator
        Of the noise; on the same device.
    snr
        Mean magnitude of the centre of k-space over the standard deviation of the complex noise, as for
        `mrfpipe.phantom.scanner.scan`; infinite for no noise.

    Returns
    -------
        Coil-combined frames. Shape `(frames, y, x)`, complex64.

    Raises
    ------
    MismatchError
        If the phantom's matrix is not the protocol's.
    """
    if not snr > 0:
        raise ValueError(f"No frames with a signal-to-noise ratio of {snr:g}; it must be above zero.")
    images = true_frames(phantom, index, protocol, spread.transfer.device)
    maps = estimated_maps(coils * images.mean(0))
    centre = torch.einsum("cyx,tyx->ct", coils, images).abs().mean()
    frames = torch.zeros_like(images)
    for sensitivity, estimate in zip(coils, maps, strict=True):
        seen = spread.blur(images * sensitivity)
        if np.isfinite(snr):
            seen += spread.noise(float(centre) / snr, generator)
        frames += estimate.conj() * seen
    return frames


def estimated_maps(images: Tensor) -> Tensor:
    """Estimate coil maps as `mrfpipe.imaging.coils.estimate_coil_maps` does, from images instead of samples.

    Parameters
    ----------
    images
        What each coil sees, averaged over the scan. Shape `(coils, y, x)`.

    Returns
    -------
        Maps with unit root sum of squares, zero where no coil sees anything. Shape `(coils, y, x)`.
    """
    n = images.shape[-1]
    k = torch.fft.fftfreq(2 * n, d=1.0 / n, device=images.device)
    radius = torch.hypot(k[:, None], k[None, :]).clamp(max=CALIBRATION_RADIUS)
    window = torch.cos(0.5 * torch.pi * radius / CALIBRATION_RADIUS) ** 2
    coarse = torch.fft.ifft2(torch.fft.fft2(images, s=(2 * n, 2 * n)) * window)[:, :n, :n]
    total = coarse.abs().square().sum(0).sqrt()
    return torch.where(total > 0, coarse / total, 0)


def series_of(
    phantom: Phantom,
    protocol: Protocol,
    spread: PointSpread,
    coils: Tensor,
    *,
    seed: int,
    snr: float = 4000.0,
    name: str = "phantom",
) -> FrameSeries:
    """Make the frames of all slices of a phantom, as a scan of it would give them to matching and training.

    Parameters
    ----------
    phantom, protocol, spread, coils, snr
        As for `frames_of`.
    seed
        Of the noise.
    name
        What to call the scan.
    """
    generator = torch.Generator(spread.transfer.device).manual_seed(seed)
    slices = range(len(phantom.maps.mask))
    images: Complex = np.stack(
        [frames_of(phantom, i, protocol, spread, coils, generator=generator, snr=snr).cpu().numpy() for i in slices]
    )
    return FrameSeries(
        name=name,
        images=images,
        mask=phantom.maps.mask,
        affine=phantom.maps.affine,
        sequence_hash=protocol.sequence.hash,
    )

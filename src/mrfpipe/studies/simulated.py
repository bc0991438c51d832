"""Simulated coefficients: what a subspace reconstruction makes of a body, without k-space in between.

Coefficient images are sampled and summed back by convolutions (`mrfpipe.imaging.toeplitz`), from the trains of all
readouts to the coefficients of the reconstruction's basis, and noise is drawn where it ends up: in the weighted sums of
samples. Conjugate gradients and denoising are the reconstruction's own, and so is the way coil maps are estimated. All
of it runs on one device, where a GPU makes ten slices a second, so that a training need not see a scan twice.

What the scanner of `mrfpipe.phantom.scanner` does besides is left out: receivers whose noise is correlated, which
whitening undoes, and interpolation between grid points of the components' signals stands for their simulation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product

import numpy as np
import torch
from torch import Tensor

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.imaging.coils import CALIBRATION_RADIUS
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.lowrank import denoise_low_rank
from mrfpipe.imaging.normal import apply_normal, conjugate_gradients
from mrfpipe.imaging.nufft import Backend, nufft_adjoint
from mrfpipe.imaging.subspace import N_ITERATIONS, subspace_kernels
from mrfpipe.imaging.toeplitz import spread_kernels
from mrfpipe.protocol import Grid, Protocol

TRAINS = 16
"""Temporal basis vectors of the readouts' signals."""
FINEST = {"T1H2O": 41, "T1fat": 9, "df": 81, "B1": 25}
"""Values along each axis between which signals are interpolated: 0.03 % of their norm off at most, up to a scale."""
NOISES = 24
"""Measurements of noise that all others are mixed from; more than a scan has coils."""


def fine_dictionary(protocol: Protocol) -> Dictionary:
    """Simulate components readout by readout, on axes that are even in the logarithm of T1, and in df and B1."""
    axes = {}
    for name, axis in protocol.grid.items():
        spaced = np.geomspace if name.startswith("T1") else np.linspace
        axes[name] = spaced(axis[0], axis[-1], FINEST[name]) if name in FINEST else axis
    sequence = replace(protocol.sequence, readout=replace(protocol.sequence.readout, readouts_per_frame=1))
    return build_dictionary(replace(protocol, grid=Grid(axes=axes), sequence=sequence), rank=TRAINS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """The signals of a dictionary of two components at any parameters, by linear interpolation."""

    components: tuple[Tensor, ...]
    """As the dictionary has them. Shape `(*own axes, *shared axes, rank)`."""
    axes: tuple[tuple[str, ...], ...]
    """Names of the axes of each."""
    values: Mapping[str, Tensor]
    """Values along every axis."""
    share: str
    """Parameter that is the share of the second component."""

    @classmethod
    def of(cls, dictionary: Dictionary, device: torch.device) -> "Signals":
        """Take a dictionary's signals to a device."""
        protocol = dictionary.protocol
        return cls(
            components=tuple(torch.from_numpy(signals.copy()).to(device) for signals in dictionary.components),
            axes=tuple((*protocol.own_axes(one), *protocol.shared_axes) for one in protocol.components),
            values={
                name: torch.from_numpy(axis.copy()).to(device, torch.float32) for name, axis in protocol.grid.items()
            },
            share=str(protocol.share),
        )

    def at(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the signals at parameters of shape `(voxels)` each, in SI units. Shape `(voxels, rank)`."""
        first, second = (
            self._component(signals, names, parameters)
            for signals, names in zip(self.components, self.axes, strict=True)
        )
        share = parameters[self.share][:, None]
        return (1 - share) * first + share * second

    def _component(self, signals: Tensor, names: tuple[str, ...], parameters: Mapping[str, Tensor]) -> Tensor:
        below, parts = [], []
        for name in names:
            axis, value = self.values[name], parameters[name]
            at = (torch.searchsorted(axis, value.contiguous()) - 1).clamp(0, axis.numel() - 2)
            below.append(at)
            parts.append((value - axis[at]) / (axis[at + 1] - axis[at]))
        total = torch.zeros((parts[0].numel(), signals.shape[-1]), dtype=signals.dtype, device=signals.device)
        for corner in product((0, 1), repeat=len(names)):
            weight = torch.ones_like(parts[0])
            for up, part in zip(corner, parts, strict=True):
                weight = weight * (part if up else 1 - part)
            total += weight[:, None] * signals[tuple(at + up for at, up in zip(below, corner, strict=True))]
        return total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedScanner:
    """Makes the coefficients that a subspace reconstruction would have of a slice."""

    signals: Signals
    """Of all readouts, in a basis of their own."""
    trains: Tensor
    """That basis. Shape `(readouts, trains)`."""
    basis: Tensor
    """Basis of the coefficients. Shape `(frames, rank)`."""
    normal: Tensor
    """Kernels from coefficients to weighted sums of samples. Shape `(rank, rank, 2 y, 2 x)`."""
    forward: Tensor
    """Kernels from trains to the same. Shape `(rank, trains, 2 y, 2 x)`."""
    noises: Tensor
    """Weighted sums of white noise of unit variance. Shape `(noises, rank, y, x)`."""

    @classmethod
    def of(cls, protocol: Protocol, device: torch.device, backend: Backend, *, seed: int) -> "SimulatedScanner":
        """Compute everything that all scans of a radial protocol share."""
        sequence, matrix = protocol.sequence, protocol.sequence.matrix
        basis = build_dictionary(protocol).subspace
        fine = fine_dictionary(protocol)
        trajectory = golden_angle_spokes(sequence)
        density = ramp_weights(trajectory, matrix)
        of_readouts = np.repeat(basis, sequence.readouts_per_frame, axis=0)
        weights = density * np.float32(sequence.n_frames)
        rng = np.random.default_rng(seed)
        noises = np.empty((NOISES, basis.shape[1], matrix, matrix), np.complex64)
        for noise in noises:
            white = rng.standard_normal((*density.shape, 2), np.float32).view(np.complex64)[..., 0] * np.sqrt(0.5)
            shares = (of_readouts.conj().T[:, :, None] * (weights * white)).astype(np.complex64)
            noise[:] = nufft_adjoint(shares, trajectory, matrix, backend=backend)
        return cls(
            signals=Signals.of(fine, device),
            trains=torch.from_numpy(fine.basis.copy()).to(device),
            basis=torch.from_numpy(basis.copy()).to(device),
            normal=subspace_kernels(
                trajectory, density, basis, sequence.readouts_per_frame, matrix, backend=backend, device=device
            ),
            forward=spread_kernels(trajectory, weights, of_readouts, fine.basis, matrix, backend=backend).to(device),
            noises=torch.from_numpy(noises).to(device),
        )

    def scan(
        self, parameters: Mapping[str, Tensor], m0: Tensor, coils: Tensor, snr: float, random: torch.Generator
    ) -> Tensor:
        """Scan a slice and reconstruct its coefficients, in units of the noise. Shape `(rank, y, x)`.

        Parameters
        ----------
        parameters
            Maps in SI units. Shape `(y, x)` each.
        m0
            Proton density and the phase of transmission, 0 where there is no tissue; complex. Shape `(y, x)`.
        coils
            Receive sensitivities. Shape `(coils, y, x)`.
        snr
            As of `mrfpipe.phantom.scanner.scan`.
        random
            Of the noise.
        """
        inside = m0 != 0
        signals = self.signals.at({name: values[inside] for name, values in parameters.items()})
        images = torch.zeros((signals.shape[1], *m0.shape), dtype=torch.complex64, device=m0.device)
        images[:, inside] = (signals * m0[inside][:, None]).T
        centre = torch.einsum("cyx,ryx->cr", coils, images) @ self.trains.T
        deviation = centre.abs().mean() / snr
        maps = estimated_maps(coils, torch.tensordot(self.trains.mean(0), images, 1))
        right = apply_normal(images, coils, self.forward, maps)
        shape = (self.noises.shape[0], len(coils))
        mixing = torch.linalg.qr(torch.randn(shape, dtype=torch.complex64, device=m0.device, generator=random))[0]
        noise = torch.einsum("nc,nryx,cyx->ryx", mixing, self.noises, maps.conj())
        right = right / deviation + noise
        solution = torch.zeros_like(right)
        normal = partial(apply_normal, maps=maps, kernels=self.normal)
        for solution in islice(conjugate_gradients(normal, right), N_ITERATIONS):  # noqa: B007 - the last is wanted
            pass
        return denoise_low_rank(solution)


def estimated_maps(coils: Tensor, image: Tensor) -> Tensor:
    """Estimate coil maps as a reconstruction does, from the centre of k-space. Shape `(coils, y, x)`."""
    n = image.shape[-1]
    k = torch.fft.fftfreq(n, 1 / n, device=image.device)
    radius = torch.hypot(k[:, None], k[None, :])
    window = torch.where(radius < CALIBRATION_RADIUS, torch.cos(0.5 * torch.pi * radius / CALIBRATION_RADIUS) ** 2, 0)
    low = torch.fft.ifft2(torch.fft.fft2(coils * image) * window)
    maps: Tensor = low / torch.linalg.vector_norm(low, dim=0).clamp(min=torch.finfo(torch.float32).tiny)
    return maps

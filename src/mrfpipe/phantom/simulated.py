"""Simulated coefficients: the result of a joint reconstruction of a body, without simulating k-space.

Measurement and adjoint together are computed as convolutions (`mrfpipe.imaging.toeplitz`), from coefficients in the
basis of all readouts to the right-hand side in the basis of the reconstruction. Noise is added to this right-hand side.
Conjugate gradients, denoising and the estimation of coil maps are the same as in a reconstruction. The convolutions run
on one device; a GPU simulates ten slices a second, so that a training need not see a scan twice.

Two things are simpler than in `mrfpipe.phantom.scanner`: noise is not correlated between coils, because prewhitening
would remove the correlation, and signals are interpolated between grid points instead of simulated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Double
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.imaging.coils import CALIBRATION_RADIUS
from mrfpipe.imaging.density import weights_of
from mrfpipe.imaging.mask import box_of, support
from mrfpipe.imaging.normal import Equations, apply_normal, cropped_kernels
from mrfpipe.imaging.nufft import Backend
from mrfpipe.imaging.nufft_torch import modulated_adjoint
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.imaging.subspace import solve_subspace, summed_noise
from mrfpipe.imaging.toeplitz import spread_kernels, toeplitz_kernels
from mrfpipe.interpolation import Numbers, interpolated
from mrfpipe.limit import fisher
from mrfpipe.phantom.scanner import trajectory_of
from mrfpipe.protocol import Protocol, Sequence
from mrfpipe.readout_basis import readout_basis

TRAINS_ENERGY = 1 - 2e-6
"""Share of the energy of the readouts' signals that their temporal basis keeps."""
NOISES = 24
"""Number of noise realisations from which all others are mixed; more than a scan has coils."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedScanner:
    """Simulates the coefficients and normal equations that a joint reconstruction would give for a slice."""

    readouts: Dictionary
    """Dictionary of the signals at all readouts, in a basis of their own."""
    sequence: Sequence
    """The sequence to simulate."""
    basis: Complex
    """Basis of the coefficients. Shape `(frames, leading)`."""
    normal: Tensor
    """Kernels of the normal operator of the reconstruction, whose basis has more vectors. Shape `(rank, rank, 2 y,
    2 x)`."""
    forward: Tensor
    """Kernels from coefficients in the basis of readouts to the right-hand side. Shape `(rank, trains, 2 y, 2 x)`."""
    noise: float
    """Variance of the weighted sums of samples, for white noise of unit variance in k-space."""
    noises: Tensor
    """Such sums of one coil's noise, one per realisation. Shape `(noises, rank, y, x)`."""

    @classmethod
    def of(cls, dictionary: Dictionary, device: torch.device, backend: Backend, *, seed: int) -> "SimulatedScanner":
        """Compute everything that is the same for all scans of a dictionary's protocol; `seed` is for the noise."""
        protocol, basis = dictionary.protocol, readout_basis(dictionary)
        sequence, matrix = protocol.sequence, protocol.sequence.matrix
        readouts = build_dictionary(
            replace(protocol, sequence=sequence.with_single_readouts()),
            model=dictionary.model,
            energy=TRAINS_ENERGY,
            device=device,
        )
        trajectory = trajectory_of(sequence)
        if sequence.readout.kind != "golden-radial":  # a reconstruction leaves out their samples beyond the matrix
            trajectory = trajectory[:, np.abs(trajectory).max(axis=(0, 2)) <= matrix / 2]
        density = weights_of(sequence.readout.kind)(trajectory, matrix)
        weights = density * np.float32(sequence.n_frames)
        rng = np.random.default_rng(seed)
        noises = torch.empty((NOISES, basis.shape[1], matrix, matrix), dtype=torch.complex64, device=device)
        for noise in noises:
            white = rng.standard_normal((*density.shape, 2), np.float32).view(np.complex64)[..., 0] * np.sqrt(0.5)
            noise[:] = modulated_adjoint(
                basis.conj().T, weights * white, trajectory, matrix, backend=backend, device=device
            )
        return cls(
            readouts=readouts,
            sequence=sequence,
            basis=dictionary.subspace,
            normal=toeplitz_kernels(trajectory, weights, basis, matrix, backend=backend, device=device),
            forward=spread_kernels(trajectory, weights, basis, readouts.basis, matrix, backend=backend, device=device),
            noise=summed_noise(weights, basis),
            noises=noises,
        )

    @property
    def protocol(self) -> Protocol:
        """The protocol with frames of one readout each."""
        return self.readouts.protocol

    def scan(
        self, parameters: Mapping[str, Tensor], m0: Tensor, coils: Tensor, snr: float, random: torch.Generator
    ) -> FrameSeries:
        """Scan a slice and reconstruct its coefficients, in units of the noise.

        Parameters
        ----------
        parameters
            Maps in SI units. Shape `(y, x)` each.
        m0
            Complex proton density, with the transmit phase; 0 where there is no tissue. Shape `(y, x)`.
        coils
            Receive sensitivities. Shape `(coils, y, x)`.
        snr
            As for `mrfpipe.phantom.scanner.scan`.
        random
            Generator of the noise.
        """
        inside, device = m0 != 0, m0.device
        signals = torch.from_numpy(self._signals(parameters, inside)[0].astype(np.complex64)).to(device)
        images = torch.zeros((signals.shape[1], *m0.shape), dtype=torch.complex64, device=device)
        images[:, inside] = (signals * m0[inside][:, None]).T
        trains = torch.from_numpy(self.readouts.basis.copy()).to(device)
        centre = torch.einsum("cyx,ryx->cr", coils, images) @ trains.T
        deviation = centre.abs().mean() / snr
        maps = estimated_maps(coils, torch.tensordot(trains.mean(0), images, 1))
        right = apply_normal(images, coils, self.forward, maps)
        shape = (self.noises.shape[0], len(coils))
        mixing = torch.linalg.qr(torch.randn(shape, dtype=torch.complex64, device=device, generator=random))[0]
        right = right / deviation + torch.einsum("nc,nryx,cyx->ryx", mixing, self.noises, maps.conj())
        return self._series(right, maps, inside)

    def _series(self, right: Tensor, maps: Tensor, inside: Tensor) -> FrameSeries:
        """Solve the leading normal equations within the estimated support, as a reconstruction does."""
        n_leading = self.basis.shape[1]
        equations = Equations(right=right, maps=maps, kernels=self.normal, noise=self.noise, matrix=right.shape[-1])
        mask = support(right[:n_leading].cpu().numpy(), self.basis)
        box = box_of(mask)
        shape = mask[box].shape
        kernels = self.normal if shape == mask.shape else cropped_kernels(self.normal, *shape)
        equations = equations.inside(mask, box, kernels)
        return FrameSeries(
            name="a simulated scan",
            images=solve_subspace(equations.leading(n_leading))[None],
            mask=inside.cpu().numpy()[None],
            affine=np.eye(4),
            sequence_hash=self.sequence.hash,
            basis=self.basis,
            equations=equations,
            noise=self.noise,
        )

    def bounds(self, parameters: Mapping[str, Tensor], m0: Tensor) -> Double:
        """Return the Cramer-Rao bounds (variances) of parameters, scaled to 0..1 by their grid, in voxels with tissue.

        The noise has unit variance in every coefficient of the readouts. `parameters` and `m0` are as for `scan`. Shape
        `(parameters, voxels)`.
        """
        inside, grid = m0 != 0, self.protocol.grid
        signals, slopes = self._signals(parameters, inside)
        spans = np.array([max(axis[-1] - axis[0], np.finfo(float).tiny) for axis in grid.values()])
        information = fisher(signals, slopes * spans[:, None]) * m0[inside].abs().cpu().numpy()[:, None, None] ** 2
        scale = np.sqrt(np.diagonal(information, axis1=1, axis2=2).mean(0))
        scale[scale == 0] = 1  # a parameter of one value
        unit = information / (scale[:, None] * scale) + 1e-9 * np.eye(len(scale))
        bounds: Double = np.diagonal(np.linalg.inv(unit), axis1=1, axis2=2) / scale**2
        return bounds[:, : len(spans)].T

    def _signals(self, parameters: Mapping[str, Tensor], inside: Tensor) -> tuple[Numbers, Numbers]:
        """Interpolate the signals at all readouts, and their slopes, in the voxels of a mask."""
        at = [parameters[name][inside].cpu().numpy().astype(np.float64) for name in self.protocol.grid]
        return interpolated(self.readouts, np.stack(at, axis=1))


def estimated_maps(coils: Tensor, image: Tensor) -> Tensor:
    """Estimate coil maps as a reconstruction does, from the centre of k-space. Shape `(coils, y, x)`."""
    n = image.shape[-1]
    k = torch.fft.fftfreq(n, 1 / n, device=image.device)
    radius = torch.hypot(k[:, None], k[None, :])
    window = torch.where(radius < CALIBRATION_RADIUS, torch.cos(0.5 * torch.pi * radius / CALIBRATION_RADIUS) ** 2, 0)
    low = torch.fft.ifft2(torch.fft.fft2(coils * image) * window)
    maps: Tensor = low / torch.linalg.vector_norm(low, dim=0).clamp(min=torch.finfo(torch.float32).tiny)
    return maps

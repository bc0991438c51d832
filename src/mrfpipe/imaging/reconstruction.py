"""Reconstruction: from a raw scan to its series of images, one slice after the other.

For each slice, coils are prewhitened and possibly compressed, and coil sensitivity maps are estimated from all
readouts. Then either every frame is gridded separately (``nufft``), or all readouts together give the coefficients of a
temporal basis (``subspace``, ``joint``). Its vectors have one value per readout, because signals change within a frame.
Unless off-resonance is corrected, coefficients come with the normal equations of all samples, for a joint fit of the
parameters. ``joint`` sets up these equations in more basis vectors. With a noise scan, images are in units of the
noise.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Bool, Complex, Float, check_shape
from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.imaging.choices import BY_FRAMES, Imaging
from mrfpipe.imaging.coils import compress_coils, describe_noise, edge_noise, estimate_coil_maps, prewhiten
from mrfpipe.imaging.delays import UNKNOWN, Delays, correct_delays, estimate_delays
from mrfpipe.imaging.density import weights_of
from mrfpipe.imaging.frames import reconstruct_frames
from mrfpipe.imaging.mask import box_of, support, tissue_mask
from mrfpipe.imaging.normal import Equations, cropped_kernels
from mrfpipe.imaging.nufft import Backend
from mrfpipe.imaging.off_resonance import OffResonance
from mrfpipe.imaging.series import REPLICA_NOISE, FrameSeries, of_slice, stack_slices
from mrfpipe.imaging.subspace import (
    normal_equations,
    solve_subspace,
    subspace_kernels,
)
from mrfpipe.progress import UNTOLD, Steps
from mrfpipe.protocol import Sequence

UNSTATED = "not_stated_by_the_scan"
"""Name of the note on values of the sequence that were not compared with the protocol."""
REMARKS = "decisions_in_reading_the_scan"
"""Name of the note on decisions in reading the scan."""
FREQUENCIES = "off_resonance_corrected_by_frequencies_hz"
"""Name of the note that says by which frequencies off-resonance was corrected."""
CPU = torch.device("cpu")


def _check_readout(scan: RawScan, sequence: Sequence, imaging: Imaging) -> None:
    """Raise MismatchError if readouts differ from the sequence's, or delays of stored ones are to be corrected."""
    if scan.readout != sequence.readout.kind:
        raise MismatchError(
            f"The readouts of scan {scan.name} are {scan.readout}, the protocol's {sequence.readout.kind}; use the "
            "protocol that the scan was measured with."
        )
    if scan.readout == "stored" and imaging.correct_delays:
        raise MismatchError(
            f"Gradient delays are seen where spokes cross, and the readouts of scan {scan.name} are stored, taken as "
            "they are; leave --delays out."
        )


def _off_resonance(scan: RawScan, field: Float) -> OffResonance:
    """Prepare the correction of off-resonance; MismatchError if the scan has no sample times."""
    check_shape("field", field, "slices y x", {"slices": scan.n_slices, "y": scan.matrix, "x": scan.matrix})
    if scan.times is None:
        raise MismatchError(
            f"Off-resonance is corrected by the times of samples, which scan {scan.name} does not say; put the Pulseq "
            "file of its sequence beside it, convert it with sample_time_us, or leave the field map out."
        )
    return OffResonance.of(field, scan.times, scan.trajectory)


def _delays_of(scan: RawScan) -> Delays:
    """Estimate the delays from the slice that was measured first, so that they are known before others are measured.

    All slices together are used only if that slice gives no estimate, for example because it holds only air.
    """
    found = estimate_delays(scan.kspace[scan.first : scan.first + 1], scan.trajectory)
    return estimate_delays(scan.kspace, scan.trajectory) if found == UNKNOWN and scan.n_slices > 1 else found


def white_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Complex:
    """Draw complex noise of unit variance, half of it in the real and half in the imaginary part."""
    parts = rng.standard_normal((2, *shape), np.float32) * np.float32(np.sqrt(0.5))
    noise: Complex = parts[0] + 1j * parts[1]
    return noise


class Reconstruction:
    """Reconstruction of a raw scan: iterating over it reconstructs one slice after the other, a `FrameSeries` each."""

    def __init__(
        self,
        scan: RawScan,
        sequence: Sequence,
        imaging: Imaging = BY_FRAMES,
        *,
        basis: Complex | None = None,
        readout_basis: Complex | None = None,
        field: Float | None = None,
        denoised: bool = True,
        device: torch.device = CPU,
        progress: Steps = UNTOLD,
        before: "Reconstruction | None" = None,
    ) -> None:
        """Estimate gradient delays and prepare the reconstruction.

        Parameters
        ----------
        scan
            Raw k-space, measured with the sequence.
        sequence
            Gives the number of readouts per frame.
        imaging
            Options of the reconstruction.
        basis
            Orthonormal temporal basis of a subspace or joint reconstruction. Shape `(frames, rank)`.
        readout_basis
            The same basis with one value per readout: its means over the readouts of each frame are `basis`. A joint
            reconstruction has further vectors. If not given, all readouts of a frame have the value of the frame. Shape
            `(readouts, rank)`.
        field
            Off-resonance in Hz that is corrected, if any. Shape `(slices, y, x)`.
        denoised
            Whether coefficients are denoised.
        device
            Where images and coil maps are computed; gradient delays are estimated on the CPU.
        progress
            Called after every frame, or after every slice of a subspace reconstruction; with a field, for each
            frequency.
        before
            Reconstruction of slices that were measured earlier; its delays are used again.

        Raises
        ------
        MismatchError
            If readouts are of another kind than in the sequence, delays are to be corrected in stored readouts, or
            off-resonance is to be corrected without sample times or in a joint reconstruction.
        ValueError
            If a subspace or joint reconstruction lacks a basis.
        ResourceError
            If the NUFFT's backend is not installed.
        """
        if (imaging.recon != "nufft" and basis is None) or (imaging.recon == "joint" and readout_basis is None):
            raise ValueError(f"A {imaging.recon} reconstruction needs a basis.")
        if imaging.recon == "joint" and field is not None:
            raise MismatchError(
                "Off-resonance is corrected in frames and subspaces, not in a joint reconstruction; choose --recon "
                "subspace."
            )
        _check_readout(scan, sequence, imaging)
        self._is_conjugated = scan.is_turned if imaging.conjugate is None else imaging.conjugate
        scan = scan.conjugated() if self._is_conjugated else scan
        scan = scan if scan.readout == "golden-radial" else scan.within_matrix()
        seeks_delays = scan.readout == "golden-radial" and imaging.correct_delays is not False
        self.delays: Delays | None = before.delays if before else _delays_of(scan) if seeks_delays else None
        """Gradient delays; None if they were not estimated."""
        scan = correct_delays(scan, self.delays) if self.delays and self.delays.significant else scan
        self.scan = scan
        """The scan as it is reconstructed: conjugated if needed, with the corrected trajectory."""
        self._sequence, self._imaging = sequence, imaging
        self._basis, self._denoised, self._device, self._progress = basis, denoised, device, progress
        self._readout_basis = readout_basis
        self._off_resonance = None if field is None else _off_resonance(scan, field)
        self._weights = weights_of(scan.readout)
        alike = before if before and np.array_equal(before.scan.trajectory, scan.trajectory) else None
        self.density: Float = alike.density if alike else self._weights(scan.trajectory, sequence.matrix)
        """Weights of the samples. Shape `(readouts, samples)`."""
        self.cropped: Tensor | None = alike.cropped if alike else None
        """Kernels for a box as large as that of the last slice."""
        self._is_first = before is None
        self.kernels: Tensor | None = alike.kernels if alike else None
        """Kernels of a subspace or joint reconstruction, from its first slice on."""
        self.energies: list[float] = before.energies if before else []
        """Share of the energy that compressed coils keep, for every slice reconstructed so far."""
        n_passes = 1 if self._off_resonance is None else self._off_resonance.frequencies.size
        self._n_steps = scan.n_slices * n_passes * (sequence.n_frames if basis is None else 1)
        self._n_done = 0
        self._coil_maps: Complex | None = None

    @property
    def n_slices(self) -> int:
        """Slices of the scan."""
        return self.scan.n_slices

    def digest(self, s: int) -> str:
        """Return the sha256 of the data of a slice, without the options: equal digests mean equal data."""
        total = hashlib.sha256()
        for array in (self.scan.kspace[s], self.scan.trajectory, self.scan.noise):
            total.update(b"none" if array is None else np.ascontiguousarray(array).data)
        return total.hexdigest()

    @property
    def notes(self) -> dict[str, object]:
        """Findings so far, for the records: delays, unchecked values, noise, energy that compressed coils keep."""
        notes: dict[str, object] = {} if self.delays is None else self.delays.notes()
        if unstated := self.scan.unstated(self._sequence):
            notes |= {UNSTATED: ", ".join(unstated)}
        sense = f"samples are conjugated, as those of {self.scan.vendor} turn the other way"
        by_default = self._is_conjugated and self._imaging.conjugate is None
        if remarks := [*self.scan.remarks, *([sense] if by_default else [])]:
            notes |= {REMARKS: "; ".join(remarks)}
        if self._imaging.noise == "scan" and self.scan.noise is not None:
            notes |= {"noise_of_coils_over_their_mean": describe_noise(self.scan.noise)}
        if self._off_resonance is not None:
            notes |= {FREQUENCIES: np.round(self._off_resonance.frequencies, 1).tolist()}
        if self.energies:
            notes |= {"virtual_coils": self._imaging.virtual_coils, "virtual_coils_energy": min(self.energies)}
        return notes

    @property
    def coil_maps(self) -> Complex | None:
        """Coil maps of the middle slice, of virtual coils if any; None until it is made. Shape `(coils, y, x)`."""
        return self._coil_maps

    def __iter__(self) -> Iterator[FrameSeries]:
        """Reconstruct one slice after the other.

        Raises
        ------
        InputError
            If the noise scan cannot be used for prewhitening.
        ResourceError
            If the memory of the GPU is too small.
        """
        self._n_done = 0
        try:
            yield from self._each()
        except torch.OutOfMemoryError as e:
            raise ResourceError(
                f"A slice of {self.scan.name} does not fit into the memory of {self._device}; use --device cpu."
            ) from e

    def _each(self) -> Iterator[FrameSeries]:
        for s in range(self.n_slices):
            kspace = self._compressed(prewhiten(self.scan.kspace[s], self._noise(s)))
            maps = estimate_coil_maps(
                kspace,
                self.scan.trajectory,
                self._sequence.matrix,
                method=self._imaging.coil_maps,
                weights=self._weights,
                backend=self._imaging.nufft,
                device=self._device,
            )
            if s == self.n_slices // 2:
                self._coil_maps = maps
            one = self._series(s, kspace, maps)
            # Only for the slice that was measured first, also if slices arrive one by one.
            once = s == self.scan.first and self._is_first and self._basis is not None
            yield replace(one, replica=partial(self._replica, s, kspace, maps, one)) if once else one

    def _series(self, s: int, kspace: Complex, maps: Complex, within: Bool | None = None) -> FrameSeries:
        has_equations = self._basis is not None and self._off_resonance is None
        equations = self._equations(kspace, maps, within) if has_equations else None
        images = self._images(s, kspace, maps) if equations is None else self._solved(equations)
        return FrameSeries(
            name=self.scan.name,
            images=images[None],
            mask=tissue_mask(images, self._basis, None if equations is None else equations.support)[None],
            affine=of_slice(self.scan.affine, s),
            sequence_hash=self._sequence.hash,
            basis=self._basis,
            equations=equations,
            noise=self._noise_level(kspace) * self._noise_of_images,
        )

    def _replica(self, s: int, kspace: Complex, maps: Complex, one: FrameSeries) -> FrameSeries:
        """Reconstruct a slice again, with a share of the noise added to its samples."""
        share = np.float32(REPLICA_NOISE * np.sqrt(self._noise_level(kspace)))
        noise = share * white_noise(np.random.default_rng(0), kspace.shape)
        # Noise may change the estimated support, which changes all voxels a little; that would count as noise.
        within = None if one.equations is None else one.equations.support
        return replace(self._series(s, kspace + noise, maps, within), mask=one.mask)

    @property
    def _noise_of_images(self) -> float:
        """Noise variance of an image, for white noise of unit variance in k-space and coil maps of unit norm.

        In a frame, the weights of the frame's own readouts are multiplied by the number of frames. Coefficients sum
        over all readouts, each times a value of a basis vector of unit norm, which gives the same variance.
        """
        return float(np.sum(self.density.astype(np.float64) ** 2) * self._sequence.n_frames)

    def noise(self, rng: np.random.Generator) -> Complex:
        """Reconstruct white noise with the coil maps of the middle slice, which must have been reconstructed before.

        The result shows how white noise in k-space appears in the coefficients.

        Returns
        -------
            Coefficients of noise of unit variance in prewhitened k-space. Shape `(rank, y, x)`.
        """
        if self._coil_maps is None:
            raise ValueError("The middle slice has not been reconstructed yet.")
        maps, shape = self._coil_maps, (len(self._coil_maps), *self.scan.kspace.shape[2:])
        return self._coefficients(white_noise(rng, shape), maps)

    def _noise(self, s: int) -> Complex | None:
        if self._imaging.noise == "scan":
            return self.scan.noise
        return edge_noise(self.scan.kspace[s], self.scan.trajectory)

    def series(self) -> FrameSeries:
        """Reconstruct all slices, into memory."""
        return stack_slices(self, self.n_slices)

    def _compressed(self, kspace: Complex) -> Complex:
        if self._imaging.virtual_coils >= len(kspace):
            return kspace
        kspace, energy = compress_coils(kspace, self._imaging.virtual_coils)
        self.energies.append(energy)
        return kspace

    def _images(self, s: int, kspace: Complex, maps: Complex) -> Complex:
        make = self._frames if self._basis is None else self._coefficients
        if self._off_resonance is None:
            return make(kspace, maps)
        return self._off_resonance.corrected(s, kspace, lambda turned: make(turned, maps))

    def _step(self) -> None:
        self._n_done = min(self._n_done + 1, self._n_steps)
        self._progress(self._n_done, self._n_steps)

    def _frames(self, kspace: Complex, maps: Complex) -> Complex:
        return reconstruct_frames(
            kspace,
            self.scan.trajectory,
            maps,
            self.density,
            self._sequence.readouts_per_frame,
            backend=self._imaging.nufft,
            device=self._device,
            progress=lambda _done, _all: self._step(),
        )

    def _coefficients(self, kspace: Complex, maps: Complex) -> Complex:
        return self._solved(self._equations(kspace, maps))

    def _solved(self, equations: Equations) -> Complex:
        """Solve for the coefficients of the basis, the leading ones of a joint reconstruction."""
        coefficients = solve_subspace(equations.leading(np.asarray(self._basis).shape[1]), denoised=self._denoised)
        self._step()
        return coefficients

    def _equations(self, kspace: Complex, maps: Complex, within: Bool | None = None) -> Equations:
        """Set up the equations of all samples: readout by readout, or frame by frame without a basis of readouts.

        Only voxels `within` a support have unknowns. Without it, the support is estimated. Shape `(y, x)`.
        """
        sequence, trajectory, n_together = self._sequence, self.scan.trajectory, self._sequence.readouts_per_frame
        basis = self._readout_basis
        if basis is None:
            basis = np.repeat(np.asarray(self._basis), n_together, axis=0)
        settings: _NufftOn = {"backend": self._imaging.nufft, "device": self._device}
        if self.kernels is None:  # the same for all slices
            self.kernels = subspace_kernels(trajectory, self.density, basis, n_together, sequence.matrix, **settings)
        equations = normal_equations(
            kspace, trajectory, self.density, maps, basis, n_together, kernels=self.kernels, **settings
        ).with_noise(self._noise_level(kspace))
        mask = within
        if mask is None:
            mask = support(equations.right[: np.asarray(self._basis).shape[1]].cpu().numpy(), self._basis)
        box = box_of(mask)
        shape = mask[box].shape
        if self.cropped is None or self.cropped.shape[-2:] != (2 * shape[0], 2 * shape[1]):
            self.cropped = self.kernels if shape == mask.shape else cropped_kernels(self.kernels, *shape)
        return equations.inside(mask, box, self.cropped)

    def _noise_level(self, kspace: Complex) -> float:
        """Return the variance of the noise of k-space: 1 if it is whitened."""
        if self._imaging.noise == "edges" or self.scan.noise is not None:
            return 1.0
        return float(np.mean(np.abs(edge_noise(kspace, self.scan.trajectory)) ** 2))


class _NufftOn(TypedDict):
    """NUFFT library on the CPU, and the device to compute on."""

    backend: Backend
    device: torch.device

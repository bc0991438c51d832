"""The scanner: a simulated raw scan of a phantom, with the content of a file from a real scanner.

The signal is simulated for every readout. Coil sensitivities are smooth and complex, noise is correlated between coils,
and the scan includes a noise measurement.
"""

from pathlib import Path

import numpy as np

from mrfpipe.acquisition.pulseq_scan import find_pulseq
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.arrays import Complex, Float
from mrfpipe.errors import MismatchError
from mrfpipe.phantom.fourier import sample_spokes
from mrfpipe.phantom.spiral import golden_angle_spirals
from mrfpipe.phantom.truth import Phantom
from mrfpipe.physics.simulate import SignalModel, readout_signals, signal_model
from mrfpipe.protocol import Protocol, Sequence

TAIL = 2e-5
"""Share, in norm, of the signals in sampled voxels that the temporal basis may leave out."""
VOXELS_LOOKED_AT = 6_000
MOST_TRAINS = 48
"""Upper bound of the rank; about 20 are needed."""
VOXELS_AT_ONCE = 1_024
NOISE_READINGS = 4_096
NOISE_MIXING = 0.1
"""Standard deviation of the coupling by which each coil receives noise of the others."""
COIL_RING = (0.62, 0.46)
"""Semi-axes, along x and y, of the ellipse on which the coils lie, in units of the field of view."""
COIL_SIZE = 0.34
"""Distance at which a coil's sensitivity has dropped to about a third, in units of the field of view."""


def scan(
    phantom: Phantom,
    protocol: Protocol,
    *,
    n_coils: int = 8,
    snr: float = 4000.0,
    seed: int = 0,
    name: str = "phantom",
    delays: tuple[float, float] = (0.0, 0.0),
    model: SignalModel | None = None,
) -> RawScan:
    """Scan a phantom.

    The signals of all readouts are expressed in a temporal basis; it leaves out about 2e-5 of their norm and never more
    than 1e-4. The Fourier transform is exact to 3e-5 (see `mrfpipe.phantom.fourier`).

    Parameters
    ----------
    phantom
        Phantom to scan; its proton density scales the signals.
    protocol
        Protocol of the scan; its matrix must be that of the phantom.
    n_coils
        Number of receive coils.
    snr
        Mean magnitude at the centre of k-space, over the whole scan, divided by the standard deviation of the complex
        noise; infinite for a scan without noise and without a noise measurement.
    seed
        Seed of the noise.
    name
        Name of the scan.
    delays
        Delays of the x and the y gradient in readout samples, for spokes only. The measured samples lie behind by these
        delays along x and y, while the trajectory stored in the scan stays nominal.
    model
        How signals are simulated; by default as `mrfpipe.physics.simulate.signal_model` chooses.

    Returns
    -------
        The scan, with the sequence's trains.

    Raises
    ------
    MismatchError
        If the phantom's matrix or field of view is not the protocol's, or it lacks maps that the protocol asks for.
    """
    sequence, maps = protocol.sequence, phantom.maps
    _check_fit(phantom, protocol)
    if n_coils < 1 or not snr > 0:
        raise ValueError(f"No scan with {n_coils} coils and a signal-to-noise ratio of {snr:g}.")
    trajectory, coils = trajectory_of(sequence), coil_maps(n_coils, sequence.matrix)
    measured = trajectory
    if sequence.readout.kind == "golden-radial":
        # The x gradient of a spoke is proportional to the step between its samples along x.
        measured = trajectory - ((trajectory[:, 1] - trajectory[:, 0]) * np.asarray(delays, np.float32))[:, None]
    model = signal_model(protocol) if model is None else model
    kspace = np.empty((maps.mask.shape[0], n_coils, *trajectory.shape[:2]), np.complex64)
    for i in range(maps.mask.shape[0]):
        kspace[i] = sample_spokes(coils, *signal_images(phantom, protocol, i, model), measured)
    noise = None
    if np.isfinite(snr):
        noise = _add_noise(kspace, trajectory, snr, np.random.default_rng(seed))
    return RawScan(
        name=name,
        kspace=kspace,
        trajectory=trajectory,
        readout=sequence.readout.kind,
        noise=noise,
        affine=maps.affine,
        matrix=sequence.matrix,
        fov=sequence.fov,
        readouts_per_frame=sequence.readouts_per_frame,
        flip=sequence.flip,
        te=sequence.te,
        tr=sequence.tr,
        inversion_time=sequence.inversion_time,
    )


def coil_maps(n_coils: int, matrix: int) -> Complex:
    """Compute the receive sensitivities of coils on an ellipse around the body: smooth and complex.

    The maximum of their root sum of squares is 1. Shape `(coils, y, x)`.
    """
    axis = (np.arange(matrix) - matrix // 2) / matrix
    y, x = axis[:, None], axis[None, :]
    maps = np.empty((n_coils, matrix, matrix), np.complex128)
    for i in range(n_coils):
        angle = 2.0 * np.pi * (i + 0.25) / n_coils
        dx, dy = x - COIL_RING[0] * np.cos(angle), y - COIL_RING[1] * np.sin(angle)
        falloff = (1.0 + (dx**2 + dy**2) / COIL_SIZE**2) ** -1.5
        phase = 1.7 * (dx * np.sin(angle) - dy * np.cos(angle)) + 1.1 * (dx * np.cos(angle) + dy * np.sin(angle))
        maps[i] = falloff * np.exp(1j * (phase + angle))
    maps /= np.sqrt((np.abs(maps) ** 2).sum(axis=0).max())
    return maps.astype(np.complex64)


def signal_images(
    phantom: Phantom, protocol: Protocol, index: int, model: SignalModel | None = None
) -> tuple[Complex, Complex]:
    """Factor the signals of one slice: `images` `(rank, y, x)` and signal trains `weights` `(readouts, rank)`.

    At readout i, the slice is ``sum over r of weights[i, r] images[r]``. The trains come from a singular value
    decomposition of the signals of some thousand voxels spread over the slice, with the rank that their residual
    requires. All voxels are then projected onto the trains.
    """
    mask = phantom.maps.mask[index]
    if not mask.any():
        return np.zeros((1, *mask.shape), np.complex64), np.zeros((protocol.sequence.n_readouts, 1), np.complex64)
    density = phantom.maps.m0[index][mask].astype(np.float64)
    values = {p.name: phantom.maps.si[p.name][index][mask].astype(np.float64) for p in protocol.parameters}

    def signals(part: slice) -> Complex:
        simulated = readout_signals(protocol, {name: value[part] for name, value in values.items()}, model)
        signal: Complex = (simulated * density[part, None]).astype(np.complex64)
        return signal

    basis = _temporal_basis(signals(slice(None, None, max(1, density.size // VOXELS_LOOKED_AT))))
    coefficients = np.empty((density.size, basis.shape[1]), np.complex64)
    for start in range(0, density.size, VOXELS_AT_ONCE):
        part = slice(start, start + VOXELS_AT_ONCE)
        coefficients[part] = signals(part) @ basis.conj()
    images = np.zeros((basis.shape[1], *mask.shape), np.complex64)
    images[:, mask] = coefficients.T
    return images, basis


def _temporal_basis(signals: Complex) -> Complex:
    """Orthonormal trains that span signals `(voxels, readouts)` up to `TAIL`. Shape `(readouts, rank)`.

    They come from a randomised singular value decomposition: random mixtures of the voxels span all relevant trains.
    """
    mixtures = min(MOST_TRAINS, *signals.shape)
    shares = _complex_normal(np.random.default_rng(0), mixtures, signals.shape[0])
    span = np.linalg.qr((shares.astype(np.complex64) @ signals).T)[0]
    _, strength, trains = np.linalg.svd((signals @ span.conj()).astype(np.complex128), full_matrices=False)
    left_out = np.sqrt(np.cumsum(strength[::-1] ** 2)[::-1])
    rank = max(1, int(np.count_nonzero(left_out > TAIL * left_out[0])))
    basis: Complex = (span @ trains[:rank].T).astype(np.complex64)
    return basis


def trajectory_of(sequence: Sequence) -> Float:
    """Trajectory of a scan of this sequence; spirals stand in for trajectories that a protocol leaves to the scan.

    If the protocol is derived from a Pulseq file that is in the current folder, its trajectory is used.
    """
    played = find_pulseq(sequence, Path())
    if played is not None:
        return played.trajectory
    return golden_angle_spokes(sequence) if sequence.readout.kind == "golden-radial" else golden_angle_spirals(sequence)


def _check_fit(phantom: Phantom, protocol: Protocol) -> None:
    missing = [name for name in protocol.grid if name not in phantom.maps]
    if missing:
        raise MismatchError(
            f"Protocol {protocol.name} has the parameters {', '.join(protocol.grid)}, the phantom has "
            f"{', '.join(phantom.maps)}; use a phantom with {missing[0]}."
        )
    matrix, fov = phantom.maps.mask.shape[1:], protocol.sequence.fov
    if matrix != (protocol.sequence.matrix,) * 2:
        raise MismatchError(
            f"The phantom has {matrix[0]} x {matrix[1]} voxels, the protocol {protocol.sequence.matrix}."
        )
    phantom_fov = float(np.linalg.norm(phantom.maps.affine[:3, 0])) * matrix[1] * 1e-3
    if not np.isclose(phantom_fov, fov, rtol=1e-6):
        raise MismatchError(f"The phantom's field of view is {phantom_fov:g} m, the protocol's {fov:g} m.")


def _add_noise(kspace: Complex, trajectory: Float, snr: float, rng: np.random.Generator) -> Complex:
    """Add receiver noise to k-space, in place; return the readings of a measurement without signal."""
    n_coils, centre = kspace.shape[1], int(np.argmin(np.linalg.norm(trajectory[0], axis=-1)))
    std = float(np.abs(kspace[..., centre]).mean()) / snr
    mixing = np.eye(n_coils) + NOISE_MIXING * _complex_normal(rng, n_coils, n_coils)
    mixing *= std * np.sqrt(n_coils) / np.linalg.norm(mixing)
    for i in range(kspace.shape[0]):
        kspace[i] += np.tensordot(mixing, _complex_normal(rng, *kspace.shape[1:]), 1)
    return np.asarray(mixing @ _complex_normal(rng, n_coils, NOISE_READINGS), np.complex64)


def _complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.complex128]]:
    pairs = rng.standard_normal((*shape, 2))
    numbers: np.ndarray[tuple[int, ...], np.dtype[np.complex128]] = pairs.view(np.complex128)[..., 0] / np.sqrt(2.0)
    return numbers

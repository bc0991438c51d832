"""The scanner: a raw scan of a phantom, as a file from a real scanner would have it.

Every readout has a signal of its own. Receive coils are smooth and complex, the receivers' noise is correlated, and a
measurement of the noise alone comes with the scan.
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
from mrfpipe.physics.simulate import SPOILED, SignalModel, readout_signals, signal_model
from mrfpipe.protocol import Protocol, Sequence

TAIL = 2e-5
"""Share, in norm, of the signals of the voxels looked at that the temporal basis may leave out."""
VOXELS_LOOKED_AT = 6_000
MOST_TRAINS = 48
"""Upper bound of the rank; about 20 are needed."""
VOXELS_AT_ONCE = 1_024
NOISE_READINGS = 4_096
NOISE_MIXING = 0.1
"""Spread of the shares in which every receiver hears the others' noise."""
COIL_RING = (0.62, 0.46)
"""Half the width and height of the ellipse on which the coils stand, in units of the field of view."""
COIL_SIZE = 0.34
"""Distance in which a coil's sensitivity falls to a third, in units of the field of view."""


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

    The signals of all readouts are written in a temporal basis of their own; what that leaves out is about 2e-5 of
    their norm and never more than 1e-4. The Fourier transform is exact to 3e-5 (see `mrfpipe.phantom.fourier`).

    Parameters
    ----------
    phantom
        What to scan. Its proton density scales its signals.
    protocol
        How to scan it; the matrix must be the phantom's.
    n_coils
        Number of receive coils.
    snr
        Mean magnitude of the centre of k-space, over the whole scan, over the standard deviation of the complex noise;
        infinite for a scan without noise and without its measurement.
    seed
        Of the noise.
    name
        What to call the scan.
    delays
        How late the x and the y gradient are, in readout samples. What is measured lies so many samples behind, along x
        and along y, while the scan's trajectory stays what was asked for. Only of spokes.
    model
        How signals are simulated; as `mrfpipe.physics.simulate.signal_model` says if not given.

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
        # A spoke's x gradient is its step from sample to sample along x.
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

    The largest root of their sum of squares is 1. Shape `(coils, y, x)`.
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
    phantom: Phantom, protocol: Protocol, index: int, model: SignalModel = SPOILED
) -> tuple[Complex, Complex]:
    """Write the signals of one slice as images times trains: `images` `(rank, y, x)`, `weights` `(readouts, rank)`.

    At readout i the slice looks like ``sum over r of weights[i, r] images[r]``. The trains come from the singular value
    decomposition of the signals of some thousand voxels spread over the slice, as many as their residual asks for;
    every voxel is then projected onto them.
    """
    mask = phantom.maps.mask[index]
    if not mask.any():
        return np.zeros((1, *mask.shape), np.complex64), np.zeros((protocol.sequence.n_readouts, 1), np.complex64)
    density = phantom.maps.m0[index][mask].astype(np.float64)
    values = {name: maps[index][mask].astype(np.float64) for name, maps in phantom.maps.si.items()}

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
    """Trains, orthonormal, that carry signals `(voxels, readouts)` up to `TAIL`. Shape `(readouts, rank)`.

    A randomised singular value decomposition: random mixtures of the voxels span all trains that matter.
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
    """Where a scan of this sequence is measured: spirals stand for trajectories that a protocol leaves to the scan.

    The Pulseq file that a protocol is derived from is taken, where it lies in the current folder.
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

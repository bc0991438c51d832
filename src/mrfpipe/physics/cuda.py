"""The signal models on an NVIDIA GPU: the same physics, played by threads instead of lanes.

What a pulse, an inversion and recovery do is compiled from the very functions that the CPU kernels call; here is only
how the work is shared out. Ideal spoiling takes a thread a signal, phase graphs a block a signal with a thread an
order, isochromats a block a signal with a thread a spin. Orders beyond `ORDERS` are not followed; for T1-FF they change
a signal by less than 1e-3 of its norm. The states of phase graphs are in single precision, all else in double.

Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) runs these kernels without a GPU, slowly.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import cuda, float32, float64

from mrfpipe.arrays import Double, check_numba_gpu
from mrfpipe.physics.bloch import N_SPINS, rotate
from mrfpipe.physics.epg import longitudinal, transverse
from mrfpipe.physics.train import (
    STEADY_STATE_REPETITIONS,
    WHOLE,
    Parts,
    Train,
    check_signals,
    invert,
    recover,
    train_of,
)
from mrfpipe.protocol import Sequence

ORDERS = 64
"""Orders that are followed: threads a signal."""
SPOILED_THREADS = 128
"""Signals a block."""

Signals = npt.NDArray[Any]
single: Any = float32
"""Turns a number into single precision."""


@cuda.jit
def _spoiled(
    train: Train, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, repetitions: int, signals: Signals
) -> None:
    """One thread a signal; see `mrfpipe.physics.spoiled`."""
    signal = cuda.grid(1)
    if signal >= t1.size:
        return
    for part in range(parts.weights.size):
        scale, hertz = b1[signal] * parts.flip_scales[part], df[signal] + parts.shifts[part]
        weight = parts.weights[part] / train.spokes_per_frame
        mz = 1.0
        for repetition in range(repetitions):
            mz = recover(invert(mz, train.inversion_efficiency), math.exp(-train.inversion_time / t1[signal]), 1.0)
            for i in range(signals.shape[1]):
                frame_re, frame_im = 0.0, 0.0
                for spoke in range(i * train.spokes_per_frame, (i + 1) * train.spokes_per_frame):
                    flip = scale * train.flips[train.flip_of[spoke]]
                    te, tr = train.times[train.time_of[spoke], 0], train.times[train.time_of[spoke], 1]
                    size, phase = mz * math.sin(flip) * math.exp(-te / t2[signal]), 2 * math.pi * hertz * te
                    frame_re += size * math.cos(phase)
                    frame_im += size * math.sin(phase)
                    mz = recover(mz * math.cos(flip), math.exp(-tr / t1[signal]), 1.0)
                if repetition == repetitions - 1:
                    signals[signal, i] += complex(weight * frame_re, weight * frame_im)
            mz = recover(mz, math.exp(-train.recovery / t1[signal]), 1.0)


@cuda.jit
def _epg(
    train: Train, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, repetitions: int, signals: Signals
) -> None:
    """One block a signal, one thread an order; see `mrfpipe.physics.epg`."""
    # What goes an order up and down after a pulse, in turns: while one is read, the other is written.
    up = cuda.shared.array((2, 2, ORDERS), float32)
    down = cuda.shared.array((2, 2, ORDERS), float32)
    signal, k = cuda.blockIdx.x, cuda.threadIdx.x
    none, half = single(0), single(0.5)
    equilibrium = single(1) if k == 0 else none
    if k == ORDERS - 1:
        for buffer in range(2):
            down[buffer, 0, k], down[buffer, 1, k] = none, none
    buffer = 0
    for part in range(parts.weights.size):
        scale, hertz = b1[signal] * parts.flip_scales[part], df[signal] + parts.shifts[part]
        weight = single(parts.weights[part] / train.spokes_per_frame)
        z_re, z_im = equilibrium, none
        for repetition in range(repetitions):
            decay, efficiency = single(math.exp(-train.inversion_time / t1[signal])), single(train.inversion_efficiency)
            z_re = recover(invert(z_re, efficiency), decay, equilibrium)
            z_im = recover(invert(z_im, efficiency), decay, none)
            plus_re, plus_im, minus_re, minus_im = none, none, none, none
            for i in range(signals.shape[1]):
                frame_re, frame_im = none, none
                for spoke in range(i * train.spokes_per_frame, (i + 1) * train.spokes_per_frame):
                    flip = single(scale * train.flips[train.flip_of[spoke]])
                    te, tr = train.times[train.time_of[spoke], 0], train.times[train.time_of[spoke], 1]
                    cosine, sine = math.cos(flip), math.sin(flip)
                    keep, swap = half + half * cosine, half * cosine - half
                    left_re = longitudinal(plus_re, minus_re, z_re, cosine, half * sine)
                    left_im = longitudinal(plus_im, minus_im, z_im, cosine, half * sine)
                    plus_re, minus_re = transverse(plus_re, minus_re, z_re, keep, swap, sine)
                    plus_im, minus_im = transverse(plus_im, minus_im, z_im, keep, swap, sine)
                    if k == 0:
                        phase, size = single(2 * math.pi * hertz * te), single(math.exp(-te / t2[signal]))
                        re, im = size * math.cos(phase), size * math.sin(phase)
                        frame_re += re * plus_re - im * plus_im
                        frame_im += re * plus_im + im * plus_re
                    z_re = single(math.exp(-tr / t1[signal])) * left_re
                    z_re -= equilibrium * single(math.expm1(-tr / t1[signal]))
                    z_im = single(math.exp(-tr / t1[signal])) * left_im
                    turns = hertz * tr
                    phase = single(2 * math.pi * (turns - math.floor(turns)) - train.turns[spoke])
                    size = single(math.exp(-tr / t2[signal]))
                    re, im = size * math.cos(phase), size * math.sin(phase)
                    if k < ORDERS - 1:
                        up[buffer, 0, k + 1] = re * plus_re - im * plus_im
                        up[buffer, 1, k + 1] = re * plus_im + im * plus_re
                    if k > 0:
                        down[buffer, 0, k - 1] = re * minus_re + im * minus_im
                        down[buffer, 1, k - 1] = re * minus_im - im * minus_re
                    cuda.syncthreads()
                    minus_re, minus_im = down[buffer, 0, k], down[buffer, 1, k]
                    plus_re, plus_im = up[buffer, 0, k], up[buffer, 1, k]
                    if k == 0:
                        plus_re, plus_im = minus_re, -minus_im
                    buffer = 1 - buffer
                if k == 0 and repetition == repetitions - 1:
                    signals[signal, i] += complex(weight * frame_re, weight * frame_im)
            decay = single(math.exp(-train.recovery / t1[signal]))
            z_re, z_im = recover(z_re, decay, equilibrium), recover(z_im, decay, none)


@cuda.jit
def _bloch(
    train: Train, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, repetitions: int, signals: Signals
) -> None:
    """One block a signal, one thread a spin; see `mrfpipe.physics.bloch`. Spins are added up once a frame."""
    sums = cuda.shared.array((2, N_SPINS), float64)
    signal, spin = cuda.blockIdx.x, cuda.threadIdx.x
    for part in range(parts.weights.size):
        scale, hertz = b1[signal] * parts.flip_scales[part], df[signal] + parts.shifts[part]
        weight = parts.weights[part] / (train.spokes_per_frame * N_SPINS)
        mz = 1.0
        for repetition in range(repetitions):
            mz = recover(invert(mz, train.inversion_efficiency), math.exp(-train.inversion_time / t1[signal]), 1.0)
            mx, my = 0.0, 0.0
            for i in range(signals.shape[1]):
                frame_re, frame_im = 0.0, 0.0
                for spoke in range(i * train.spokes_per_frame, (i + 1) * train.spokes_per_frame):
                    flip = scale * train.flips[train.flip_of[spoke]]
                    te, tr = train.times[train.time_of[spoke], 0], train.times[train.time_of[spoke], 1]
                    mx, mz = rotate(mx, mz, math.cos(flip), math.sin(flip))
                    phase, size = 2 * math.pi * hertz * te, math.exp(-te / t2[signal])
                    frame_re += size * (mx * math.cos(phase) - my * math.sin(phase))
                    frame_im += size * (mx * math.sin(phase) + my * math.cos(phase))
                    phase = 2 * math.pi * (hertz * tr + spin / N_SPINS) - train.turns[spoke]
                    size = math.exp(-tr / t2[signal])
                    re, im = size * math.cos(phase), size * math.sin(phase)
                    mx, my = re * mx - im * my, re * my + im * mx
                    mz = recover(mz, math.exp(-tr / t1[signal]), 1.0)
                if repetition == repetitions - 1:
                    sums[0, spin], sums[1, spin] = frame_re, frame_im
                    cuda.syncthreads()
                    if spin == 0:
                        re, im = 0.0, 0.0
                        for other in range(N_SPINS):
                            re += sums[0, other]
                            im += sums[1, other]
                        signals[signal, i] += complex(weight * re, weight * im)
                    cuda.syncthreads()
            mz = recover(mz, math.exp(-train.recovery / t1[signal]), 1.0)


def simulator_on(device: torch.device, spoiling: str) -> Callable[..., Signals]:
    """Return the function that simulates signals on a GPU by a model; it takes what its twin on the CPU takes.

    Raises
    ------
    ResourceError
        If Numba cannot use the GPU.
    """
    check_numba_gpu("simulate")
    kernel, precision = {
        "spoiled": (_spoiled, np.complex128),
        "epg": (_epg, np.complex64),
        "bloch": (_bloch, np.complex128),
    }[spoiling]

    def simulate(
        sequence: Sequence, *, t1: Double, t2: Double, b1: Double, df: Double, parts: Parts = WHOLE
    ) -> Signals:
        values = check_signals(t1=t1, t2=t2, b1=b1, df=df)
        with cuda.gpus[device.index or 0]:
            train, on_gpu = _moved(train_of(sequence)), [cuda.to_device(v) for v in values]
            signals = cuda.to_device(np.zeros((t1.size, sequence.n_frames), precision))
            blocks, threads = _shared_out(spoiling, t1.size)
            kernel[blocks, threads](train, _moved(parts), *on_gpu, STEADY_STATE_REPETITIONS, signals)
            result: Signals = signals.copy_to_host()
        return result

    return simulate


def _shared_out(spoiling: str, n_signals: int) -> tuple[int, int]:
    """Blocks, and threads a block."""
    if spoiling == "spoiled":
        return -(-n_signals // SPOILED_THREADS), SPOILED_THREADS
    return n_signals, ORDERS if spoiling == "epg" else N_SPINS


def _moved(values: Any) -> Any:  # noqa: ANN401 - a Train or Parts, its arrays on the GPU
    return type(values)(*(cuda.to_device(v) if isinstance(v, np.ndarray) else v for v in values))

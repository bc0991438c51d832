"""The signal models on an NVIDIA GPU: the same physics, computed by threads instead of vector lanes.

Pulses, preparations and recovery are the same functions as in the CPU kernels; this module only distributes the work.
Ideal spoiling has one thread per signal, phase graphs one block per signal with one thread per order, and isochromats
one block per signal with one thread per spin. Orders that return as an echo only after `FOLLOWED` times T2 are dropped;
for T1-FF and FISP, they change a signal by less than 1e-3 of its norm. The states of phase graphs are in single
precision, everything else in double.

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
from mrfpipe.errors import ResourceError
from mrfpipe.physics.bloch import N_SPINS, rotate
from mrfpipe.physics.epg import longitudinal, orders_within, transverse
from mrfpipe.physics.events import PREPARATION, UNREAD, Events, prepared, recover
from mrfpipe.physics.tissue import WHOLE, Parts, check_signals

FOLLOWED = 2.8
"""Orders are followed if they can return within this many times the longest T2: 64 orders for T1-FF."""
WARP, MOST_THREADS = 32, 1024
"""Number of threads that run in step, and largest number of threads in a block."""
SPOILED_THREADS = 128
"""Signals per block."""

Signals = npt.NDArray[Any]
single: Any = float32
"""Turns a number into single precision."""


@cuda.jit
def _spoiled(events: Events, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, signals: Signals) -> None:
    """One thread per signal; see `mrfpipe.physics.spoiled`."""
    signal = cuda.grid(1)
    if signal >= t1.size:
        return
    for part in range(parts.weights.size):
        scale, hertz = b1[signal] * parts.flip_scales[part], df[signal] + parts.shifts[part]
        weight = parts.weights[part] / events.readouts_per_frame
        mz = 1.0
        for event in range(events.kind.size):
            row, interval, frame = events.pulse[event], events.interval[event], events.frame[event]
            if events.kind[event] == PREPARATION:
                mz *= prepared(
                    events.preparations[row, 0],
                    events.preparations[row, 1],
                    events.preparations[row, 2],
                    b1[signal],
                    t2[signal],
                )
                continue
            flip, te, duration = scale * events.flips[row], events.intervals[interval, 0], events.intervals[interval, 1]
            if frame != UNREAD:
                size, phase = weight * mz * math.sin(flip) * math.exp(-te / t2[signal]), 2 * math.pi * hertz * te
                signals[signal, frame] += complex(size * math.cos(phase), size * math.sin(phase))
            mz = recover(mz * math.cos(flip), math.exp(-duration / t1[signal]))


@cuda.jit
def _epg(events: Events, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, signals: Signals) -> None:
    """One block per signal, one thread per order; see `mrfpipe.physics.epg`."""
    signal, k, n_orders = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    # Double buffers of the states that move an order up and down: while one is read, the other is written.
    shared = cuda.shared.array(0, float32)
    up, down = shared[: 4 * n_orders], shared[4 * n_orders :]
    imaginary, other = n_orders, 2 * n_orders
    none, half = single(0), single(0.5)
    equilibrium = single(1) if k == 0 else none
    if k == n_orders - 1:
        for start in range(4):
            down[start * n_orders + k] = none
    buffer = 0
    for part in range(parts.weights.size):
        scale, hertz = b1[signal] * parts.flip_scales[part], df[signal] + parts.shifts[part]
        weight = parts.weights[part] / events.readouts_per_frame
        z_re, z_im = equilibrium, none
        plus_re, plus_im, minus_re, minus_im = none, none, none, none
        for event in range(events.kind.size):
            row, interval, frame = events.pulse[event], events.interval[event], events.frame[event]
            if events.kind[event] == PREPARATION:
                factor = single(
                    prepared(
                        events.preparations[row, 0],
                        events.preparations[row, 1],
                        events.preparations[row, 2],
                        b1[signal],
                        t2[signal],
                    )
                )
                z_re, z_im = factor * z_re, factor * z_im
                plus_re, plus_im, minus_re, minus_im = none, none, none, none
                continue
            # The pulse.
            flip = single(scale * events.flips[row])
            te, duration = events.intervals[interval, 0], events.intervals[interval, 1]
            cosine, sine = math.cos(flip), math.sin(flip)
            keep, swap = half + half * cosine, half * cosine - half
            left_re = longitudinal(plus_re, minus_re, z_re, cosine, half * sine)
            left_im = longitudinal(plus_im, minus_im, z_im, cosine, half * sine)
            plus_re, minus_re = transverse(plus_re, minus_re, z_re, keep, swap, sine)
            plus_im, minus_im = transverse(plus_im, minus_im, z_im, keep, swap, sine)
            # Its echo.
            if k == 0 and frame != UNREAD:
                phase, size = single(2 * math.pi * hertz * te), single(math.exp(-te / t2[signal]))
                re, im = size * math.cos(phase), size * math.sin(phase)
                signals[signal, frame] += complex(
                    weight * (re * plus_re - im * plus_im), weight * (re * plus_im + im * plus_re)
                )
            # Relaxation and precession until the next event.
            z_re = single(math.exp(-duration / t1[signal])) * left_re
            z_re -= equilibrium * single(math.expm1(-duration / t1[signal]))
            z_im = single(math.exp(-duration / t1[signal])) * left_im
            turns = hertz * duration
            phase = single(2 * math.pi * (turns - math.floor(turns)) - events.turn[event])
            size = single(math.exp(-duration / t2[signal]))
            re, im = size * math.cos(phase), size * math.sin(phase)
            plus_re, plus_im = re * plus_re - im * plus_im, re * plus_im + im * plus_re
            minus_re, minus_im = re * minus_re + im * minus_im, re * minus_im - im * minus_re
            # Dephasing: F+ moves up, F- moves down, and F- that reaches order zero becomes F+ as its conjugate.
            if events.cycles[interval]:
                if k < n_orders - 1:
                    up[buffer + k + 1], up[buffer + imaginary + k + 1] = plus_re, plus_im
                if k > 0:
                    down[buffer + k - 1], down[buffer + imaginary + k - 1] = minus_re, minus_im
                cuda.syncthreads()
                minus_re, minus_im = down[buffer + k], down[buffer + imaginary + k]
                plus_re, plus_im = up[buffer + k], up[buffer + imaginary + k]
                if k == 0:
                    plus_re, plus_im = minus_re, -minus_im
                buffer = other - buffer


@cuda.jit
def _bloch(events: Events, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, signals: Signals) -> None:
    """One block per signal, one thread per spin; see `mrfpipe.physics.bloch`. Spins are summed once per frame."""
    sums = cuda.shared.array((2, N_SPINS), float64)
    signal, spin = cuda.blockIdx.x, cuda.threadIdx.x
    for part in range(parts.weights.size):
        scale, hertz = b1[signal] * parts.flip_scales[part], df[signal] + parts.shifts[part]
        weight = parts.weights[part] / (events.readouts_per_frame * N_SPINS)
        mx, my, mz = 0.0, 0.0, 1.0
        frame_re, frame_im, n_read = 0.0, 0.0, 0
        for event in range(events.kind.size):
            row, interval, frame = events.pulse[event], events.interval[event], events.frame[event]
            if events.kind[event] == PREPARATION:
                mx, my = 0.0, 0.0
                mz *= prepared(
                    events.preparations[row, 0],
                    events.preparations[row, 1],
                    events.preparations[row, 2],
                    b1[signal],
                    t2[signal],
                )
                continue
            flip, te, duration = scale * events.flips[row], events.intervals[interval, 0], events.intervals[interval, 1]
            mx, mz = rotate(mx, mz, math.cos(flip), math.sin(flip))
            if frame != UNREAD:
                phase, size = 2 * math.pi * hertz * te, math.exp(-te / t2[signal])
                frame_re += size * (mx * math.cos(phase) - my * math.sin(phase))
                frame_im += size * (mx * math.sin(phase) + my * math.cos(phase))
                n_read += 1
                if n_read == events.readouts_per_frame:
                    sums[0, spin], sums[1, spin] = frame_re, frame_im
                    frame_re, frame_im, n_read = 0.0, 0.0, 0
                    cuda.syncthreads()
                    if spin == 0:
                        re, im = 0.0, 0.0
                        for other in range(N_SPINS):
                            re += sums[0, other]
                            im += sums[1, other]
                        signals[signal, frame] += complex(weight * re, weight * im)
                    cuda.syncthreads()
            turns = hertz * duration + events.cycles[interval] * spin / N_SPINS
            phase, size = 2 * math.pi * turns - events.turn[event], math.exp(-duration / t2[signal])
            re, im = size * math.cos(phase), size * math.sin(phase)
            mx, my = re * mx - im * my, re * my + im * mx
            mz = recover(mz, math.exp(-duration / t1[signal]))


def simulator_on(device: torch.device, spoiling: str) -> Callable[..., Signals]:
    """Return the function that simulates signals on a GPU by a model, with the arguments of its CPU version.

    ResourceError if Numba cannot use the GPU. The function raises ResourceError if phase graphs have more orders than a
    block has threads.
    """
    check_numba_gpu("simulate")
    kernel, precision = {
        "spoiled": (_spoiled, np.complex128),
        "epg": (_epg, np.complex64),
        "bloch": (_bloch, np.complex128),
    }[spoiling]

    def simulate(events: Events, *, t1: Double, t2: Double, b1: Double, df: Double, parts: Parts = WHOLE) -> Signals:
        values = check_signals(t1=t1, t2=t2, b1=b1, df=df)
        with cuda.gpus[device.index or 0]:
            on_gpu = [cuda.to_device(v) for v in values]
            signals = cuda.to_device(np.zeros((t1.size, events.n_frames), precision))
            kernel[_shared_out(spoiling, events, values[1])](_moved(events), _moved(parts), *on_gpu, signals)
            result: Signals = signals.copy_to_host()
        return result

    return simulate


def _shared_out(spoiling: str, events: Events, t2: Double) -> tuple[int, int, int, int]:
    """Return the number of blocks, threads per block, stream, and bytes of dynamic shared memory per block."""
    if spoiling == "spoiled":
        return -(-t2.size // SPOILED_THREADS), SPOILED_THREADS, 0, 0
    if spoiling == "bloch":
        return t2.size, N_SPINS, 0, 0
    n_orders = orders_within(events, FOLLOWED * float(t2.max()))
    if n_orders > MOST_THREADS:
        raise ResourceError(
            f"The protocol needs {n_orders:,} orders of phase graphs, and a block of a GPU has {MOST_THREADS:,} "
            "threads: simulate with --device cpu."
        )
    threads = -(-n_orders // WARP) * WARP
    return t2.size, threads, 0, 8 * threads * np.dtype(np.float32).itemsize


def _moved(values: Any) -> Any:  # noqa: ANN401 - Events or Parts, its arrays on the GPU
    return type(values)(*(cuda.to_device(v) if isinstance(v, np.ndarray) else v for v in values))

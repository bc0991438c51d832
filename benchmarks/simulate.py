"""Signals per second of every signal model, compared with torchsim's phase graphs on the same signals in the same run.

    python benchmarks/simulate.py [--device cpu|cuda]

The signals are those of water and fat on the whole T1-FF grid, 1400 pulses, two repetitions. Each function runs once on
a few signals before it is timed, so that imports and compilation are not included. The fastest of several runs counts,
since the machine is shared. torchsim follows a fixed number of states; mrfpipe's `epg` follows as many as can still add
1e-5 to an echo.

The theoretical limit of `epg`: a pulse, relaxation, precession and dephasing take 42 operations per order and
repetition time (20 for the transverse states, 10 for the longitudinal, 12 for the rotations). A run that follows
exactly 32 orders gives the rate, which is compared with that of multiply-adds on numbers in registers.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from harness import peak_memory_gb, report
from numba import njit, prange

from mrfpipe.physics.epg import epg_signals
from mrfpipe.physics.events import events_of
from mrfpipe.physics.simulate import MODELS, SignalModel, component_signals
from mrfpipe.protocol import Protocol, load_protocol

OPERATIONS = 42
"""Operations per order and repetition time."""
FIXED_ORDERS = 32
N_COMPARED = 2048
"""Number of signals that torchsim simulates, drawn from the water signals of the grid."""


def fastest(work: Callable[[], object], runs: int = 3) -> float:
    """Return the duration in s of the fastest of several runs."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@njit(parallel=True, fastmath=True)
def _multiply_adds(sums: np.ndarray, n: int) -> None:
    """Run n multiply-adds on every number of 8 vectors of 16 per thread, all in registers."""
    for thread in prange(sums.shape[0]):
        x = np.full(128, np.float32(1.0))
        a, b = np.float32(0.999), np.float32(1e-3)
        for _ in range(n):
            for v in range(128):
                x[v] = x[v] * a + b
        sums[thread] = x.sum()


def peak_rate() -> float:
    """Return the single-precision operations per second of all cores."""
    sums, n = np.zeros(torch.get_num_threads()), 2_000_000
    _multiply_adds(sums, 10)
    return 2 * 128 * sums.size * n / fastest(lambda: _multiply_adds(sums, n))


def some_signals(protocol: Protocol) -> dict[str, np.ndarray]:
    """Draw the parameters of water signals from the grid."""
    axes, rng = [protocol.grid[name] for name in ("T1H2O", "B1", "df")], np.random.default_rng(0)
    shape = [axis.size for axis in axes]
    order = np.sort(rng.choice(int(np.prod(shape)), N_COMPARED, replace=False))
    t1, b1, df = (axis[i] for axis, i in zip(axes, np.unravel_index(order, shape), strict=True))
    return {"t1": t1, "t2": np.full(N_COMPARED, protocol.components[0].t2), "b1": b1, "df": df}


def beside_torchsim(protocol: Protocol) -> tuple[dict[str, float], dict[str, object]]:
    """Return signals per second of both packages on the same signals, and the difference of their results."""
    values = some_signals(protocol)
    sequence, history = protocol.sequence.with_single_readouts(), protocol.history
    events = events_of(sequence, history)
    rates = {"epg, same signals": N_COMPARED / fastest(lambda: epg_signals(events, **values))}

    def fixed() -> np.ndarray:
        return epg_signals(events, **values, n_orders=FIXED_ORDERS, tolerance=0)

    seconds = fastest(fixed)
    rates[f"epg, {FIXED_ORDERS} orders"] = N_COMPARED / seconds
    operations = OPERATIONS * FIXED_ORDERS * events.kind.size * N_COMPARED
    facts: dict[str, object] = {
        "epg_gflops": round(operations / seconds / 1e9, 1),
        "peak_gflops": round(peak_rate() / 1e9, 1),
    }
    try:
        from torchsim_sequences import Unbalanced, torchsim_echoes
    except ImportError:
        return rates, facts | {"torchsim": "not installed; pip install mrfpipe[bench]"}
    for states in (32, 64):

        def theirs(states: int = states) -> np.ndarray:
            return torchsim_echoes(Unbalanced, sequence, history, **values, states=states)

        theirs()
        rates[f"torchsim, {states} states"] = N_COMPARED / fastest(theirs)
        exact = epg_signals(events, **values, tolerance=1e-9, dtype=np.float64)
        for name, signals in ((f"torchsim {states}", theirs()), ("epg", epg_signals(events, **values))):
            error = np.linalg.norm(signals - exact, axis=1) / np.linalg.norm(exact, axis=1)
            facts[f"worst_error_{name}"] = f"{error.max():.1e}"
    facts["epg_over_torchsim_32"] = round(rates["epg, same signals"] / rates["torchsim, 32 states"], 1)
    return rates, facts


def main() -> None:
    """Time the models on a device and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    device = torch.device(parser.parse_args().device)
    protocol, small = load_protocol("t1ff"), load_protocol("t1ff-small")
    sizes = {name: axis.size for name, axis in protocol.grid.items()}
    # Simulated signals of the whole set: a water signal has one spectral peak, a fat signal six.
    n_t1 = sizes["T1H2O"] + sizes["T1fat"] * protocol.components[1].shifts.size
    n_simulated = n_t1 * sizes["B1"] * sizes["df"]
    seconds, rates = {}, {}
    for spoiling in MODELS:
        model = SignalModel(spoiling=spoiling)
        component_signals(small, model, device)
        runs = 5 if spoiling == "spoiled" else 2
        seconds[f"{spoiling}, whole set"] = fastest(lambda m=model: component_signals(protocol, m, device), runs)
        rates[spoiling] = n_simulated / seconds[f"{spoiling}, whole set"]
    profile = SignalModel(spoiling="epg", slice_profile=True)
    seconds["epg with slice profile"] = fastest(lambda: component_signals(protocol, profile, device), 1)
    beside, facts = beside_torchsim(protocol)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    report(f"Component signals of T1-FF on {device.type}", seconds, "s", simulated=n_simulated, device_name=name)
    report(
        "Signals per second",
        {f"{model} ({device.type})": rate for model, rate in rates.items()}
        | {f"{name} (cpu)": rate for name, rate in beside.items()},
        "1/s",
        peak_memory_gb=round(peak_memory_gb(), 2),
        **facts,
    )


if __name__ == "__main__":
    main()

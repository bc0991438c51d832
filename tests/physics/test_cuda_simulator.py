"""The CUDA kernels against their twins, in Numba's simulator: every line of them runs, thread by thread, on the CPU."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

RUN = """
    import sys
    import numpy as np
    import torch
    from mrfpipe.physics import bloch, cuda, epg, events as of_events, spoiled
    from mrfpipe.physics.events import events_of
    from mrfpipe.physics.tissue import Parts
    from mrfpipe.protocol import Delay, History, Inversion, T2Preparation
    from trains import sequence_of, train

    of_events.STEADY_AFTER = 1e-9  # one repetition before: the simulator is slow
    rng, n = np.random.default_rng(0), 6
    drawn = rng.uniform(0.1, 1.0, n), rng.uniform(2e-3, 4e-3, n), rng.uniform(5e-3, 9e-3, n)
    first = train(*drawn, rf_spoiling_increment=0.9)
    sequence = sequence_of(
        Inversion(efficiency=0.9, scales_with_b1=True), Delay(duration=0.01), first, T2Preparation(duration=0.04),
        train(*drawn, phase=rng.uniform(0, 6, n), dephasing=0), Delay(duration=0.02),
        readouts_per_frame=3,
    )
    tissue = {
        "t1": rng.uniform(0.3, 2, 2), "t2": rng.uniform(0.03, 0.08, 2),
        "b1": rng.uniform(0.3, 1, 2), "df": rng.uniform(-120, 120, 2),
    }
    parts = Parts(np.array([0.3, 0.9]), np.array([1.0, 0.6]), np.array([0.0, 300.0]))
    twin = {"spoiled": spoiled.spoiled_signals, "epg": epg.epg_signals, "bloch": bloch.bloch_signals}[sys.argv[1]]
    events = events_of(sequence, History(kind="repeated"))
    on_cpu = twin(events, **tissue, parts=parts)
    on_gpu = cuda.simulator_on(torch.device("cuda:0"), sys.argv[1])(events, **tissue, parts=parts)
    assert on_gpu.shape == (2, 2 * n // 3) and on_gpu.dtype == on_cpu.dtype
    print(np.abs(on_gpu - on_cpu).max() / np.abs(on_cpu).max())
"""


@pytest.mark.parametrize(("spoiling", "within"), [("spoiled", 1e-13), ("epg", 1e-5), ("bloch", 1e-13)])
def test_cuda_kernels_are_their_twins_on_the_cpu(spoiling, within):
    """Preparations, delays, trains with and without dephasing; double precision, but for the states of phase graphs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(RUN), spoiling],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < within


def test_without_a_gpu_the_error_says_what_to_do():
    import torch

    from mrfpipe.errors import ResourceError
    from mrfpipe.physics import cuda

    if cuda.cuda.is_available():
        pytest.skip("this machine has a GPU that Numba can use")
    with pytest.raises(ResourceError, match="simulate with --device cpu"):
        cuda.simulator_on(torch.device("cuda:0"), "epg")

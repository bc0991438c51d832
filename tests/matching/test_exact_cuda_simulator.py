"""Exact matching on a GPU against its twins, in Numba's simulator: every line runs, thread by thread, on the CPU."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import complex_normal, small_protocol

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import ResourceError
from mrfpipe.matching import cuda
from mrfpipe.matching.exact import match_exact

GPU = torch.device("cuda:0")
TINY = {
    "FF": "[[0.0, 1.0, 0.5]]",
    "T1H2O": "[[600, 1600, 500]]",
    "T1fat": "[[250, 350, 100]]",
    "df": "[[-60, 60, 60]]",
    "B1": "[[0.5, 1.0, 0.5]]",
}
OPPOSED = TINY | {
    "te_ms": 2.5,
    "t2_ms": 60.0,
    "amplitudes": "[1.0]",
    "shifts_hz": "[200.05]",
    "T1H2O": "[[350, 950, 300]]",
    "df": "[[0, 0, 1]]",
}
"""At FF = 0.5 and equal T1, 2e-4 of water and fat is left."""
RUN = f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parents[1])!r})
    import numpy as np
    import torch
    from helpers import complex_normal, small_protocol
    from mrfpipe.dictionary import build_dictionary
    from mrfpipe.matching import cuda
    from mrfpipe.matching.brute import match_brute
    from mrfpipe.matching.exact import match_exact

    gpu_device = torch.device("cuda:0")


    def check(dictionary, opposed):
        rng, n = np.random.default_rng(0), 8
        # FF = 0, 1, 0.5, 1 without noise, then all of them with noise.
        numbers = np.linspace(0, dictionary.n_entries - 1, n).astype(int)[[0, 7, 3, 6, 1, 2, 4, 5]]
        if opposed:  # half of them where least is left
            every = dictionary.entries(np.arange(dictionary.n_entries))
            numbers[::2] = np.argsort(np.linalg.norm(every, axis=1))[:4]
        clean = dictionary.entries(numbers)
        clean *= np.exp(2j * np.pi * rng.random(n))[:, None] / np.linalg.norm(clean, axis=1, keepdims=True)
        level = np.array([0, 0, 0, 0, 0.03, 0.3, 1, 1e6]) / np.sqrt(dictionary.rank)
        signals = (clean + level[:, None] * complex_normal(rng, n, dictionary.rank)).astype(np.complex64)

        cuda.VOXELS_AT_ONCE = 65_536
        gpu = match_exact(signals, dictionary, gpu_device)
        cuda.VOXELS_AT_ONCE = 3
        in_parts = match_exact(signals[2:7], dictionary, gpu_device)
        np.testing.assert_array_equal(in_parts.entry, gpu.entry[2:7])
        np.testing.assert_array_equal(in_parts.score, gpu.score[2:7])
        for twin in match_exact(signals, dictionary), match_brute(signals, dictionary):
            assert gpu.entry.dtype == twin.entry.dtype and gpu.score.dtype == twin.score.dtype
            np.testing.assert_allclose(gpu.score, twin.score, rtol=1e-5)
            entries = dictionary.entries(twin.entry).astype(complex)
            ours = dictionary.entries(gpu.entry).astype(complex)
            overlaps = [np.abs(np.sum(e.conj() * signals, axis=1)) / np.linalg.norm(e, axis=1) for e in (ours, entries)]
            np.testing.assert_allclose(*overlaps, rtol=1e-5)
        if not opposed:  # where water and fat of one T1 score the same but for rounding
            # All T1fat score the same at FF = 0 and all T1H2O at FF = 1: GPU and CPU take the same one.
            np.testing.assert_array_equal(gpu.entry[:4], match_exact(signals[:4], dictionary).entry)


    cuda.THREADS, rank = int(sys.argv[1]), int(sys.argv[2])
    check(build_dictionary(small_protocol(**{TINY!r}), rank=rank), opposed=False)
    check(build_dictionary(small_protocol(**{OPPOSED!r}), rank=rank), opposed=True)
"""


@pytest.mark.parametrize(("threads", "rank"), [pytest.param(8, 5, marks=pytest.mark.slow), (2, 6)])
def test_the_kernel_is_its_twins_on_the_cpu(threads, rank):
    """With more threads than T1 values or groups, and with fewer; and where water and fat nearly cancel."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(RUN), str(threads), str(rank)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_without_a_gpu_the_error_says_what_to_do():
    if cuda.cuda.is_available():
        pytest.skip("this machine has a GPU that Numba can use")
    dictionary = build_dictionary(small_protocol(**TINY), rank=5)
    with pytest.raises(ResourceError, match="match with --device cpu"):
        match_exact(complex_normal(np.random.default_rng(0), 2, 5), dictionary, GPU)


def test_a_dictionary_beyond_shared_memory_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(cuda, "check_numba_gpu", lambda _: None)
    monkeypatch.setattr(cuda, "SHARED_BYTES", 100)
    dictionary = build_dictionary(small_protocol(**TINY), rank=5)
    with pytest.raises(ResourceError, match=r"128 bytes .* 6 groups of 5 signals, and has 100") as error:
        match_exact(complex_normal(np.random.default_rng(0), 2, 5), dictionary, GPU)
    assert "\n" not in str(error.value)

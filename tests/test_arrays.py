import os

import numba
import numpy as np
import pytest
import torch

from mrfpipe.arrays import available_memory, check_shape, limit_threads, resolve_device
from mrfpipe.errors import ResourceError


def test_check_shape_binds_and_checks_names():
    assert check_shape("a", np.zeros((2, 3)), "y x") == {"y": 2, "x": 3}
    assert check_shape("a", np.zeros((2, 3, 2)), "y x 2", {"y": 2})["x"] == 3
    with pytest.raises(ValueError, match=r"a has shape \(2, 3\), expected \(y=2, x=4\)"):
        check_shape("a", np.zeros((2, 3)), "y x", {"y": 2, "x": 4})
    with pytest.raises(ValueError, match=r"expected \(n, n\)"):
        check_shape("a", np.zeros((2, 3)), "n n")
    with pytest.raises(ValueError, match=r"expected \(y, 2\)"):
        check_shape("a", np.zeros((2, 3)), "y 2")
    with pytest.raises(ValueError, match=r"expected \(y, x\)"):
        check_shape("a", np.zeros(2), "y x")


def test_devices(monkeypatch):
    assert resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ResourceError, match="no GPU that torch can use; use --device cpu or auto"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda:0")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ResourceError, match=r"only 2 GPU\(s\)"):
        resolve_device("cuda:2")
    for unknown in ("gpu", "cpu:1", "cuda:x", ""):
        with pytest.raises(ResourceError, match="is not known"):
            resolve_device(unknown)


def test_available_memory_is_plausible():
    assert 2**26 < available_memory() < 2**50


def test_no_more_threads_are_started_than_there_are_cores(monkeypatch):
    started = []
    monkeypatch.setattr(torch, "set_num_threads", started.append)
    monkeypatch.setattr(numba, "set_num_threads", lambda _: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 4096)
    limit_threads(3)
    limit_threads(1_000_000)
    assert started == [3, 4096]

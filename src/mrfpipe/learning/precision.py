"""Precision: true float32 arithmetic on every device, for training and estimation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """Within this context, float32 layers compute in true float32 and with deterministic algorithms.

    By default, cuDNN rounds the factors in convolutions and recurrent units to TF32, 11 bits, on GPUs of the Ampere
    generation and later, and picks whichever algorithm is fastest. The caller's settings are restored at the end.
    """
    products = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)

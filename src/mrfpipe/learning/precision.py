"""Precision: float32 that is float32 on every device, for training and estimation alike."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """Let networks compute in float32 where they say so, and the same way every time.

    Unless told otherwise, cuDNN rounds what convolutions and recurrent units multiply to TF32, 11 bits, on GPUs of the
    Ampere generation and later, and takes whatever algorithm is fastest. What the caller had set is restored.
    """
    products = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)

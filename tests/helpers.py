"""What several tests need: small protocols, exact transforms, random signals."""

import re
from importlib import resources

import numpy as np

from mrfpipe.protocol import Protocol, parse_protocol


def small_protocol(*, matrix: int = 48, **keys: object) -> Protocol:
    """The train of t1ff-small on a small matrix; keyword arguments replace the value of a key everywhere it stands."""
    text = (resources.files("mrfpipe.dictionaries") / "t1ff-small.toml").read_text()
    for key, value in {"matrix": matrix, **keys}.items():
        text, n = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert n, f"{key} is not a key of the protocol"
    return parse_protocol(text, "small")


def exact_dft(images: np.ndarray, trajectory: np.ndarray) -> np.ndarray:
    """s(k) = sum of m(y, x) exp(-2 pi i (kx x + ky y) / N), term by term. Shapes (..., y, x), (..., 2) to (..., k)."""
    n = images.shape[-1]
    x = np.arange(n) - n // 2
    k = trajectory.reshape(-1, 2).astype(float)
    along_x = np.exp(-2j * np.pi * np.outer(k[:, 0], x) / n)
    along_y = np.exp(-2j * np.pi * np.outer(k[:, 1], x) / n)
    samples = np.einsum("...yx,ky,kx->...k", images, along_y, along_x)
    return samples.reshape(*images.shape[:-2], *trajectory.shape[:-1])


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Circular complex noise of unit variance."""
    return ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)).astype(np.complex64)

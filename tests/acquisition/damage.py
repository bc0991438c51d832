"""Damage to the bytes of raw files, and what a reader that does not notice it must still get right."""

import numpy as np

from mrfpipe.acquisition.scan import RawScan

KINDS = ("cut", "flip bytes", "flip bits at the start", "overwrite a run", "swap two runs")


def damaged(content: bytes, kind: str, rng: np.random.Generator, start: int = 12_000) -> bytes:
    """Damage a file in one of the `KINDS`; its start is that many bytes."""
    content = np.frombuffer(content, np.uint8).copy()
    n = content.size
    if kind == "cut":
        return content[: rng.integers(1, n)].tobytes()
    if kind == "flip bytes":
        content[rng.integers(0, n, size=8)] ^= np.uint8(rng.integers(1, 256))
    elif kind == "flip bits at the start":
        content[rng.integers(0, start, size=4)] ^= np.uint8(1 << rng.integers(0, 8))
    elif kind == "overwrite a run":
        first = rng.integers(0, n)
        content[first : first + rng.integers(8, 4096)] = rng.integers(0, 256)
    else:
        first, second = rng.integers(0, n - 64, size=2)
        run = content[first : first + 64].copy()
        content[first : first + 64] = content[second : second + 64]
        content[second : second + 64] = run
    return content.tobytes()


def places_of_samples(content: bytes, scan: RawScan) -> np.ndarray:
    """Where in an undamaged file each spoke of each coil lies. Shape `(slices, coils, readouts)`."""
    rows = scan.kspace.reshape(-1, scan.kspace.shape[3])
    places = np.array([content.find(row.tobytes()) for row in rows])
    assert places.min() > 0
    assert np.unique(places).size == places.size
    return places.reshape(scan.kspace.shape[:3])


def samples_at(content: bytes, places: np.ndarray, n_samples: int) -> np.ndarray:
    """The samples that lie there, damaged or not."""
    rows = [np.frombuffer(content, np.complex64, n_samples, place) for place in places.ravel()]
    return np.stack(rows).reshape(*places.shape, n_samples)

"""Damaged ISMRMRD files: whatever is wrong with the bytes ends in an error of mrfpipe, or in a scan that is sound."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ismrmrd_files import (
    N_SAMPLES,
    N_SPOKES,
    acquisitions,
    noise_acquisition,
    small_scan,
    small_sequence,
    write_file,
)

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.errors import InputError, MrfpipeError

MAKERS = ("mrfpipe", "ismrmrd package")
KINDS = ("cut", "flip bytes", "flip bits at the start", "overwrite a run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same scan as written by either."""
    folder, scan = tmp_path_factory.mktemp("whole"), small_scan()
    write_ismrmrd(scan, small_sequence(), folder / "a.h5")
    write_file(folder / "b.h5", [noise_acquisition(scan.noise), *acquisitions(scan)])
    return {maker: (folder / name).read_bytes() for maker, name in zip(MAKERS, ("a.h5", "b.h5"), strict=True)}


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    content = np.frombuffer(content, np.uint8).copy()
    n = content.size
    if kind == "cut":
        return content[: rng.integers(1, n)].tobytes()
    if kind == "flip bytes":
        content[rng.integers(0, n, size=8)] ^= np.uint8(rng.integers(1, 256))
    elif kind == "flip bits at the start":
        content[rng.integers(0, 12_000, size=4)] ^= np.uint8(1 << rng.integers(0, 8))
    else:
        start = rng.integers(0, n)
        content[start : start + rng.integers(8, 4096)] = rng.integers(0, 256)
    return content.tobytes()


def check_ends_well(path: Path) -> None:
    with suppress(MrfpipeError):
        describe_ismrmrd(path)
    try:
        scan = read_ismrmrd(path, small_sequence())
    except MrfpipeError as e:
        assert str(e).startswith(f"{path}: ")
        assert "\n" not in str(e)
    else:
        assert scan.kspace.shape[1:] == (3, N_SPOKES, N_SAMPLES)
        assert np.isfinite(scan.kspace).all()
        assert np.hypot(*scan.trajectory.T).max() <= 8.25


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("maker", MAKERS)
def test_random_damage(tmp_path, whole, maker, kind, seed):
    path = tmp_path / "scan.h5"
    path.write_bytes(damaged(whole[maker], kind, np.random.default_rng([seed, KINDS.index(kind)])))
    check_ends_well(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("maker", MAKERS)
def test_cut_file_is_refused(tmp_path, whole, maker, share):
    path = tmp_path / "scan.h5"
    path.write_bytes(whole[maker][: int(share * len(whole[maker]))])
    with pytest.raises(InputError, match=r"truncated or damaged \(.*\); copy it again"):
        read_ismrmrd(path, small_sequence())


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (0, b"XCOL", "no heap at"),
        (4, b"\x07", "no heap at"),
        (8, b"\x00" * 8, "no heap at"),
        (8, b"\xff" * 8, "beyond the end"),
        (16, b"\xee\xee", "no .* values at number"),
        (24, b"\x05" + b"\x00" * 7, "leaves its heap"),
        (24, b"\xff" * 8, "leaves its heap"),
    ],
)
@pytest.mark.parametrize("maker", MAKERS)
def test_damaged_heap(tmp_path, whole, maker, offset, value, match):
    """Head of a collection of the heap that holds samples, or of an object in it."""
    content = bytearray(whole[maker])
    at = [m.start() for m in re.finditer(b"GCOL", content)][-1] + offset
    content[at : at + len(value)] = value
    path = tmp_path / "scan.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        read_ismrmrd(path, small_sequence())
    assert describe_ismrmrd(path)["slices"] == 2


@pytest.mark.parametrize("value", [b"\xff" * 16, b"\x01" * 16, b"\x20\x03" + b"\x00" * 14])
@pytest.mark.parametrize("maker", MAKERS)
def test_damaged_pointer(tmp_path, whole, maker, value):
    """Length, address and number by which a row of the table points to its samples."""
    content = bytearray(whole[maker])
    n_floats = (2 * 3 * N_SAMPLES).to_bytes(4, "little")
    at = [m.start() for m in re.finditer(re.escape(n_floats) + rb".{7}\x00.{3}\x00", content, re.DOTALL)][5]
    content[at : at + 16] = value
    path = tmp_path / "scan.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_ismrmrd(path, small_sequence())

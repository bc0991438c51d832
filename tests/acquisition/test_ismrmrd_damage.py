"""Damaged ISMRMRD files: bad bytes end in an error of mrfpipe, or in the k-space that was measured."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from damage import KINDS, damaged, places_of_samples, samples_at
from ismrmrd_files import (
    N_SAMPLES,
    acquisitions,
    noise_acquisition,
    small_scan,
    small_sequence,
    write_file,
)

from mrfpipe.acquisition.implausible import LARGEST
from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.errors import InputError, MrfpipeError

MAKERS = ("mrfpipe", "ismrmrd package")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same scan as written by either."""
    folder, scan = tmp_path_factory.mktemp("whole"), small_scan()
    write_ismrmrd(scan, small_sequence(), folder / "a.h5")
    write_file(folder / "b.h5", [noise_acquisition(scan.noise), *acquisitions(scan)])
    return {maker: (folder / name).read_bytes() for maker, name in zip(MAKERS, ("a.h5", "b.h5"), strict=True)}


def check_ends_well(path: Path, places: np.ndarray) -> None:
    with suppress(MrfpipeError):
        describe_ismrmrd(path)
    try:
        scan = read_ismrmrd(path, small_sequence())
    except MrfpipeError as e:
        assert str(e).startswith(f"{path}: ")
        assert "\n" not in str(e)
    else:
        assert np.array_equal(scan.kspace, samples_at(path.read_bytes(), places, N_SAMPLES))
        assert all(np.abs(samples).max() <= LARGEST for samples in (scan.kspace, scan.noise) if samples is not None)
        assert np.hypot(*scan.trajectory.T).max() <= 8.25


def check_damage(tmp_path: Path, content: bytes, kind: str, seed: int) -> None:
    path = tmp_path / "scan.h5"
    path.write_bytes(damaged(content, kind, np.random.default_rng([seed, KINDS.index(kind)])))
    check_ends_well(path, places_of_samples(content, small_scan()))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("maker", MAKERS)
def test_random_damage(tmp_path, whole, maker, kind, seed):
    check_damage(tmp_path, whole[maker], kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("maker", MAKERS)
def test_much_random_damage(tmp_path, whole, maker, kind):
    for seed in range(100, 600):
        check_damage(tmp_path, whole[maker], kind, seed)


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


@pytest.mark.parametrize("maker", MAKERS)
def test_pointer_to_the_samples_of_another_row(tmp_path, whole, maker):
    """Such a file would be read, with one spoke twice and another never."""
    content = bytearray(whole[maker])
    n_floats = (2 * 3 * N_SAMPLES).to_bytes(4, "little")
    at = [m.start() for m in re.finditer(re.escape(n_floats) + rb".{7}\x00.{3}\x00", content, re.DOTALL)]
    content[at[5] : at[5] + 16] = content[at[6] : at[6] + 16]
    path = tmp_path / "scan.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match="two acquisitions point to the same samples"):
        read_ismrmrd(path, small_sequence())


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

"""Damaged Twix files: what is wrong with the bytes ends in an error of mrfpipe, or in the k-space that was measured.

Only damage to the samples themselves, and a plausible change of what is told once (the table's position, the noise),
cannot be noticed.
"""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from damage import KINDS, damaged, places_of_samples, samples_at
from ismrmrd_files import N_SAMPLES, small_sequence
from twix_files import twix_scan, write_vb_file, write_whole

from mrfpipe.acquisition.implausible import LARGEST
from mrfpipe.acquisition.twix import describe_twix, read_twix
from mrfpipe.errors import InputError, MrfpipeError

WRITERS = {"VD": write_whole, "VB": write_vb_file}
START = 24_000  # bytes: the tables, the header, and the heads of the first spokes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, np.ndarray]]:
    """Files of one scan, and where its samples lie in each."""
    folder, scan, files = tmp_path_factory.mktemp("whole"), twix_scan(), {}
    for name, write in WRITERS.items():
        content = write(folder / f"{name}.dat", scan).read_bytes()
        files[name] = content, places_of_samples(content, scan)
    return files


def check_ends_well(path: Path, places: np.ndarray) -> None:
    with suppress(MrfpipeError):
        describe_twix(path)
    try:
        scan = read_twix(path, small_sequence())
    except MrfpipeError as e:
        assert str(e).startswith(f"{path}: ")
        assert "\n" not in str(e)
    else:
        assert np.array_equal(scan.kspace, samples_at(path.read_bytes(), places, N_SAMPLES))
        assert all(np.abs(samples).max() <= LARGEST for samples in (scan.kspace, scan.noise) if samples is not None)
        assert np.isfinite(scan.affine).all()


def check_damage(tmp_path: Path, whole: dict, writer: str, kind: str, seed: int) -> None:
    content, places = whole[writer]
    path = tmp_path / "scan.dat"
    path.write_bytes(damaged(content, kind, np.random.default_rng([seed, KINDS.index(kind)]), START))
    check_ends_well(path, places)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_random_damage(tmp_path, whole, writer, kind, seed):
    check_damage(tmp_path, whole, writer, kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_much_random_damage(tmp_path, whole, writer, kind):
    for seed in range(100, 600):
        check_damage(tmp_path, whole, writer, kind, seed)


def check_flag(tmp_path: Path, whole: dict, writer: str, bit: int) -> None:
    """A flag that comes or goes by damage loses no spoke, turns none around, and ends no scan early."""
    content, places = whole[writer]
    before, mask = {"VD": (192 + 32, 40), "VB": (128, 20)}[writer]
    changed = bytearray(content)
    changed[places[1, 0, 5] - before + mask + bit // 8] ^= 1 << bit % 8
    path = tmp_path / "scan.dat"
    path.write_bytes(changed)
    check_ends_well(path, places)


@pytest.mark.parametrize("bit", [0, 5, 21, 23, 24, 25, 40], ids=lambda bit: f"bit {bit}")
@pytest.mark.parametrize("writer", WRITERS)
def test_flag_of_a_spoke(tmp_path, whole, writer, bit):
    """End, no samples, for the phase, for calibration and image, reversed, noise; and one without a meaning."""
    check_flag(tmp_path, whole, writer, bit)


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
def test_every_flag_of_a_spoke(tmp_path, whole, writer):
    for bit in range(64):
        check_flag(tmp_path, whole, writer, bit)


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("writer", WRITERS)
def test_cut_file_is_refused(tmp_path, whole, writer, share):
    content, _ = whole[writer]
    path = tmp_path / "scan.dat"
    path.write_bytes(content[: int(share * (len(content) - 512))])
    with pytest.raises(InputError, match=r"truncated|cut off|is empty"):
        read_twix(path, small_sequence())

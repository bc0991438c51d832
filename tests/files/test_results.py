import errno
from threading import Barrier, Event
from time import sleep

import numpy as np
import pytest

from mrfpipe.errors import InputError, OutputExistsError, ResourceError
from mrfpipe.files import results
from mrfpipe.files.atomic import writing
from mrfpipe.files.maps import load_maps
from mrfpipe.files.results import find_maps, save_result
from mrfpipe.maps import Fingerprints


def files_in(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_result_folder(tmp_path, maps, provenance):
    folder = tmp_path / "out" / "scan"
    save_result(folder, maps, provenance, force=False, extra=lambda f: (f / "maps.png").touch() or None)
    assert {"maps.h5", "maps.png", "FF.nii.gz", "FF.json"} <= files_in(folder)
    assert [p.name for p in folder.parent.iterdir()] == ["scan"]
    np.testing.assert_allclose(load_maps(folder / "maps.h5").si["T1H2O"], maps.si["T1H2O"], rtol=3e-7)


def test_bids_result_folder(tmp_path, maps, provenance):
    save_result(tmp_path / "sub-1", maps, provenance, bids=True, force=False)
    found = files_in(tmp_path)
    assert {"sub-1/maps.h5", ".bidsignore", "dataset_description.json", "sub-1/anat/sub-1_T1map.nii.gz"} <= found
    assert "sub-1/FF.nii.gz" not in found


def test_existing_result_is_kept_until_the_new_one_is_complete(tmp_path, maps, provenance):
    def fail(folder):
        assert folder.is_dir()
        raise KeyboardInterrupt

    folder = tmp_path / "results" / "scan"
    save_result(folder, maps, provenance, force=False)
    before = files_in(folder)
    with pytest.raises(OutputExistsError, match="--force"):
        save_result(folder, maps, provenance, force=False)
    with pytest.raises(KeyboardInterrupt):
        save_result(folder, maps, provenance, bids=True, force=True, extra=fail)
    assert files_in(folder) == before
    save_result(folder, maps, provenance, bids=True, force=True)
    assert "FF.nii.gz" not in files_in(folder)
    assert {p.name for p in folder.parent.iterdir()} == {"scan", ".bidsignore", "dataset_description.json"}


def test_folder_of_something_else_is_not_replaced(tmp_path, maps, provenance):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"without maps\.h5"):
        save_result(tmp_path, maps, provenance, force=True)


def test_unwritable_place_is_named(tmp_path, maps, provenance):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file/scan cannot be written"):
        save_result(tmp_path / "file" / "scan", maps, provenance, force=False)


def test_error_of_an_added_file_says_its_final_name(tmp_path, maps, provenance):
    def fail(folder):
        with writing(folder / "maps.png", force=True):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResourceError, match=r"scan/maps\.png cannot be written: no space left") as caught:
        save_result(tmp_path / "scan", maps, provenance, force=False, extra=fail)
    assert "partial" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bids", [False, True])
def test_files_are_written_while_others_are_added(tmp_path, maps, provenance, monkeypatch, bids):
    """All are compressed, which lets other threads compute meanwhile."""
    signals = np.ones((int(maps.mask.sum()), 2), np.complex64)
    fingerprints = Fingerprints(basis=np.eye(2, dtype=np.complex64), measured=signals, simulated=signals)
    writers, met = ("write_maps", "write_fingerprints", "save_bids" if bids else "save_nifti"), Barrier(4, timeout=20)
    for name in writers:
        write = getattr(results, name)
        monkeypatch.setattr(results, name, lambda *a, write=write, **k: (met.wait(), write(*a, **k)))
    save_result(
        tmp_path / "scan",
        maps,
        provenance,
        fingerprints=fingerprints,
        bids=bids,
        force=False,
        extra=lambda _: met.wait(),
    )
    assert {"maps.h5", "fingerprints.h5"} <= files_in(tmp_path / "scan")


@pytest.mark.parametrize("name", ["write_maps", "save_nifti"])
def test_a_file_that_cannot_be_written_beside_others_is_told_and_leaves_nothing(
    tmp_path, maps, provenance, monkeypatch, name
):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results, name, fail)
    with pytest.raises(ResourceError, match=r"scan cannot be written: no space left on the disk"):
        save_result(tmp_path / "scan", maps, provenance, force=False, extra=lambda f: (f / "maps.png").touch())
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_files_still_being_written_when_another_fails(tmp_path, maps, provenance, monkeypatch):
    begun, write = Event(), results.write_maps

    def write_late(*given):
        begun.set()
        sleep(0.1)
        write(*given)

    def fail(_):
        begun.wait(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "write_maps", write_late)
    with pytest.raises(KeyboardInterrupt):
        save_result(tmp_path / "scan", maps, provenance, force=False, extra=fail)
    assert not list(tmp_path.iterdir())


def test_maps_are_found_in_a_result_and_above_it(tmp_path, maps, provenance):
    save_result(tmp_path / "out" / "a", maps, provenance, force=False)
    expected = tmp_path / "out" / "a" / "maps.h5"
    assert find_maps(expected) == find_maps(expected.parent) == find_maps(expected.parent.parent) == expected
    save_result(tmp_path / "out" / "b", maps, provenance, force=False)
    with pytest.raises(InputError, match=r"2 results \(a, b\); name one"):
        find_maps(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty is a folder without maps\.h5"):
        find_maps(tmp_path / "empty")

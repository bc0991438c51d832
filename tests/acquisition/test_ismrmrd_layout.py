"""Groups, encodings and tables of ISMRMRD files as others lay them out."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from ismrmrd_files import MATRIX, acquisitions, noise_acquisition, small_header, small_scan, small_sequence, write_file

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_heap import Heap
from mrfpipe.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a scan.h5"


def test_group_of_any_name_is_found(path):
    scan = small_scan()
    write_file(path, acquisitions(scan), group="measurement 1")
    with h5py.File(path, "a") as file:
        file.create_group("notes")["xml"] = 1
    assert np.array_equal(read_ismrmrd(path, small_sequence()).kspace, scan.kspace)


def test_encoding_is_that_of_the_image(path):
    """Noise may refer to another encoding than the spokes."""
    header = small_header()
    start, end = header.index("<encoding>"), header.index("</encoding>") + len("</encoding>")
    cartesian = header[start:end].replace("goldenangle", "cartesian")
    made = acquisitions(small_scan())
    for one in made:
        one.encoding_space_ref = 1
    write_file(
        path, [noise_acquisition(np.ones((3, 8), np.complex64)), *made], header[:start] + cartesian + header[start:]
    )
    assert read_ismrmrd(path, small_sequence()).n_slices == 2
    assert describe_ismrmrd(path)["trajectory"] == "goldenangle"


@pytest.mark.parametrize("radial", [0, 1])
def test_of_several_encodings_the_radial_one_is_read(path, radial):
    """A Cartesian reference among the spokes, with an encoding of its own and no flag that says so."""
    header = small_header()
    start, end = header.index("<encoding>"), header.index("</encoding>") + len("</encoding>")
    encodings = [header[start:end], header[start:end].replace("goldenangle", "cartesian").replace(">16<", ">8<")]
    scan, reference = small_scan(), acquisitions(small_scan(n_coils=2, seed=4))[:10]
    for one in reference:
        one.encoding_space_ref = 1 - radial
    made = acquisitions(scan)
    for one in made:
        one.encoding_space_ref = radial
    both = "".join(encodings if radial == 0 else encodings[::-1])
    write_file(path, [*reference, *made], header[:start] + both + header[end:])
    assert np.array_equal(read_ismrmrd(path, small_sequence()).kspace, scan.kspace)
    assert describe_ismrmrd(path)["coils"] == 3
    assert describe_ismrmrd(path)["matrix"] == [MATRIX, MATRIX]


@pytest.mark.parametrize(
    ("file_options", "table_options"),
    [
        ({}, {}),
        ({}, {"chunks": (7,), "maxshape": (None,)}),
        ({}, {"chunks": (7,), "compression": "gzip"}),
        ({"userblock_size": 512}, {}),
        ({"userblock_size": 512}, {"chunks": (7,)}),
        ({"libver": "latest"}, {"chunks": (7,), "maxshape": (None,)}),
    ],
)
def test_any_layout_of_the_table(path, tmp_path, file_options, table_options):
    scan = small_scan(n_slices=3)
    write_file(tmp_path / "plain.h5", [noise_acquisition(scan.noise), *acquisitions(scan)])
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(path, "w", **file_options) as file:
        rows = plain["dataset/data"]
        group = file.create_group("dataset")
        group.create_dataset("data", data=rows[:], dtype=rows.dtype, **table_options)
        group["xml"] = plain["dataset/xml"][0]  # of fixed length
    got = read_ismrmrd(path, small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)
    assert np.array_equal(got.noise, scan.noise)


def test_a_chunk_that_was_never_written_is_missed(path, tmp_path):
    scan = small_scan(n_slices=1)
    write_file(tmp_path / "plain.h5", acquisitions(scan))
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(path, "w") as file:
        rows = plain["dataset/data"]
        group = file.create_group("dataset")
        table = group.create_dataset("data", shape=rows.shape, dtype=rows.dtype, chunks=(1,))
        table[:2], table[3:] = rows[:2], rows[3:]
        group["xml"] = plain["dataset/xml"][0]
    with pytest.raises(InputError, match="rows from 2 on are missing"):
        read_ismrmrd(path, small_sequence())


def test_places_of_all_chunks_are_asked_for_at_once(path):
    """A scan has thousands, of a row each, and the library looks for one in a sixtieth of the time for all."""
    write_file(path, acquisitions(small_scan(n_slices=1)))
    asked = []

    class Watched:
        def __getattr__(self, name):
            asked.extend([name] if "chunk" in name else [])
            return getattr(table.id, name)

    with h5py.File(path) as file:
        table, heap = file["dataset/data"], Heap(file, path)
        assert table.id.get_num_chunks() == table.size > 10
        row = np.dtype((np.void, table.id.get_type().get_size()))
        rows = heap.rows(SimpleNamespace(id=Watched(), size=table.size, chunks=table.chunks), row)
        heap.close()
        assert rows.size == table.size
    assert asked == ["chunk_iter"]

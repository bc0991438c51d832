"""ISMRMRD files with headers that are damaged or of another scan, and files that are none."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from ismrmrd_files import N_SPOKES, TE_MS, acquisitions, refused, small_header, small_scan, small_sequence, write_file

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.errors import InputError, MismatchError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scan.h5"


def other_at(train: np.ndarray, i: int, by: float) -> list[float]:
    return [float(v) + by * (j == i) for j, v in enumerate(train)]


HEADERS = {
    "cartesian": ({"trajectory": "cartesian"}, InputError, "not a radial scan, its trajectory is 'cartesian'"),
    "matrix": ({"matrix": (16, 20)}, MismatchError, "matrix is 16 x 20, in the protocol 16 x 16"),
    "FOV": ({"fov_mm": (320.0, 321.0)}, MismatchError, "field of view is 320 x 321 mm, in the protocol 320 x 320 mm"),
    "FOV not finite": ({"fov_mm": (320.0, np.nan)}, MismatchError, "field of view is 320 x nan mm"),
    "frame": ({"readouts_per_frame": 0}, InputError, "readouts_per_frame in the XML header is 0"),
    "TE": ({"te_ms": other_at(TE_MS, 5, 0.01)}, MismatchError, "TE of readout 5 is 2.4 ms, in the protocol 2.39 ms"),
    "TR": ({"tr_ms": [5.0] * N_SPOKES}, MismatchError, "TR of readout 0 is 5 ms, in the protocol 3.52 ms"),
    "TI": ({"ti_ms": [9.0]}, MismatchError, "TI is 9 ms, in the protocol 8.32 ms; use the protocol"),
    "flip": (
        {"flip_deg": [5.0] * N_SPOKES},
        MismatchError,
        "flip angle of readout 12 is 5 deg, in the protocol 15 deg",
    ),
    "TE not finite": ({"te_ms": [np.nan] * N_SPOKES}, MismatchError, "TE of readout 0 is nan ms"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header_of_another_scan(path, case):
    changes, error, match = HEADERS[case]
    refused(write_file(path, acquisitions(small_scan()), small_header(**changes)), error, match)


def test_differences_of_rounding_are_no_mismatch(path):
    header = small_header(te_ms=TE_MS + 0.004, ti_ms=[8.324], flip_deg=np.repeat([5.009, 14.991], 12))
    write_file(path, acquisitions(small_scan()), header)
    assert read_ismrmrd(path, small_sequence()).te is not None


XML = {
    "empty": ("", "not valid ISMRMRD"),
    "not XML": ("hello", "not valid ISMRMRD"),
    "cut": (small_header()[:900], "not valid ISMRMRD"),
    "other XML": ("<a/>", "not valid ISMRMRD"),
    "unknown element": (small_header().replace("<encoding>", "<encoding><depth>3</depth>"), "Unknown property"),
    "text for a number": (small_header().replace("<x>16</x>", "<x>many</x>"), "has an invalid value"),
    "unknown trajectory": (small_header().replace("goldenangle", "helix"), "has an invalid value"),
    "no encoding": (
        small_header()[: small_header().index("<encoding>")]
        + small_header()[small_header().index("</encoding>") + len("</encoding>") :],
        "no encoding number 0",
    ),
}


@pytest.mark.parametrize("case", XML)
def test_bad_xml(path, case):
    xml, match = XML[case]
    refused(write_file(path, acquisitions(small_scan()), xml), InputError, match)


def save(path: Path, **items: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in items.items():
            file[name.replace("_in_", "/")] = value
    return path


TABLE = np.zeros(2, [("head", "i4"), ("traj", "f4"), ("data", "f4")])
FILES = {
    "missing": (lambda _: None, "the file does not exist"),
    "folder": (lambda path: path.mkdir(), "is not a file"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("not a scan"), "is not an HDF5 file"),
    "HDF5 of nothing": (save, "is HDF5 but not ISMRMRD"),
    "HDF5 of something": (lambda path: save(path, data=[1, 2], dataset_in_data=[3]), "is HDF5 but not ISMRMRD"),
    "data is no table": (lambda path: save(path, dataset_in_xml="a", dataset_in_data=[1.0]), "not a table of acq"),
    "table of no vectors": (lambda path: save(path, dataset_in_xml="a", dataset_in_data=TABLE), "not a table of acq"),
    "images": (lambda path: save(path, dataset_in_xml="a", dataset_in_data_in_a=[1.0]), "not a table of acquisitions"),
    "two scans": (
        lambda path: save(path, a_in_xml="a", a_in_data=[1], b_in_xml="b", b_in_data=[1]),
        r"holds several scans \(a, b\)",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_not_an_ismrmrd_file(path, case):
    make, match = FILES[case]
    make(path)
    refused(path, InputError, match)
    with pytest.raises(InputError, match=match):
        describe_ismrmrd(path)


@pytest.mark.parametrize("xml", [3, np.zeros(0, "S4"), [1.5, 2.5]])
def test_header_that_is_not_text(path, xml):
    write_file(path, acquisitions(small_scan()))
    with h5py.File(path, "a") as file:
        del file["dataset/xml"]
        file["dataset/xml"] = xml
    refused(path, InputError, "header '/dataset/xml' is not text")


@pytest.mark.parametrize("name", ["flags", "idx", "slice", "position", "number_of_samples"])
def test_heads_without_a_field(path, tmp_path, name):
    write_file(tmp_path / "whole.h5", acquisitions(small_scan()))
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(path, "w") as file:
        rows = whole["dataset/data"]
        renamed = np.dtype(str_replaced(rows.dtype["head"], name))
        dtype = np.dtype([("head", renamed), ("traj", rows.dtype["traj"]), ("data", rows.dtype["data"])])
        file["dataset/xml"] = whole["dataset/xml"][0]
        file["dataset"].create_dataset("data", data=rows[:].astype(dtype), dtype=dtype)
    field = "kspace_encode_step_1" if name == "idx" else name
    refused(path, InputError, f"heads have no valid field '{field}'")


def str_replaced(dtype: np.dtype, name: str) -> list[tuple[str, object]]:
    """The same record type with one field, wherever it is, under another name."""
    fields: list[tuple[str, object]] = []
    for field in dtype.names or ():
        inner = dtype[field]
        kind = str_replaced(inner, name) if inner.names else inner
        fields.append(("renamed" if field == name else field, kind))
    return fields

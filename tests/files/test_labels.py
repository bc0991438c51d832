"""Regions from a label image: they lie where the maps lie, or are refused; and their names."""

import nibabel
import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.files.labels import load_labels, load_names, load_regions
from mrfpipe.phantom.truth import PARAMETERS

SHAPE = (2, 5, 7)
AFFINE = np.array([[0, -1.5, 0, 20], [1.5, 0, 0, -30], [0, 0, 8, 4], [0, 0, 0, 1.0]])


@pytest.fixture
def maps():
    ones = np.ones(SHAPE, np.float32)
    fields = dict.fromkeys((*(p.name for p in PARAMETERS), "m0", "phase", "match"), ones)
    return parameter_maps(**fields, mask=np.ones(SHAPE, bool), affine=AFFINE)


@pytest.fixture
def save(tmp_path):
    def write(values, affine=AFFINE, name="roi.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / name)
        return tmp_path / name

    return write


def test_labels_lie_where_they_were_drawn(save, maps):
    labels = np.zeros(SHAPE, np.int64)
    labels[1, 2, 5], labels[0, 4, 1] = 3, 200
    assert np.array_equal(load_labels(save(labels.transpose(2, 1, 0).astype(np.uint8)), maps), labels)


def test_an_image_of_another_place_or_shape_is_refused(save, maps):
    values = np.ones(SHAPE[::-1], np.int16)
    moved, flipped = AFFINE.copy(), AFFINE.copy()
    moved[1, 3] += 3
    flipped[:, 0] *= -1
    for affine in (moved, flipped):
        with pytest.raises(MismatchError, match=r"roi\.nii\.gz lies elsewhere than the maps: .* mm apart; draw"):
            load_labels(save(values, affine), maps)
    nearly = AFFINE.copy()
    nearly[0, 3] += 0.001  # a viewer's rounding
    load_labels(save(values, nearly), maps)
    with pytest.raises(MismatchError, match=r"has shape \(5, 7, 2\) and the maps \(7, 5, 2\)"):
        load_labels(save(values.transpose(1, 0, 2)), maps)


@pytest.mark.parametrize("values", [0.0, 0.5, -1.0, np.nan])
def test_an_image_without_regions_is_refused(save, maps, values):
    with pytest.raises(InputError, match=r"roi\.nii\.gz (does not hold whole numbers|holds no region)"):
        load_labels(save(np.full(SHAPE[::-1], values, np.float32)), maps)


@pytest.mark.parametrize("dtype", ["complex64", [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_an_image_of_something_else_than_numbers_is_refused(save, maps, dtype):
    with pytest.raises(InputError, match=r"roi\.nii\.gz holds colours or complex numbers, not one real number a voxel"):
        load_labels(save(np.zeros(SHAPE[::-1], dtype)), maps)


@pytest.mark.parametrize("label", [2.0**31, 1e20])
def test_a_label_beyond_those_of_a_page_is_refused(save, maps, label):
    with pytest.raises(InputError, match=r"roi\.nii\.gz holds .*, and labels end at 2147483647; draw"):
        load_labels(save(np.full(SHAPE[::-1], label)), maps)


def test_what_is_no_image_is_refused(tmp_path, maps):
    (tmp_path / "roi.nii.gz").write_text("no")
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        load_labels(tmp_path / "roi.nii.gz", maps)
    with pytest.raises(InputError, match="does not exist"):
        load_labels(tmp_path / "none.nii", maps)


NAMED = {3: "vastus lateralis", 200: "Ü, left"}
TABLES = {
    "roi.tsv": "index\tname\tcolor\n3\tvastus lateralis\t#ff0000\n200\tÜ, left\t\n9\tother\t\n",
    "roi.csv": '\ufeffName;Index\nvastus lateralis;3\n"Ü, left";200\n',
    "bare.csv": '3, vastus lateralis\n200,"Ü, left"\n',
    "roi.txt": """# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    3   255    0    0        1  1  1    "vastus lateralis"
  200     0  255    0      0.5  1  1    "Ü, left"
""",
}


@pytest.fixture
def drawn(save):
    labels = np.zeros(SHAPE, np.int16)
    labels[1, 2, 5], labels[0, 4, 1] = 3, 200
    return save(labels.transpose(2, 1, 0))


@pytest.mark.parametrize("name", TABLES)
def test_names_are_those_of_the_table(drawn, maps, tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    labels, names = load_regions(drawn, maps, tmp_path / name if name == "bare.csv" else None)
    assert names == NAMED
    assert set(np.unique(labels)) == {0, *NAMED}


def test_regions_without_a_table_are_called_by_their_numbers(drawn, maps):
    assert load_regions(drawn, maps)[1] == {3: "region 3", 200: "region 200"}


def test_a_table_that_lacks_a_region_is_refused(drawn, maps, tmp_path):
    (tmp_path / "roi.tsv").write_text("index\tname\n3\tsoleus\n")
    with pytest.raises(InputError, match=r"roi\.tsv has no name for region 200 of .*roi\.nii\.gz; add a line"):
        load_regions(drawn, maps)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"index\tname\n3\tsoleus\n3\tgracilis\n", "names region 3 twice"),
        (b"index\tname\n3\n", "does not name regions by number, see '3', ''"),
        (b"scan,region,name\nleg,3,soleus\n", "see 'scan', 'region'"),
        (b"index,name\nthree,soleus\n", "see 'three', 'soleus'"),
        (b"3,\xfc\n", "is not UTF-8"),
    ],
)
def test_what_is_no_table_of_names_is_refused(tmp_path, content, said):
    (tmp_path / "names.csv").write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        load_names(tmp_path / "names.csv")
    assert "columns index and name" in str(refused.value) or "twice" in said


def test_names_that_are_not_there(drawn, maps, tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_regions(drawn, maps, tmp_path / "none.tsv")

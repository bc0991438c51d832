import json

import numpy as np

from mrfpipe.evaluation.metrics import MapError, evaluate
from mrfpipe.evaluation.table import as_json, format_table
from mrfpipe.phantom.truth import PARAMETERS

NAN = float("nan")
TWO = tuple(p for p in PARAMETERS if p.name in ("T1H2O", "df"))


def errors(**changes) -> dict[str, MapError]:
    values = {
        "rmse": 41.26,
        "bias": -3.14,
        "nrmse": 0.0271,
        "psnr": 31.57,
        "ssim": 0.9871,
        "r2_voxels": 0.998,
        "r2_regions": NAN,
    }
    counts = {"n_regions": None, "n_voxels": 12345, "n_missing": 6}
    other = dict.fromkeys(values, NAN) | counts | {"n_voxels": 0}
    return {"T1H2O": MapError(**values | counts | changes), "df": MapError(**other)}


def test_table_is_aligned_and_has_units():
    lines = format_table(errors(), TWO).splitlines()
    assert lines[:3] == [
        "map    unit  RMSE  bias   NRMSE  PSNR/dB   SSIM  R2 (voxels)  voxels  missing",
        "T1H2O  ms    41.3  -3.1  0.0271     31.6  0.987        0.998   12345        6",
        "df     Hz       -     -       -        -      -            -       0        6",
    ]
    assert lines[4].startswith("T1H2O is scored where the reference has FF <= 0.7; SSIM is over the whole mask.")


def test_table_has_the_r2_of_regions_beside_that_of_voxels():
    assert "regions" not in format_table(errors(), TWO)
    lines = format_table(errors(n_regions=21, r2_regions=0.876), TWO).splitlines()
    assert lines[0].split("SSIM")[1].split("  ")[1:3] == ["R2 (voxels)", "R2 (regions)"]
    assert lines[1].split()[7:9] == ["0.998", "0.876"]
    assert "up to 21 regions, a slice each, those whose mean FF is above 0.7 left out for T1H2O" in lines[-1]


def test_table_of_all_maps_has_a_row_each(make):
    lines = format_table(evaluate(make(1), make(0)), PARAMETERS).splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["FF", "T1H2O", "T1fat", "df", "B1"]
    assert len({len(line) for line in lines[:6]}) == 1


def test_json_is_strict_and_complete():
    content = json.loads(as_json(errors(psnr=np.inf), TWO), parse_constant=lambda name: f"not JSON: {name}")
    assert content["T1H2O"] == {
        "unit": "ms",
        "rmse": 41.26,
        "bias": -3.14,
        "nrmse": 0.0271,
        "psnr": None,
        "ssim": 0.9871,
        "r2_voxels": 0.998,
        "r2_regions": None,
        "n_regions": None,
        "n_voxels": 12345,
        "n_missing": 6,
    }
    assert content["df"]["rmse"] is None

"""T1-FF on vials, scanned by a simulator of others: MRzeroCore 1.2.0, by phase distribution graphs.

Twelve vials of FF 0 to 0.9 and B1 0.6 to 1, water and six fat peaks, matrix 64, 4 coils, SNR 4000. Its pulses are
instantaneous and its spins precess during the readout of 1 ms, which the dictionary knows nothing of. Two scans: the
inversion turns everything over, or by 180 degrees times B1.
"""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
from click.testing import CliRunner
from mrfpipe.cli import main

import mrfpipe as mrf

VIALS = Path(__file__).parents[2].parent / "shared" / "foreign" / "mrzero"
AT_MOST = {"FF": 0.005, "T1H2O": 6, "T1fat": 10, "df": 0.5, "B1": 0.01}
"""Largest error of a vial's mean, in the units of files."""
SCANS = ("inv0-dwell8", "inv1-dwell8")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIALS.exists(), reason="the scans of other simulators are not beside this checkout"),
]


def run(*words: object) -> None:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module", params=SCANS)
def mapped(request, tmp_path_factory) -> Path:
    """Dictionary, coefficients and maps of a scan, by the protocol that says how it was inverted."""
    folder = tmp_path_factory.mktemp(request.param)
    text = (resources.files("mrfpipe.dictionaries") / "t1ff.toml").read_text()
    text = re.sub(r"^matrix = 350", "matrix = 64", text, flags=re.MULTILINE)
    if request.param == "inv1-dwell8":
        text = re.sub(r'^block = "inversion"', r"\g<0>\nscales_with_b1 = true", text, flags=re.MULTILINE)
    (folder / "t1ff.toml").write_text(text)
    run("simulate", folder / "t1ff.toml", "-o", folder / "d.h5", "--model", "epg")
    return match_voxels(VIALS / f"{request.param}.h5", folder / "d.h5", folder)


def match_voxels(scan: Path, dictionary: Path, folder: Path) -> Path:
    """Match the coefficients of a scan voxel by voxel; return the folder of the result."""
    coefficients = folder / f"{scan.stem}.frames.h5"
    run("frames", scan, "-d", dictionary, "-o", coefficients, "--recon", "subspace", "--nufft", "finufft")
    run("match", coefficients, "-d", dictionary, "-o", folder)
    return folder / scan.stem


@pytest.mark.parametrize("name", AT_MOST)
def test_means_over_vials(mapped, name):
    """Of the maps of single voxels, as whoever made the scans scores them."""
    line = [sys.executable, VIALS / "score_vials.py", mapped / "maps.h5", VIALS / f"{mapped.name}.truth.npz"]
    scored = subprocess.run(
        [*line, "--at-most", f"{name}={AT_MOST[name]}"], capture_output=True, text=True, check=False
    )
    assert scored.returncode == 0, scored.stdout + scored.stderr


def as_the_simulator_writes(ours: Path, theirs: Path) -> None:
    """Write a scan as MRzeroCore's `sig_to_mrd` does: type `other`, (kx, ky, kz) in an undeclared 1/m, no counters."""
    limits = xsd.limitType(minimum=0, maximum=0, center=0)
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=64, y=64, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=350.0, y=350.0, z=8.0)
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=127_729_200),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(receiverChannels=4),
        sequenceParameters=xsd.sequenceParametersType(),
        encoding=[
            xsd.encodingType(
                encodedSpace=space,
                reconSpace=space,
                encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_1=limits, slice=limits),
                trajectory=xsd.trajectoryType.OTHER,
            )
        ],
    )
    with ismrmrd.Dataset(str(ours), mode="r") as scan, ismrmrd.Dataset(str(theirs)) as file:
        file.write_xml_header(xsd.ToXML(header))
        for i in range(scan.number_of_acquisitions()):
            was = scan.read_acquisition(i)
            k = np.pad(was.traj / 0.35, ((0, 0), (0, 1)))
            one = ismrmrd.Acquisition.from_array(was.data, k.astype(np.float32))
            one.center_sample, one.scan_counter, one.sample_time_us = len(k) // 2, i + 1, was.sample_time_us
            one.read_dir[0] = one.phase_dir[1] = one.slice_dir[2] = 1
            file.append_acquisition(one)


def test_the_simulators_own_file_gives_the_same_maps(mapped, tmp_path):
    """Up to the rounding of its trajectory to single precision in 1/m."""
    as_the_simulator_writes(VIALS / f"{mapped.name}.h5", tmp_path / "own.h5")
    own = mrf.load_maps(match_voxels(tmp_path / "own.h5", mapped.parent / "d.h5", tmp_path))
    maps = mrf.load_maps(mapped)
    np.testing.assert_array_equal(own.mask, maps.mask)
    for name, most in AT_MOST.items():
        difference = np.abs(own[name] - maps[name])[maps.mask]
        assert np.median(difference) < 0.01 * most, name
        assert difference.mean() < 0.1 * most, name

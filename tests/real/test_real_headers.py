"""Headers of scanners of three software lines, as twixtools reads them; their scans, Cartesian ones, are refused."""

from pathlib import Path

import numpy as np
import pytest
import twixtools

from mrfpipe.acquisition.raw import describe_raw, read_raw
from mrfpipe.acquisition.twix_file import open_twix
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import load_protocol

FOLDER = Path(__file__).parents[2].parent / "shared" / "foreign" / "siemens"
NAMES = ("vb19a", "ve11c", "xa61")

pytestmark = [
    pytest.mark.skipif(not FOLDER.exists(), reason="the scanners' files are not beside this checkout"),
    pytest.mark.parametrize("path", [FOLDER / f"{name}.dat" for name in NAMES], ids=NAMES),
]


def by_twixtools(path: Path) -> dict:
    return twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)[-1]


def test_every_value_is_that_of_twixtools(path):
    theirs = by_twixtools(path)
    header, dicom, blocks = theirs["hdr"]["MeasYaps"], theirs["hdr"]["Dicom"], theirs["mdb"]
    imaging = [block for block in blocks if block.is_image_scan()]
    kspace, stack = header["sKSpace"], header["sSliceArray"]
    times = {key: [1e-3 * header[name][i] for i in range(n)] for key, name, n in _times(header)}
    expected = {
        "kind": "raw scan (Siemens Twix)",
        "vendor": dicom["Manufacturer"].upper(),
        "field_strength_t": pytest.approx(dicom["flMagneticFieldStrength"], abs=1e-5),
        "protocol_name": header["tProtocolName"],
        "sequence_name": header["tSequenceFileName"],
        "coils": imaging[0].data.shape[0],
        "slices": len({block.cSlc for block in imaging}),
        "repetitions": len({(block.cRep, block.cAve) for block in imaging}),
        "readouts": len({block.cLin for block in imaging}),
        "samples": imaging[0].data.shape[1],
        "acquisitions": len(blocks),
        "noise_scans": sum(block.is_flag_set("NOISEADJSCAN") for block in blocks),
        "trajectory": {1: "cartesian"}[int(kspace["ucTrajectory"])],
        "trajectory_stored": False,
        "trajectory_unit": None,
        "readouts_per_frame": None,
        "matrix": [kspace["lBaseResolution"]] * 2,
        "fov_mm": [stack["asSlice"][0][key] for key in ("dReadoutFOV", "dPhaseFOV", "dThickness")],
        "te_ms": [times["te"][0], times["te"][-1]],
        "tr_ms": times["tr"] * 2,
        "ti_ms": None,
        "flip_deg": [header["adFlipAngleDegree"][0]] * 2,
    }
    assert {int(header["sPrepPulses"]["ucInversion"])} == {4}  # none
    assert describe_raw(path) == expected


def _times(header: dict) -> list[tuple[str, str, int]]:
    return [("te", "alTE", header["lContrasts"]), ("tr", "alTR", 1)]


def test_samples_and_counters_are_those_of_twixtools(path):
    blocks = by_twixtools(path)["mdb"]
    with open_twix(path) as file:
        for got, block in zip(file.acquisitions(file.heads), blocks, strict=True):
            assert np.array_equal(got.samples, block.data)
            assert (got.head["kspace_encode_step_1"], got.head["slice"]) == (block.cLin, block.cSlc)


def test_it_is_refused_for_what_it_is(path):
    """The header is of a player of Pulseq files; trusted, the protocol has more readouts than the file."""
    sequence = load_protocol("t1ff").sequence
    with pytest.raises(InputError, match=r"was played by the Pulseq interpreter.*--trust-protocol"):
        read_raw(path, sequence)
    with pytest.raises(MismatchError, match=r"has \d+ readouts per slice, the protocol has 1400"):
        read_raw(path, sequence, trusted=True)

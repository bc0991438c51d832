"""Maps of the scans that the sequence T1-FF writes: the same of all its files, and in the sense of their receiver."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mrfpipe.cli import main
from t1ff_files import VARIANTS, t1ff_protocol, t1ff_scan, write_trains, write_variant

import mrfpipe as mrf
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.reconstruction import REMARKS
from mrfpipe.protocol import Protocol, Readout
from mrfpipe.run.result import Result

FEW = ("nothing is counted", "customIR_Reco, called Cartesian")
SENSE = "samples are conjugated, as those of SIEMENS turn the other way"


@pytest.fixture(scope="module")
def made() -> RawScan:
    return t1ff_scan(t1ff_protocol())


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return mrf.simulate(t1ff_protocol())


@pytest.fixture(scope="module")
def expected(made, dictionary, tmp_path_factory) -> Result:
    """Maps of the scan in ISMRMRD, with the maker of its scanner."""
    folder, sequence = tmp_path_factory.mktemp("expected"), dictionary.protocol.sequence
    affine = read_raw(write_variant(folder / "scan.dat", made, VARIANTS[FEW[0]]), sequence).affine
    write_ismrmrd(replace(made, affine=affine), sequence, folder / "scan.h5")
    return mrf.match(folder / "scan.h5", dictionary)


def check_maps(path: Path, made: RawScan, dictionary: Dictionary, expected: Result, name: str) -> None:
    variant = VARIANTS[name]
    path = write_variant(path, made, variant)
    found = mrf.match(path, dictionary, trust_protocol=variant.trusted)
    assert np.array_equal(found.mask, expected.mask)
    for one in ("FF", "T1H2O", "T1fat", "df", "B1", "match"):
        np.testing.assert_allclose(found[one], expected[one], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.maps.affine, expected.maps.affine, atol=1e-4)  # float32 positions of some 400 mm
    assert SENSE in found.provenance.notes[REMARKS]


@pytest.mark.parametrize("name", FEW)
def test_maps_are_those_of_the_scan_in_ismrmrd(tmp_path, made, dictionary, expected, name):
    check_maps(tmp_path / "scan.dat", made, dictionary, expected, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in FEW])
def test_maps_of_every_variant(tmp_path, made, dictionary, expected, name):
    check_maps(tmp_path / "scan.dat", made, dictionary, expected, name)


def of_twix(path: Path, made: RawScan, protocol: Protocol) -> Path:
    return write_variant(path.with_suffix(".dat"), made, VARIANTS[FEW[0]])


def of_ismrmrd(path: Path, made: RawScan, protocol: Protocol) -> Path:
    write_ismrmrd(made, protocol.sequence, path)
    return path


def of_pulseq(path: Path, made: RawScan, protocol: Protocol) -> Path:
    """The readouts of a sequence's file, which is not at hand."""
    write_ismrmrd(replace(made, readout="stored"), protocol.sequence, path)
    return path


@pytest.mark.parametrize("write", [of_twix, of_ismrmrd, of_pulseq])
def test_the_sense_of_any_file_is_looked_at(tmp_path, made, dictionary, write):
    """Samples of Siemens as they are turn against the protocol."""
    protocol = dictionary.protocol
    if write is of_pulseq:
        readout = Readout(kind="stored", readouts_per_frame=8, pulseq="leg.seq", sha256="0" * 64)
        protocol = replace(protocol, sequence=replace(protocol.sequence, readout=readout))
    path = write(tmp_path / "scan.h5", made, protocol)
    with pytest.raises(
        MismatchError, match=r"the sign of its phase is opposite to the protocol.*--no-conjugate if the scan was"
    ):
        mrf.match(path, replace(dictionary, protocol=protocol), conjugate=False)


def test_its_protocol_by_the_command(tmp_path, made):
    path = write_variant(tmp_path / "leg.dat", made, VARIANTS["T1_mapping"])
    trains, output = write_trains(tmp_path / "trains.json"), tmp_path / "leg.toml"
    line = ["protocol", str(path), "-o", str(output), "--trains", str(trains), "--range", "FF=0:1:0.25"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    assert f"{output}: protocol leg, 48 readouts, 6 frames of 8, matrix 16, FOV 320 mm" in result.output
    derived = mrf.load_protocol(output)
    assert derived.sequence.hash == t1ff_protocol().sequence.hash
    assert derived.grid["FF"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    line[2:4] = ["-o", str(tmp_path / "other.toml"), "--heartbeat", "900"]
    refused = CliRunner().invoke(main, line)
    assert refused.exit_code == 2
    assert "--heartbeat apply to SCAN.seq" in refused.output

"""From Python: paths may be texts, values say in a line what they are, and units are checked where they are given."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import parameter_maps, small_protocol, untrained_model

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import describe_raw, read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.dictionaries import load_dictionary, load_groups, save_dictionary
from mrfpipe.files.frames import load_frames, read_frames_header, save_frames
from mrfpipe.files.maps import load_maps, read_maps_provenance, save_maps
from mrfpipe.files.provenance import Provenance, sha256_of
from mrfpipe.files.results import find_maps, save_result, scan_name
from mrfpipe.files.truth import load_reference
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.physics.simulate import fingerprints, readout_signals
from mrfpipe.protocol import Delay, Excitations, Grid, Inversion, load_protocol
from mrfpipe.run.source import load_series

N = 8
MADE = Provenance(
    command=[], inputs={}, protocol_name="p", protocol_hash="h", method="m", device="cpu", started="", duration_s=0
)


@pytest.fixture(scope="module")
def protocol():
    return small_protocol(matrix=N, df="[[0, 20, 20]]", T1H2O="[[600, 1000, 200]]")


@pytest.fixture(scope="module")
def dictionary(protocol):
    return build_dictionary(protocol, rank=3)


@pytest.fixture(scope="module")
def scan(protocol):
    sequence = protocol.sequence
    return RawScan(
        name="leg",
        kspace=np.ones((2, 3, sequence.n_readouts, sequence.n_samples), np.complex64),
        trajectory=golden_angle_spokes(sequence),
        noise=None,
        affine=np.diag([-350 / N, -350 / N, 12.0, 1.0]),
        matrix=N,
        fov=sequence.fov,
    )


@pytest.fixture(scope="module")
def series(protocol):
    return FrameSeries(
        name="leg",
        images=np.ones((2, protocol.sequence.n_frames, N, N), np.complex64),
        mask=np.ones((2, N, N), np.bool_),
        affine=np.eye(4),
        sequence_hash=protocol.sequence.hash,
    )


@pytest.fixture(scope="module")
def maps():
    image = np.full((2, N, N), 0.5, np.float32)
    fields = dict.fromkeys(("FF", "T1H2O", "T1fat", "df", "B1", "m0", "phase", "match"), image)
    mask = np.arange(2 * N * N).reshape(2, N, N) >= 28
    return parameter_maps(**fields, mask=mask)


@pytest.fixture(scope="module")
def model(protocol):
    return untrained_model(protocol)


def test_paths_may_be_texts(tmp_path, protocol, dictionary, series, maps, model):
    folder = str(tmp_path)
    save_dictionary(dictionary, f"{folder}/d.h5")
    save_frames(series, f"{folder}/f.h5", protocol=protocol, provenance=lambda: MADE)
    save_maps(maps, f"{folder}/m.h5", MADE)
    save_result(f"{folder}/out/leg", maps, MADE, force=False)
    save_model(model, f"{folder}/model")
    assert load_dictionary(f"{folder}/d.h5").rank == 3
    assert load_groups(f"{folder}/d.h5") is None
    assert load_frames(f"{folder}/f.h5").name == read_frames_header(f"{folder}/f.h5").name == "leg"
    assert load_maps(f"{folder}/m.h5").mask.sum() == 100
    assert read_maps_provenance(f"{folder}/m.h5") == MADE
    assert find_maps(f"{folder}/out") == Path(folder) / "out" / "leg" / "maps.h5"
    assert load_reference(f"{folder}/out/leg")[0].mask.sum() == 100
    assert load_model(f"{folder}/model", torch.device("cpu")).protocol_hash == protocol.hash
    assert sha256_of(f"{folder}/m.h5") == sha256_of(tmp_path / "m.h5")
    assert scan_name(f"{folder}/f.h5") == "leg"
    assert load_series(f"{folder}/f.h5", protocol, lambda stage: lambda done, total: None).n_slices == 2  # noqa: ARG005


def test_raw_scans_may_be_texts(tmp_path, scan, protocol):
    path = str(tmp_path / "leg.h5")
    write_ismrmrd(scan, protocol.sequence, path)
    assert read_raw(path, protocol.sequence).n_coils == describe_raw(path)["coils"] == 3


def test_values_say_in_a_line_what_they_are(protocol, dictionary, scan, series, maps, model):
    assert repr(load_protocol("t1ff")) == (
        "<Protocol t1ff: 1400 readouts in 175 frames, matrix 350, 7,182,000 entries>"
    )
    assert repr(dictionary).startswith("<Dictionary of t1ff-small, spoiled: 660 entries, rank 3 with 99.")
    assert repr(scan) == "<RawScan leg: 2 slice(s), 3 coils, 1400 readouts of 16 samples, matrix 8, FOV 350 mm>"
    assert repr(series) == "<FrameSeries leg: 2 slice(s), 175 frames, 8 x 8>"
    assert repr(maps) == (
        "<ParameterMaps 2 x 8 x 8 (slices, y, x), 100 voxels inside the mask; "
        "means: FF 0.5, T1H2O 500 ms, T1fat 500 ms, df 0.5 Hz, B1 0.5>"
    )
    assert repr(model) == (
        f"<TrainedModel of protocol {protocol.hash[:12]}: {model.architecture.n_parameters:,} parameters, reads frames>"
    )


def test_a_protocol_with_replaced_values_is_saved_so_that_it_can_be_read(tmp_path, protocol, dictionary, series):
    grid = Grid(axes={**protocol.grid, "FF": protocol.grid["FF"] / 2})
    changed = dataclasses.replace(protocol, grid=grid)
    save_dictionary(dataclasses.replace(dictionary, protocol=changed), tmp_path / "d.h5")
    assert load_dictionary(tmp_path / "d.h5").protocol.hash == changed.hash != protocol.hash


def test_what_no_protocol_can_say_is_refused_when_it_is_made(protocol):
    with pytest.raises(ValueError, match=r"^The efficiency of an inversion must be from 0 to 1, not 1\.2\.$"):
        protocol.sequence.with_blocks(Inversion, efficiency=1.2)
    with pytest.raises(ValueError, match=r"^A duration must be 0 or more and finite, not -1 s\.$"):
        protocol.sequence.with_blocks(Delay, duration=-1.0)
    with pytest.raises(ValueError, match=r"^Every echo time must lie between its pulse and the next"):
        protocol.sequence.with_blocks(Excitations, te=protocol.sequence.tr)


@pytest.mark.parametrize("simulate", [fingerprints, readout_signals])
def test_t1_in_ms_is_refused_by_the_simulators(protocol, simulate):
    right = {"FF": 0.2, "T1H2O": 1.4, "T1fat": 0.3, "df": 0.0, "B1": 1.0}
    values = {name: np.array([value]) for name, value in right.items()}
    for name, wrong in (("T1H2O", 1400.0), ("T1fat", 300.0)):
        complaint = rf"^{name} goes to {wrong:g}, and no T1 is above 100 in SI units; give T1 and T2 in s, not in ms\.$"
        with pytest.raises(ValueError, match=complaint):
            simulate(protocol, values | {name: np.array([wrong])})
    with pytest.raises(ValueError, match=r"^There are no values of df\.$"):
        simulate(protocol, {name: value for name, value in values.items() if name != "df"})


@pytest.mark.parametrize("simulate", [fingerprints, readout_signals])
def test_wrong_parameters_are_refused_by_the_simulators(simulate):
    fisp = load_protocol("fisp")
    values = {"T1": np.array([1.0]), "T2": np.array([0.06]), "B1": np.array([1.0])}
    for wrong, complaint in (
        (
            {"T2": np.array([60.0])},
            r"^T2 goes to 60, and no T2 is above 10 in SI units; give T1 and T2 in s, not in ms\.$",
        ),
        ({"T1": 1.0}, r"^T1 has shape \(\), expected \(voxels\)\.$"),
        ({"df": np.array([20.0])}, r"^Protocol 'fisp' has no parameter 'df'; it has T1, T2, B1\.$"),
    ):
        with pytest.raises(ValueError, match=complaint):
            simulate(fisp, values | wrong)

"""A FISP sequence of a thousand spirals that others wrote for a scanner (OpenMRF, Pulseq 1.5), on vials of T1 and T2.

A hundred readouts of noise, an adiabatic inversion, flip angles up to 70 degrees. The scan is as a scanner that plays
Pulseq files stores it: no counters, no trajectory, and a header of another sequence. What it lacks is the sequence's.
"""

from pathlib import Path

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
from vials import AT_MOST, N_COILS, errors, needs, run, scanned

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.physics.simulate import fingerprints, signal_model

FOREIGN = Path(__file__).parents[2].parent / "shared" / "foreign"
SEQUENCE, SIGNALS = FOREIGN / "openmrf_mrf.seq", FOREIGN / "mrzero" / "openmrf_vials_signals.npz"
FOV, N_NOISE, N_SAMPLES, SNR = 0.256, 100, 3072, 4000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SEQUENCE.exists(), reason="the sequences of others are not beside this checkout"),
]


@pytest.fixture(scope="module")
def protocol():
    return protocol_from_pulseq(SEQUENCE)


def test_flip_angles_and_times_are_those_that_the_simulator_reads(protocol):
    """To the microsecond of the protocol, and the 1/2**23 s to which the simulator's are rounded."""
    sequence = protocol.sequence
    with np.load(SIGNALS) as theirs:
        np.testing.assert_allclose(sequence.flip, theirs["flip"][1:], atol=1e-5)
        np.testing.assert_allclose(sequence.te, theirs["te"], atol=1.2e-6)
        np.testing.assert_allclose(sequence.tr[:-1], theirs["tr"][1:-1], atol=1.2e-6)
        assert sequence.inversion_time == pytest.approx(theirs["tr"][0], abs=1.2e-6)


def test_fingerprints_are_those_of_the_simulator(protocol):
    """What coils receive of the vials' sum at the centre of k-space.

    The simulator leaves out states of less than a thousandth, of which there are tens: 0.3 % of the norm.
    """
    with np.load(SIGNALS) as theirs:
        t1, t2, df, b1 = theirs["V"].T
        assert not df.any()
        assert (b1 == 1).all()
        ours = fingerprints(protocol, {"T1": t1 * 1e-3, "T2": t2 * 1e-3}, model=signal_model(protocol))
        expected, got = theirs["s"], -1j * ours.T @ theirs["w"]
    assert np.linalg.norm(got - expected) < 3e-3 * np.linalg.norm(expected)


def write_scan(path: Path) -> None:
    """Store the scan as a scanner does that knows nothing of the sequence it plays."""
    signals = scanned(SEQUENCE, FOV).reshape(-1, N_SAMPLES, N_COILS).transpose(0, 2, 1)
    rng, sd = np.random.default_rng(0), np.abs(signals[:, :, 0]).mean() / SNR
    silence = np.zeros((N_NOISE, N_COILS, N_SAMPLES))
    measured = np.concatenate([silence, signals])
    measured = measured + sd / np.sqrt(2) * (rng.standard_normal((*measured.shape, 2)) @ [1, 1j])
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=64, y=64, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=300, y=300, z=5)
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=127729200),
        sequenceParameters=xsd.sequenceParametersType(TR=[100.0], TE=[10.0], flipAngle_deg=[15.0]),
        encoding=[
            xsd.encodingType(
                encodedSpace=space,
                reconSpace=space,
                trajectory=xsd.trajectoryType.CARTESIAN,
                encodingLimits=xsd.encodingLimitsType(),
            )
        ],
    )
    file = ismrmrd.Dataset(str(path))
    file.write_xml_header(xsd.ToXML(header))
    for readout in measured:
        file.append_acquisition(ismrmrd.Acquisition.from_array(readout.astype(np.complex64)))
    file.close()


@needs("MRzeroCore")
def test_three_commands_lead_to_the_vials_t1_and_t2(tmp_path):
    (tmp_path / SEQUENCE.name).symlink_to(SEQUENCE)
    write_scan(tmp_path / "vials.h5")
    run("protocol", SEQUENCE, "-o", tmp_path / "openmrf.toml")
    run("simulate", tmp_path / "openmrf.toml", "-o", tmp_path / "dictionary.h5")
    run(
        "match",
        tmp_path / "vials.h5",
        *("-d", tmp_path / "dictionary.h5", "-o", tmp_path, "--recon", "subspace", "--nufft", "finufft"),
    )
    for name, error in errors(tmp_path / "vials").items():
        assert np.abs(error).max() < AT_MOST[name], (name, error)

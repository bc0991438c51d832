"""Cardiac fingerprinting by spirals, as others write it (mrseq 0.260810, Pulseq 1.5), on vials of T1 and T2.

Fifteen heartbeats of 47 spirals after an adiabatic inversion, nothing, or a T2 preparation of composite pulses; each
waits for a trigger and a soft delay, which last what the file says. The scan is written by the simulator: trajectory in
three dimensions, of a unit that it does not declare, a noise measurement of zeros, and a header without flip angles.
"""

from pathlib import Path

import numpy as np
import pytest
from vials import AT_MOST, errors, needs, run, scanned

from mrfpipe.protocol import Inversion, Pulses, load_protocol

FOV, MATRIX = 0.128, 128

pytestmark = [pytest.mark.slow, needs("MRzeroCore", "mrseq")]


def write_sequence() -> Path:
    """Write the sequence into the current folder, to lie beside the scan."""
    from mrseq.sequences.t1_t2_spiral_cmrf import main

    _, path = main(show_plots=False, test_report=False, timing_check=False, v141_compatibility=False)
    return path.with_suffix(".seq").rename("cmrf.seq")


def write_scan(sequence: Path, path: Path) -> None:
    import MRzeroCore
    import pypulseq
    import torch

    played = pypulseq.Sequence()
    played.read(str(sequence))
    played.set_definition("RES", [MATRIX, MATRIX, 1])
    MRzeroCore.sig_to_mrd(str(path), torch.tensor(scanned(sequence, FOV)), played)


@pytest.mark.filterwarnings("default")
def test_three_commands_lead_to_the_vials_t1_and_t2(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written, scan, protocol, dictionary = write_sequence(), Path("vials.h5"), Path("cmrf.toml"), Path("dictionary.h5")
    write_scan(written, scan)
    run("protocol", written, "-o", protocol)
    sequence = load_protocol(protocol).sequence
    assert sequence.n_readouts == 15 * 47
    assert sum(isinstance(block, Inversion) for block in sequence.blocks) == 3
    assert sum(block.flip.size for block in sequence.blocks if isinstance(block, Pulses)) == 9 * 15
    run("simulate", protocol, "-o", dictionary)
    done = run("match", scan, "-d", dictionary, "-o", ".", "--recon", "subspace", "--nufft", "finufft")
    assert "is taken to be in 1/m, which fits" in done
    assert "1 noise measurement(s) of nothing but zeros are left out" in done
    for name, error in errors(tmp_path / "vials").items():
        assert np.abs(error).max() < AT_MOST[name], (name, error)

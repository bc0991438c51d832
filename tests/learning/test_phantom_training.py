"""A training on phantoms: what is left of it when it is interrupted."""

import pytest
import torch

from mrfpipe.learning.model import load_model
from mrfpipe.physics.simulate import SPOILED
from mrfpipe.protocol import load_protocol
from mrfpipe.run import phantoms
from mrfpipe.run.phantoms import CARD, PhantomTrainingJob


def test_a_network_is_there_before_it_is_scored(monkeypatch, tmp_path, make_model):
    """Scoring takes long: an interruption then must cost neither the network nor the checkpoint."""
    model, checkpoint = make_model(), tmp_path / "m.checkpoint"

    def trained(*_examples, **_settings):
        checkpoint.write_bytes(b"all epochs")
        return model

    def interrupted(*_given):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantoms, "SimulatedScanner", type("Scanner", (), {"of": lambda *_a, **_k: None}))
    monkeypatch.setattr(phantoms, "Source", lambda *_given: None)
    monkeypatch.setattr(phantoms, "kept_examples", lambda *_given: [])
    monkeypatch.setattr(phantoms, "train_corrections", trained)
    monkeypatch.setattr(phantoms, "measure", interrupted)
    job = PhantomTrainingJob(
        n_phantoms=4,
        target=tmp_path / "m",
        preset="small",
        protocol=load_protocol("t1ff-small"),
        signal_model=SPOILED,
        n_epochs=None,
        seed=0,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
        resume=False,
        log=None,
        force=False,
    )
    with pytest.raises(KeyboardInterrupt):
        job.run(lambda _stage: lambda _done, _total: None, lambda *_epoch: None)
    assert load_model(tmp_path / "m").protocol_hash == model.protocol_hash
    assert checkpoint.exists()
    assert not (tmp_path / "m" / CARD).exists()

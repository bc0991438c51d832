"""The journal: one line an epoch, whole whatever happens."""

import json
import sys
from types import ModuleType

import pytest

from mrfpipe.errors import InputError, ResourceError
from mrfpipe.learning.journal import Journal


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_epoch_is_a_line_and_nan_is_null(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    with Journal(path) as journal:
        journal.write({"epoch": 1, "loss": 0.5, "validation": {"explained_variance": {"df": float("nan"), "FF": 0.25}}})
        journal.write({"epoch": 2, "loss": 0.25})
    assert lines(path) == [
        {"epoch": 1, "loss": 0.5, "validation": {"explained_variance": {"df": None, "FF": 0.25}}},
        {"epoch": 2, "loss": 0.25},
    ]


@pytest.mark.parametrize("torn", ["", '{"epoch": 4, "lo', '{"epoch": 1}', "7"])
def test_what_was_not_kept_is_dropped_when_a_training_is_taken_up_again(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"epoch": {n}}}\n' for n in (1, 2, 3)) + torn)
    with Journal(path, n_done=2) as journal:
        journal.write({"epoch": 3, "loss": 0.125})
    assert lines(path) == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "loss": 0.125}]


@pytest.mark.parametrize("text", ["Dear diary\n{}\n", "Dear diary\n", "Dear diary", '{"name": 1}'])
def test_another_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "diary.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"diary\.txt, line 1, is not of a training's log; move"):
        Journal(path)
    assert path.read_text() == text


@pytest.mark.parametrize("torn", ["{", '{"epoch": 1, "lo'])
def test_a_log_that_ends_in_its_first_line_is_written_anew(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_text(torn)
    with Journal(path) as journal:
        journal.write({"epoch": 1})
    assert lines(path) == [{"epoch": 1}]


@pytest.mark.parametrize("name", [".", "diary.txt/log.jsonl"])
def test_a_log_that_cannot_be_written_is_told_in_a_line(tmp_path, name):
    (tmp_path / "diary.txt").touch()
    with pytest.raises(ResourceError, match=r"The log .* cannot be written: .*; choose another --log\."):
        Journal(tmp_path / name)


def test_without_tensorboard_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ResourceError, match=r"not installed; pip install 'mrfpipe\[tensorboard\]'"):
        Journal(None, tmp_path)


def test_tensorboard_gets_every_number_by_its_path(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with Journal(None, tmp_path, n_done=3) as journal:
        journal.write({"epoch": 4, "loss": 0.5, "validation": {"explained_variance": {"FF": 1}}})
    assert written == [(str(tmp_path), 4), ("loss", 0.5, 4), ("validation/explained_variance/FF", 1.0, 4), "closed"]

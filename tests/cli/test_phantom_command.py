import shlex

import pytest

from mrfpipe.acquisition import ismrmrd_writer


@pytest.fixture
def line(study, tmp_path):
    return ("phantom", tmp_path / "my scans" / "a.h5", "--protocol", study / "small.toml", "--coils", 1)


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["new", "again"])
def test_an_interrupted_phantom_leaves_no_truth_of_a_scan_that_is_not_there(run, line, monkeypatch, force):
    scan = line[1]
    truth = scan.with_name("a.truth.npz")
    if force:
        run(*line)
    before = {path: path.read_bytes() for path in (scan, truth) if path.exists()}

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(ismrmrd_writer, "write_ismrmrd", interrupted)
    run(*line, "--seed", 1, *force, code=130)
    assert {path: path.read_bytes() for path in scan.parent.iterdir()} == before


def test_the_next_command_can_be_typed_although_the_folder_has_a_space(run, line):
    words = shlex.split(run(*line).stderr.splitlines()[-1])
    assert words[:4] == ["next:", "mrfpipe", "match", str(line[1])]

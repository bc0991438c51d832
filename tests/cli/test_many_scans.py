"""Many scans by one command: what is done is skipped, one that fails does not stop the others, here or on a cluster."""

import os
import shutil
import signal
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import small_protocol
from mrfpipe.cli import main

from mrfpipe.run import batch, result
from mrfpipe.run.job import MapsJob

ADVICE = "replace it with --force, or choose another -o."
NAMES = ("a", "b", "c", "d")
MAPS = ("FF", "T1H2O", "T1fat", "df", "B1", "M0", "M0phase", "match", "edge", "mask")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, run):
    """Four small scans with a dictionary of their protocol."""
    folder = tmp_path_factory.mktemp("archive")
    protocol = folder / "small.toml"
    protocol.write_text(small_protocol(matrix=48).toml)
    for seed, name in enumerate(NAMES):
        run("phantom", folder / f"{name}.h5", "--protocol", protocol, "--coils", 2, "--seed", seed)
    run("simulate", protocol, "-o", folder / "dictionary.h5")
    return folder


@pytest.fixture(scope="module")
def results(archive, run):
    """The results of all scans, made on this machine."""
    run(*match(archive, archive / "results"))
    return archive / "results"


def match(archive, output, *names):
    """The words of a command that maps scans by the quickest reconstruction, which is not the default one."""
    scans = [archive / f"{name}.h5" for name in names or NAMES]
    return ("match", *scans, "-d", archive / "dictionary.h5", "-o", output, "--recon", "nufft")


def call(*words):
    """Run a command line; return its exit code, what it printed, and the lines of what it said but for the device."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    said = [line for line in result.stderr.splitlines() if not line.startswith("device: ")]
    return result.exit_code, result.stdout, said


ROUNDING = 1e-4
"""Share of a map's range by which two results of one scan may differ. Dask gives its workers one thread of BLAS, and
the product of signals and basis is summed in another order with another number of threads: float32 sums of 175 terms
then differ by some 1e-7 of the signal, and refined estimates by up to ten times as much. Another scan differs by
1e-2."""


def assert_same_maps(one, other):
    with h5py.File(one / "maps.h5") as first, h5py.File(other / "maps.h5") as second:
        np.testing.assert_array_equal(first["mask"][...], second["mask"][...])
        inside = first["mask"][...].astype(bool)
        for name in MAPS:
            values, others = first[name][...][inside].astype(float), second[name][...][inside].astype(float)
            if name == "M0phase":  # -pi and pi are one
                values, others = np.exp(1j * values), np.exp(1j * others)
            difference = np.abs(values - others)
            assert difference.max() <= ROUNDING * max(np.ptp(values.real), 1e-3), name


def hidden(folder):
    return [path for path in folder.rglob(".*") if "partial" in path.name or "old" in path.name]


def test_a_broken_scan_does_not_stop_the_others_and_they_are_not_done_again(archive, results, tmp_path):
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "broken.h5").write_text("hello")
    command, *scans = match(archive, tmp_path, "a", "b")
    line = (command, tmp_path / "broken.h5", tmp_path / "none.h5", *scans)
    before = (tmp_path / "a" / "maps.h5").stat().st_mtime_ns
    code, stdout, stderr = call(*line)
    assert code == 3
    assert stdout.startswith(f"{tmp_path / 'b'}: ")
    expected = "a raw scan or a frames file was expected; check the path."
    assert stderr[0] == f"mrfpipe: {tmp_path / 'none.h5'} does not exist, {expected}"
    assert stderr[1].startswith(f"mrfpipe: {tmp_path / 'broken.h5'}")
    assert stderr[2] == f"skipped: {tmp_path / 'a'} is finished; replace it with --force"
    failed = f"{tmp_path / 'none.h5'}, {tmp_path / 'broken.h5'}"
    assert stderr[3:] == [f"mrfpipe: 1 done, 1 skipped, 2 failed: {failed}"]
    assert (tmp_path / "a" / "maps.h5").stat().st_mtime_ns == before
    assert_same_maps(tmp_path / "b", results / "b")
    assert not hidden(tmp_path)


def test_what_is_done_is_skipped_and_force_makes_it_again(archive, results):
    code, stdout, stderr = call(*match(archive, results))
    assert (code, stdout, stderr[4]) == (0, "", "0 done, 4 skipped, 0 failed")
    assert call(*match(archive, results, "a"))[0] == 0
    before = (results / "a" / "maps.h5").stat().st_ino
    code, stdout, _ = call(*match(archive, results, "a"), "--force")
    assert (code, stdout[: len(str(results))]) == (0, str(results))
    assert (results / "a" / "maps.h5").stat().st_ino != before


def test_another_scan_dictionary_method_or_layout_is_not_taken_for_done(archive, results, tmp_path):
    shutil.copytree(results, tmp_path / "out")
    for name in NAMES:
        shutil.copy(archive / f"{name}.h5", tmp_path)
    shutil.copy(archive / "dictionary.h5", tmp_path)
    assert call(*match(tmp_path, tmp_path / "out"))[0] == 0, "the same bytes elsewhere are the same"
    shutil.copy(archive / "b.h5", tmp_path / "a.h5")
    code, stdout, stderr = call(*match(tmp_path, tmp_path / "out"))
    assert (code, stdout) == (5, "")
    assert stderr[0] == (
        f"mrfpipe: {tmp_path / 'out/a'} is the result of another scan, {archive / 'a.h5'}; choose another -o, such as "
        f"{tmp_path / 'out' / tmp_path.name}-a."
    )
    assert stderr[-1] == f"mrfpipe: 0 done, 3 skipped, 1 failed: {tmp_path / 'a.h5'}"
    code, _, stderr = call(*match(tmp_path, tmp_path / "out", "b"), "--method", "brute")
    assert (code, stderr[0]) == (
        5,
        f"mrfpipe: {tmp_path / 'out/b'} exists already, made with other settings (method); {ADVICE}",
    )
    with h5py.File(tmp_path / "dictionary.h5", "r+") as file:
        file.attrs["another"] = 1
    assert call(*match(tmp_path, tmp_path / "out", "b"))[0] == 5


def test_failures_of_several_kinds_end_as_invalid_input(archive, results, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "maps.h5").write_text("mine")
    (tmp_path / "broken.h5").write_text("hello")
    command, *scans = match(archive, tmp_path, "a")
    code, _, stderr = call(command, tmp_path / "broken.h5", *scans)
    assert (code, stderr[-1].split(": ")[1]) == (3, "0 done, 0 skipped, 2 failed")
    assert (tmp_path / "a" / "maps.h5").read_text() == "mine"


def test_frames_of_several_scans_go_to_a_folder(archive, tmp_path):
    (tmp_path / "broken.h5").write_text("hello")
    line = ("frames", archive / "a.h5", tmp_path / "broken.h5", "--protocol", archive / "small.toml", "-o", tmp_path)
    code, stdout, stderr = call(*line)
    assert (code, stdout.partition(":")[0]) == (3, str(tmp_path / "a.frames.h5"))
    assert stderr[-1] == f"mrfpipe: 1 done, 0 skipped, 1 failed: {tmp_path / 'broken.h5'}"
    shutil.copy(archive / "b.h5", tmp_path / "broken.h5")
    code, stdout, stderr = call(*line)
    assert (code, stdout.partition(":")[0]) == (0, str(tmp_path / "broken.frames.h5"))
    assert stderr[:2] == [
        f"skipped: {tmp_path / 'a.frames.h5'} is finished; replace it with --force",
        "1 done, 1 skipped, 0 failed",
    ]
    other = ("frames", archive / "b.h5", "--protocol", archive / "small.toml", "-o", tmp_path / "a.frames.h5")
    assert call(*other)[0] == 5


def test_frames_of_one_scan_go_to_a_folder_that_is_there(archive, tmp_path):
    line = ("frames", archive / "a.h5", "--protocol", archive / "small.toml", "-o", tmp_path)
    assert call(*line)[1].startswith(f"{tmp_path / 'a.frames.h5'}: ")
    assert call(*line)[2][0] == f"skipped: {tmp_path / 'a.frames.h5'} is finished; replace it with --force"


def test_ctrl_c_keeps_what_is_done(archive, tmp_path, monkeypatch):
    run_match = MapsJob.run

    def interrupted_at_b(job, progress):
        if job.source.name == "b.h5":
            raise KeyboardInterrupt
        return run_match(job, progress)

    monkeypatch.setattr(MapsJob, "run", interrupted_at_b)
    code, _, stderr = call(*match(archive, tmp_path))
    assert code == 130
    assert stderr == ["mrfpipe: interrupted; 1 of 4 scans are finished and kept; no result is incomplete."]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_a_result_that_another_run_makes_meanwhile_is_skipped(archive, results, tmp_path, monkeypatch):
    run_match = MapsJob.run

    def run_after_another(job, progress):
        shutil.copytree(results / "a", job.target)
        return run_match(job, progress)

    monkeypatch.setattr(MapsJob, "run", run_after_another)
    code, stdout, stderr = call(*match(archive, tmp_path, "a"))
    assert (code, stdout) == (0, "")
    assert stderr[0] == f"skipped: {tmp_path / 'a'} is finished; replace it with --force"


def test_without_dask_scheduler_is_an_error(archive, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run(*match(archive, tmp_path), "--scheduler", "tcp://127.0.0.1:9", code=6)
    assert "pip install 'mrfpipe[cluster]'" in result.stderr


class Sabotage:
    """On every worker: logs the results that are written, and kills the worker where a file in `folder` asks for it."""

    def __init__(self, folder):
        self.folder = folder

    def setup(self, worker):  # noqa: ARG002 - distributed's signature
        run, draw = MapsJob.run, result.save_picture

        def watched_run(job, progress):
            text = run(job, progress)
            with (self.folder / "log").open("a") as log:
                log.write(f"{job.source.stem}\n")
            self.maybe_kill(f"after-{job.source.stem}")
            return text

        def watched_draw(picture, path):
            draw(picture, path)
            self.maybe_kill(f"amid-{path.parent.name.split('.')[1]}")

        MapsJob.run, result.save_picture = watched_run, watched_draw

    def maybe_kill(self, when):
        try:
            (self.folder / when).rename(self.folder / f"{when}-{os.getpid()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def sabotage(tmp_path_factory):
    """The folder of `Sabotage`."""
    return tmp_path_factory.mktemp("sabotage")


@pytest.fixture(scope="module")
def cluster(sabotage, forks):
    """The address of a cluster of two worker processes, started anew when they die."""
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(type("Plugin", (Sabotage, distributed.WorkerPlugin), {})(sabotage))
        yield cluster.scheduler_address


def begin(sabotage, *kills):
    """Ask for workers to be killed, and begin the log anew."""
    for path in sabotage.iterdir():
        path.unlink()
    for when in kills:
        (sabotage / when).touch()


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_worker_killed_amid_a_scan_costs_nothing(archive, results, cluster, sabotage, tmp_path):
    begin(sabotage, "amid-b")
    code, stdout, stderr = call(*match(archive, tmp_path), "--scheduler", cluster)
    assert code == 0, stderr
    assert stderr[0] == f"4 scan(s) for 2 worker(s) at {cluster}"
    assert stderr[1] == "4 done, 0 skipped, 0 failed"
    assert sorted(line.partition(":")[0] for line in stdout.splitlines() if "voxels" in line) == [
        str(tmp_path / name) for name in NAMES
    ]
    assert [path.name.rpartition("-")[0] for path in sabotage.glob("amid-*")] == ["amid-b"], "a worker was killed"
    assert sorted((sabotage / "log").read_text().split()) == list(NAMES)
    for name in NAMES:
        assert_same_maps(tmp_path / name, results / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == list(NAMES), "nothing half-written is left behind"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_worker_killed_after_a_scan_does_not_have_it_made_twice(archive, results, cluster, sabotage, tmp_path):
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    begin(sabotage, "after-c")
    code, stdout, stderr = call(*match(archive, tmp_path), "--scheduler", cluster, "--force")
    assert (code, stderr[1]) == (0, "4 done, 0 skipped, 0 failed")
    assert f"{tmp_path / 'c'}: done before its worker was lost" in stdout
    assert sorted((sabotage / "log").read_text().split()) == list(NAMES)
    assert not hidden(tmp_path)


@pytest.mark.slow
def test_a_cluster_skips_goes_on_and_tells_as_this_machine_does(archive, results, cluster, sabotage, tmp_path):
    begin(sabotage)
    shutil.copytree(results / "a", tmp_path / "out" / "a")
    (tmp_path / "broken.h5").write_text("hello")
    command, *words = match(archive, tmp_path / "out", "a", "b")
    code, stdout, stderr = call(command, tmp_path / "broken.h5", *words, "--scheduler", cluster)
    assert (code, stdout.partition(":")[0]) == (3, str(tmp_path / "out" / "b"))
    assert f"skipped: {tmp_path / 'out' / 'a'} is finished; replace it with --force" in stderr
    assert any(line.startswith(f"mrfpipe: {tmp_path / 'broken.h5'}") for line in stderr)
    assert stderr[-1] == f"mrfpipe: 1 done, 1 skipped, 1 failed: {tmp_path / 'broken.h5'}"


@pytest.mark.slow
def test_frames_on_a_cluster(archive, cluster, tmp_path):
    line = ("frames", archive / "a.h5", archive / "b.h5", "--protocol", archive / "small.toml", "-o", tmp_path)
    code, _, stderr = call(*line, "--scheduler", cluster, "--threads", 1)
    assert (code, stderr[1]) == (0, "2 done, 0 skipped, 0 failed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.frames.h5", "b.frames.h5"]


def test_workers_with_another_mrfpipe_are_refused(archive, cluster, run, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "__version__", "9.9")
    result = run(*match(archive, tmp_path), "--scheduler", cluster, code=6)
    assert "does not have mrfpipe 9.9 installed (0.1.0); install the version of this machine there" in result.stderr


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_a_scheduler_that_cannot_be_reached(archive, run, tmp_path, monkeypatch, address):
    pytest.importorskip("distributed")
    monkeypatch.setattr(batch, "CONNECT_S", 1)
    result = run(*match(archive, tmp_path), "--scheduler", address, code=6)
    assert f"The scheduler {address} cannot be reached" in result.stderr

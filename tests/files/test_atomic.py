import errno
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mrfpipe.errors import OutputExistsError, ResourceError
from mrfpipe.files.atomic import refuse_existing, writing


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def fill(path: Path, *, force: bool = False, text: str = "new") -> None:
    with writing(path, force=force) as partial:
        partial.write_text(text)


def fill_folder(path: Path, *, force: bool = False, text: str = "new") -> None:
    with writing(path, force=force, marker="result.txt") as partial:
        (partial / "result.txt").write_text(text)


def test_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "er" / "out.nii.gz"
    with writing(path, force=False) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent
        assert partial.name.startswith(".out.")
        assert partial.name.endswith(".nii.gz")
        assert str(os.getpid()) in partial.name
    assert path.read_text() == "half"
    assert names(path.parent) == ["out.nii.gz"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("writer", [fill, fill_folder])
def test_failure_leaves_what_was_there(tmp_path, error, writer):
    path = tmp_path / "out.h5"
    writer(path, text="old")
    context = writing(path, force=True) if writer is fill else writing(path, force=True, marker="result.txt")
    with pytest.raises(error), context as partial:
        (partial if writer is fill else partial / "result.txt").write_text("half")
        raise error
    assert (path if writer is fill else path / "result.txt").read_text() == "old"
    assert names(tmp_path) == ["out.h5"]


def test_failure_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "out.h5", force=False) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_killed_run_leaves_no_half_file_under_the_final_name(tmp_path):
    script = (
        "import os, pathlib, sys\n"
        "from mrfpipe.files.atomic import writing\n"
        "with writing(pathlib.Path(sys.argv[1]), force=False) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out.h5")], check=False, timeout=60)
    assert done.returncode == -9
    assert not (tmp_path / "out.h5").exists()
    assert [n.startswith(".out.") for n in names(tmp_path)] == [True]
    fill(tmp_path / "out.h5")
    assert names(tmp_path) == ["out.h5"], "what the killed run left is gone"


def test_what_other_runs_still_write_is_let_be(tmp_path):
    """A process that lives, a host that cannot be asked and a name that only looks alike; not what is a day old."""
    with writing(tmp_path / "out", force=False, marker="result.txt") as partial:
        living = partial.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
        host = partial.name.split(".")[2].split("-")[0]
        elsewhere, abandoned, alike = (partial.name.replace(host, other) for other in ("0" * 8, "1" * 8, "other"))
    for name in (living, elsewhere, abandoned, alike):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / abandoned, (0, 0))
    shutil.rmtree(tmp_path / "out")
    fill_folder(tmp_path / "out")
    assert names(tmp_path) == sorted([living, elsewhere, alike, "out"])


def test_two_threads_do_not_write_to_one_name(tmp_path):
    def write(text: str) -> None:
        with suppress(OutputExistsError, ResourceError), writing(path, force=False, marker="a") as partial:
            (partial / "a").write_text(text)
            both.wait(timeout=10)
            (partial / "b").write_text(text)

    path, both = tmp_path / "out", threading.Barrier(2)
    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (path / "a").read_text() == (path / "b").read_text()
    assert names(tmp_path) == ["out"]


def test_existing_output_is_refused_before_the_block_runs(tmp_path):
    path = tmp_path / "out.h5"
    fill(path, text="old")
    with pytest.raises(OutputExistsError, match=r"out\.h5 exists already; replace it with --force"):
        refuse_existing(path, force=False)
    with pytest.raises(OutputExistsError), writing(path, force=False):
        pytest.fail("the block must not run")
    assert path.read_text() == "old"
    fill(path, force=True)
    assert path.read_text() == "new"


def test_output_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "out.h5"
    with pytest.raises(OutputExistsError), writing(path, force=False) as partial:
        partial.write_text("new")
        path.write_text("of another run")
    assert path.read_text() == "of another run"
    assert names(tmp_path) == ["out.h5"]


def test_existing_folder_is_swapped_whole(tmp_path):
    path = tmp_path / "scan"
    fill_folder(path, text="old")
    (path / "picture.png").write_text("old")
    with pytest.raises(OutputExistsError, match="--force"):
        fill_folder(path)
    with writing(path, force=True, marker="result.txt") as partial:
        (partial / "result.txt").write_text("new")
        assert (path / "result.txt").read_text() == "old"
    assert names(path) == ["result.txt"]
    assert names(tmp_path) == ["scan"]


def test_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match=r"without result\.txt"):
        fill_folder(tmp_path / "thesis", force=True)
    with pytest.raises(OutputExistsError, match="is a folder"):
        fill(tmp_path / "thesis", force=True)
    with pytest.raises(OutputExistsError, match="is a file"):
        fill_folder(tmp_path / "thesis" / "chapter.tex", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    fill_folder(tmp_path / "empty", force=True)


def test_device_is_never_replaced():
    with pytest.raises(OutputExistsError, match="not a regular file"):
        fill(Path(os.devnull), force=True)
    assert Path(os.devnull).is_char_device()


def test_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.h5").symlink_to(tmp_path / "disk" / "real.h5")
    fill(tmp_path / "out.h5")
    fill(tmp_path / "out.h5", force=True, text="newer")
    assert (tmp_path / "out.h5").is_symlink()
    assert (tmp_path / "disk" / "real.h5").read_text() == "newer"


@pytest.mark.parametrize("below", ["file/out.h5", "file/deep/out.h5"])
def test_path_through_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"out\.h5 cannot be written: a part of its path is a file"):
        refuse_existing(tmp_path / below, force=False)
    with pytest.raises(ResourceError):
        fill(tmp_path / below)


def test_path_through_a_folder_that_is_not_there_is_refused_and_what_lies_behind_is_kept(tmp_path):
    fill(tmp_path / "out.h5", text="mine")
    for path in (tmp_path / "none" / ".." / "out.h5", tmp_path / "none" / ".."):
        with pytest.raises(ResourceError, match="cannot be written: its path leads through a folder that does not"):
            fill(path)
    assert (tmp_path / "out.h5").read_text() == "mine"
    fill(tmp_path / ".." / tmp_path.name / "new.h5")
    assert (tmp_path / "new.h5").read_text() == "new"


def test_folder_that_takes_no_files_is_refused():
    with pytest.raises(ResourceError, match=r"out\.h5 cannot be written"):
        fill(Path("/proc/self/out.h5"))


def test_name_too_long_is_refused(tmp_path):
    with pytest.raises(ResourceError, match="name is too long"):
        fill(tmp_path / ("x" * 300))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space or choose another -o"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "not writable"),
        (
            OSError("file write failed: time = now\nfilename = 'x', errno = 28, error message = 'No space"),
            "free some space",
        ),
        (RuntimeError("Disable slist on flush failed (file write failed\n, errno = 28, buf = 0x0"), "free some space"),
        (OSError("something odd of HDF5"), "something odd"),
    ],
)
def test_disk_errors_are_one_line_with_path_and_cure(tmp_path, error, cure):
    with pytest.raises(ResourceError, match=cure) as caught, writing(tmp_path / "out.h5", force=False) as partial:
        partial.write_text("half")
        raise error
    assert str(tmp_path / "out.h5") in str(caught.value)
    assert "partial" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(errno.EPIPE, "stdout"), FileNotFoundError(errno.ENOENT, "", "input.toml"), RuntimeError("no")],
)
def test_errors_about_something_else_pass_through(tmp_path, error):
    with pytest.raises(type(error)) as caught, writing(tmp_path / "out.h5", force=False):
        raise error
    assert caught.value is error

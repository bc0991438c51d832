"""Atomic: an output appears under its name whole, or not at all.

What is written goes to a hidden name beside the output first and is renamed when it is complete, so that a run that
fails or is killed leaves no half file under a final name and an output that was there before stays as it was.

The hidden name belongs to one thread of one process of one host, so that two runs never write to the same one, be it on
a disk that many hosts share. What a killed run left there is removed by the next that makes the same output.
"""

import errno
import hashlib
import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from mrfpipe.errors import OutputExistsError, ResourceError

_CAUSES = {
    errno.ENOSPC: "no space left on the disk; free some space or choose another -o",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another -o",
    errno.EFBIG: "it grows larger than the disk or 'ulimit -f' allows; raise the limit or choose another -o",
    errno.EACCES: "its folder is not writable; change the permissions or choose another -o",
    errno.EPERM: "its folder is not writable; change the permissions or choose another -o",
    errno.EROFS: "the disk is read-only; choose another -o",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another -o",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another -o",
    errno.ENOTEMPTY: "another run has just written it; run again to see whether it is done",
    errno.ENAMETOOLONG: "its name is too long; choose another -o",
}
_NOT_OF_THE_DISK = (BrokenPipeError, ConnectionError, TimeoutError, InterruptedError, ChildProcessError)
_ABANDONED_S = 86400
"""What another host has not touched for so long, in s, was left behind by a run that is no more."""


def refuse_existing(path: Path, *, force: bool, marker: str | None = None) -> None:
    """Refuse an output that is there already or cannot be written, before any work is done for it.

    Parameters
    ----------
    path
        The output to be.
    force
        Whether an existing output may be replaced.
    marker
        If the output is a folder, a name that a folder must hold to be replaced: a folder that is something else, with
        other people's files in it, never is.

    Raises
    ------
    OutputExistsError
        If the output exists and `force` is not given, or it is something that is never replaced.
    ResourceError
        If the folder that is to hold the output is not one or is not writable.
    """
    if _exists(path):
        if marker is None and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise OutputExistsError(f"{path} is {kind} and is not replaced by a file; choose another -o.")
        if marker is not None and not path.is_dir():
            raise OutputExistsError(f"{path} is a file and is not replaced by a folder; choose another -o.")
        if marker is not None and not _replaceable(path, marker):
            raise OutputExistsError(f"{path} is a folder without {marker} and is not replaced; choose another -o.")
        if not force:  # last: --force does not help against the others
            raise OutputExistsError(f"{path} exists already; replace it with --force, or choose another -o.")
    refuse_unwritable(path)


def refuse_unwritable(path: Path) -> None:
    """Refuse an output that cannot be written, whether it is there already or not.

    ResourceError if the folder that is to hold the output is not one or is not writable.
    """
    holder = next(p for p in Path(os.path.realpath(path)).parents if _exists(p))
    if not holder.is_dir():
        raise ResourceError(f"{path} cannot be written: {_CAUSES[errno.ENOTDIR]}.")
    if not os.access(holder, os.W_OK | os.X_OK):
        raise ResourceError(f"{path} cannot be written: {_CAUSES[errno.EACCES]}.")


def require_space(path: Path, n_bytes: int) -> None:
    """Refuse an output that the disk has no room for.

    For files whose writer does not survive a full disk: the HDF5 library may crash the process.

    ResourceError if fewer than `n_bytes`, and a hundredth more, are free where `path` is to be.
    """
    holder = next(p for p in Path(os.path.realpath(path)).parents if _exists(p))
    free = shutil.disk_usage(holder).free
    if free < 1.01 * n_bytes:
        raise ResourceError(
            f"{path} cannot be written: it takes {n_bytes / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; "
            "free some space or choose another -o."
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # what cannot be looked at cannot be written either, and says so then
        return False


def _replaceable(folder: Path, marker: str) -> bool:
    try:
        return _exists(folder / marker) or not any(folder.iterdir())
    except OSError:
        return False


@contextmanager
def writing(path: str | Path, *, force: bool, marker: str | None = None) -> Iterator[Path]:
    """Write a file, or fill a folder, under a temporary name that becomes `path` when the block ends well.

    An existing folder is swapped out only then, whole: nothing of it remains.

    Parameters
    ----------
    path
        The output to be; folders missing above it are made.
    force
        Whether an existing output is replaced.
    marker
        If the output is a folder, a name that an existing one must hold to be replaced.

    Yields
    ------
        The path to write to, beside `path` and with its suffix; of a folder, an empty one.

    Raises
    ------
    OutputExistsError
        As `refuse_existing`.
    ResourceError
        If the disk does not take the output.
    """
    path = Path(path)
    refuse_existing(path, force=force, marker=marker)
    target = Path(os.path.realpath(path))
    partial = _hidden(target, "partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target, "partial")
        if marker is not None:
            partial.mkdir()
        yield partial
        refuse_existing(path, force=force, marker=marker)
        _swap_in(partial, target, force=force)
        _remove_leftovers(target, "old")
    except (OSError, RuntimeError) as e:
        cause = _cause(e, target, partial)
        if cause is None:
            raise
        raise ResourceError(f"{path} cannot be written: {cause}.") from e
    except ResourceError as e:  # from an output written inside this one: say its final name
        raise ResourceError(str(e).replace(str(partial), str(path))) from e
    finally:
        with suppress(OSError):
            _remove(partial)


def write_text(path: Path, text: str, *, force: bool = True) -> None:
    """Write a text, in place of what is there unless told otherwise; errors as of `writing`."""
    with writing(path, force=force) as partial:
        partial.write_text(text, encoding="utf-8")


def _hidden(target: Path, role: str) -> Path:
    stem, suffix = _split(target)
    return target.with_name(f".{stem}.{_host()}-{os.getpid()}-{threading.get_native_id()}.{role}{suffix}")


def _split(target: Path) -> tuple[str, str]:
    suffix = ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix
    return target.name.removesuffix(suffix), suffix


@cache
def _host() -> str:
    """Name what a process id is unique in: the host and, in a container, its own processes."""
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def _remove_leftovers(target: Path, role: str) -> None:
    """Remove what killed runs left beside an output; what a run still writes to is let be."""
    stem, suffix = map(re.escape, _split(target))
    hidden = re.compile(rf"\.{stem}\.([0-9a-f]{{8}})-(\d+)-(\d+)\.{role}{suffix}")
    for path in target.parent.iterdir():
        if (found := hidden.fullmatch(path.name)) and _abandoned(path, found[1], int(found[2]), int(found[3])):
            with suppress(OSError):
                _remove(path)


def _abandoned(path: Path, host: str, process: int, thread: int) -> bool:
    if host == _host() and os.name == "posix":  # elsewhere there is no asking for a process without harming it
        return (process, thread) == (os.getpid(), threading.get_native_id()) or not _alive(process)
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED_S
    except OSError:
        return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is someone else's, or cannot be asked
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink()


def _swap_in(partial: Path, target: Path, *, force: bool) -> None:
    if not force or not target.is_dir():
        partial.replace(target)  # a folder that another run filled this very moment is not replaced by the system
        return
    old = _hidden(target, "old")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _remove(old)


def _cause(error: OSError | RuntimeError, target: Path, partial: Path) -> str | None:
    """Say why the disk did not take the output; None if the error is about something else.

    HDF5 reports the system's error inside its own text ("file write failed: ... errno = 28"), as OSError or, from
    flush and close, as RuntimeError.
    """
    if isinstance(error, _NOT_OF_THE_DISK):
        return None
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        found = re.search(r"errno = (\d+)", str(error))
        number = int(found[1]) if found else None
    if number is None:
        return str(error).partition("\n")[0] if isinstance(error, OSError) else None
    name = getattr(error, "filename", None)
    if isinstance(name, str | bytes):
        about = Path(os.fsdecode(name)).absolute()
        if about != target and not about.is_relative_to(partial) and about not in target.parents:
            return None
    return _CAUSES.get(number, os.strerror(number).lower())

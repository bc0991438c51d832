"""Atomic: an output appears complete under its name, or not at all.

An output is first written under a hidden name in the same folder, and renamed when it is complete. A run that fails or
is killed therefore leaves no partial file under the final name, and an existing output stays as it was.

The hidden name is unique to one thread of one process on one host, so that two runs never write to the same file, even
on a disk that many hosts share. Hidden files of a killed run are removed by the next run that makes the same output.
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

from mrfpipe.errors import OutputExistsError, ResourceError, first_line

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
"""Age in s after which a hidden file of another host counts as left behind by a run that has ended."""


def refuse_existing(path: Path, *, force: bool, marker: str | None = None) -> None:
    """Refuse an output that already exists or cannot be written, before any work is done for it.

    Parameters
    ----------
    path
        Path of the output.
    force
        Whether an existing output may be replaced.
    marker
        If the output is a folder, the name of an entry that an existing folder must contain to be replaced. Any other
        folder, which may hold someone's files, is never replaced unless it is empty.

    Raises
    ------
    OutputExistsError
        If the output exists and `force` is not given, or it is something that is never replaced.
    ResourceError
        If the parent of the output is not a folder or is not writable.
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
    """Refuse an output that cannot be written, whether it exists or not.

    ResourceError if the parent of the output is not a folder or is not writable, or its path leads through a folder
    that does not exist, as in ``missing/../name``: the system does not find an output there.
    """
    if any(part.name == ".." and not _exists(part) for part in (path, *path.parents)):
        raise ResourceError(
            f"{path} cannot be written: its path leads through a folder that does not exist; choose another -o."
        )
    holder = next(p for p in Path(os.path.realpath(path)).parents if _exists(p))
    if not holder.is_dir():
        raise ResourceError(f"{path} cannot be written: {_CAUSES[errno.ENOTDIR]}.")
    if not os.access(holder, os.W_OK | os.X_OK):
        raise ResourceError(f"{path} cannot be written: {_CAUSES[errno.EACCES]}.")


def require_space(path: Path, n_bytes: int) -> None:
    """Refuse an output for which there is not enough space on the disk.

    For files whose writer does not survive a full disk: the HDF5 library may crash the process.

    ResourceError if less than `n_bytes` plus one percent is free on the disk of `path`.
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
    except OSError:  # a path that cannot be examined cannot be written either; writing raises the error
        return False


def _replaceable(folder: Path, marker: str) -> bool:
    try:
        return _exists(folder / marker) or not any(folder.iterdir())
    except OSError:
        return False


@contextmanager
def writing(path: str | Path, *, force: bool, marker: str | None = None) -> Iterator[Path]:
    """Write a file, or fill a folder, under a temporary name that becomes `path` if the block ends without an error.

    An existing folder is only then replaced, as a whole: none of its files remain.

    Parameters
    ----------
    path
        Path of the output; missing parent folders are created.
    force
        Whether an existing output is replaced.
    marker
        If the output is a folder, the name of an entry that an existing folder must contain to be replaced.

    Yields
    ------
        The path to write to, in the same folder as `path` and with its suffix; for a folder, an empty one.

    Raises
    ------
    OutputExistsError
        See `refuse_existing`.
    ResourceError
        If the output cannot be written to the disk.
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
    except ResourceError as e:  # raised by an output inside this one: name its final path
        raise ResourceError(str(e).replace(str(partial), str(path))) from e
    finally:
        with suppress(OSError):
            _remove(partial)


def write_text(path: Path, text: str, *, force: bool = True) -> None:
    """Write a text file, by default over an existing one; for the errors, see `writing`."""
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
    """Return an id of the scope in which process ids are unique: the host and, in a container, its PID namespace."""
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def _remove_leftovers(target: Path, role: str) -> None:
    """Remove hidden files that killed runs left beside an output; files of runs that are still active stay."""
    stem, suffix = map(re.escape, _split(target))
    hidden = re.compile(rf"\.{stem}\.([0-9a-f]{{8}})-(\d+)-(\d+)\.{role}{suffix}")
    for path in target.parent.iterdir():
        if (found := hidden.fullmatch(path.name)) and _abandoned(path, found[1], int(found[2]), int(found[3])):
            with suppress(OSError):
                _remove(path)


def _abandoned(path: Path, host: str, process: int, thread: int) -> bool:
    if host == _host() and os.name == "posix":  # only on POSIX can a process be probed without harming it
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
    except (OSError, OverflowError):  # it belongs to another user, or cannot be probed
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink()


def _swap_in(partial: Path, target: Path, *, force: bool) -> None:
    if not force or not target.is_dir():
        partial.replace(target)  # the system does not replace a folder that another run has just filled
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
    """Return the reason why the output could not be written; None if the error is about something else.

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
        return first_line(error) if isinstance(error, OSError) else None
    name = getattr(error, "filename", None)
    if isinstance(name, str | bytes):
        about = Path(os.fsdecode(name)).absolute()
        if about != target and not about.is_relative_to(partial) and about not in target.parents:
            return None
    return _CAUSES.get(number, os.strerror(number).lower())

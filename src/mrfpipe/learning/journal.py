"""Journal: the results of every epoch of a training, as lines of JSON and, on request, for TensorBoard."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mrfpipe.errors import InputError, ResourceError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_BEGINNING = '{"epoch": '
"""Beginning of every line, by which a log is known if a training was killed in its first line."""


class Journal:
    """Records a training while it runs; a context manager that closes the record at the end.

    Every epoch is written as one line of JSON to `log`, if given, and to the folder `board` for TensorBoard, if given.
    Lines that an existing log has for epochs after `n_done` are dropped: they come from a run that was killed before
    it saved the weights of these epochs. InputError if the existing file is not such a log; ResourceError if it cannot
    be written, or TensorBoard is requested but not installed.
    """

    def __init__(self, log: Path | None, board: Path | None = None, *, n_done: int = 0) -> None:
        self._log, self._board = log, None if board is None else _writer(board, n_done)
        if log is not None:
            with _writing(log):
                log.parent.mkdir(parents=True, exist_ok=True)
                kept = _lines(log, n_done) if log.exists() else []
                log.write_text("".join(kept), encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write an epoch: its number as ``epoch``, and named numbers or groups of them. NaN is written as null."""
        if self._log is not None:
            with _writing(self._log), self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_plain(entry), allow_nan=False) + "\n")
        if self._board is not None:
            for name, value in _flat(entry).items():
                self._board.add_scalar(name, value, entry["epoch"])
            self._board.flush()


@contextmanager
def _writing(log: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        cause = (e.strerror or str(e)).lower()
        raise ResourceError(f"The log {log} cannot be written: {cause}; choose another --log.") from e


def _lines(log: Path, n_done: int) -> list[str]:
    """Return the complete lines of the first `n_done` epochs; the last line of the file may be incomplete."""
    kept = []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            epoch = json.loads(line)["epoch"]
            if epoch <= n_done and line.endswith("\n"):
                kept.append(line)
        except (ValueError, TypeError, KeyError) as e:
            if number < len(lines) or (number == 1 and not line.startswith(_BEGINNING[: len(line)])):
                raise InputError(f"{log}, line {number}, is not of a training's log; move the file away.") from e
    return kept


def _writer(board: Path, n_done: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as e:
        raise ResourceError(
            "TensorBoard is not installed; pip install 'mrfpipe[tensorboard]', or train without it."
        ) from e
    return SummaryWriter(str(board), purge_step=n_done + 1)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        elif name != "epoch":
            flat[prefix + name] = float(value)
    return flat

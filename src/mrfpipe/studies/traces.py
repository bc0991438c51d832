"""Traces: the checkpoints and logs of a running training, one file per stage, beside the path of its result."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Traces:
    """The traces of one training."""

    path: Path
    """Path of the result; traces have the same name with an additional ending."""

    @property
    def checkpoint(self) -> Path:
        """Checkpoint of the last stage."""
        return self.path.with_name(f"{self.path.name}.checkpoint")

    @property
    def log(self) -> Path:
        """Log of the last stage."""
        return self.path.with_name(f"{self.path.name}.log")

    def most_explained(self) -> float:
        """Return the mean explained variance of the validation maps at the best epoch of the last stage."""
        *_, last = _lines(self.log)
        return float(last["validation"]["best"])

    def seconds(self) -> float:
        """Return the total duration of the epochs of all stages in s."""
        return float(sum(line["seconds"] for log in self._all(self.log) for line in _lines(log)))

    def remove(self) -> None:
        """Delete the checkpoints and logs after the training."""
        for path in list(chain(self._all(self.checkpoint), self._all(self.log))):
            path.unlink()

    def _all(self, of_last_stage: Path) -> Iterator[Path]:
        return self.path.parent.glob(f"{of_last_stage.name}*")


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())

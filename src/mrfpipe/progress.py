"""Progress: what long work tells while it runs, so that whoever called it can show how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Steps = Callable[[int, int], None]
"""Called with the number of steps done and of all."""
UNTOLD: Steps = lambda done, total: None  # noqa: ARG005, E731 - nobody watches
Progress = Callable[[str], Steps]
"""Called with the name of a stage that begins; what it returns is told the stage's steps."""
SILENT: Progress = lambda _: UNTOLD  # noqa: E731 - likewise
Epochs = Callable[[int, int, float], None]
"""Called after an epoch of a training with the number of epochs done, of all, and the epoch's loss."""


@contextmanager
def stage(progress: Progress, name: str) -> Iterator[None]:
    """Tell that a stage, of which nobody knows how far it is, has begun and, when the block ends well, is done."""
    advance = progress(name)
    advance(0, 1)
    yield
    advance(1, 1)

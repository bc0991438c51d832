"""Progress: callbacks by which long computations report how far they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Steps = Callable[[int, int], None]
"""Called with the number of steps done and the number of all steps."""
UNTOLD: Steps = lambda done, total: None  # noqa: ARG005, E731 - nobody watches
Progress = Callable[[str], Steps]
"""Called with the name of a stage that begins; the function it returns is called with the stage's steps."""
SILENT: Progress = lambda _: UNTOLD  # noqa: E731 - likewise
Epochs = Callable[[int, int, float], None]
"""Called after a training epoch with the number of epochs done, the number of all epochs, and the epoch's loss."""


@contextmanager
def stage(progress: Progress, name: str) -> Iterator[None]:
    """Report a stage of unknown progress as begun and, if the block ends without error, as done."""
    advance = progress(name)
    advance(0, 1)
    yield
    advance(1, 1)

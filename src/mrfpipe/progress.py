"""Progress: stages of which nobody knows how far they are, told like those whose steps are counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage(progress: Callable[[str], Callable[[int, int], None]], name: str) -> Iterator[None]:
    """Tell that a stage has begun and, when the block ends well, that it is done: a single step."""
    advance = progress(name)
    advance(0, 1)
    yield
    advance(1, 1)

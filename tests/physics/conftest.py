import pytest

from mrfpipe.physics import events


@pytest.fixture(autouse=True, scope="module")
def steady_at_once():
    """Once before is enough to see whether repetitions are played; short sequences would be played many times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "STEADY_AFTER", 1e-9)
        yield

import base64
import gzip
import shutil

import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import Fingerprints

SHAPE = (3, 13, 17)
"""Slices, y, x: all different, so that swapped axes show."""
FRAMES, RANK = 23, 4
HOSTILE = "</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>&amp;{{data}}"
"""What a path or a note from a file may say."""


def unpacked(text, dtype):
    """The slow twin of what the page does: number by number from its bytes."""
    dtype = np.dtype(dtype)
    raw = gzip.decompress(base64.b64decode(text))
    n = len(raw) // dtype.itemsize
    numbers = [bytes(raw[p * n + i] for p in range(dtype.itemsize)) for i in range(n)]
    return np.frombuffer(b"".join(numbers), dtype.newbyteorder("<"))


def make_maps(seed):
    """Random maps in SI units with NaN outside a lopsided mask."""
    rng = np.random.default_rng(seed)
    mask = np.ones(SHAPE, bool)
    mask[:, :2] = mask[:, :, -3:] = mask[1, 5, 6] = False
    ranges = {"FF": (0, 1), "T1H2O": (0.6, 1.6), "T1fat": (0.25, 0.35), "df": (-100, 100), "B1": (0.4, 1.0)}
    ranges |= {"m0": (1, 2), "phase": (-3, 3), "match": (0.8, 1)}
    images = {name: rng.uniform(*limits, SHAPE) for name, limits in ranges.items()}
    edge = rng.integers(0, 32, SHAPE).astype(np.uint8)
    return parameter_maps(mask=mask, edge=edge, affine=np.diag([-1.0, -1.0, 8.0, 1.0]), **images)


def random_complex(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@pytest.fixture(scope="session")
def unpack():
    return unpacked


@pytest.fixture(scope="session")
def hostile():
    return HOSTILE


@pytest.fixture(scope="session")
def maps():
    return make_maps(0)


@pytest.fixture(scope="session")
def truth():
    return make_maps(1)


@pytest.fixture(scope="session")
def fingerprints(maps):
    rng = np.random.default_rng(2)
    return Fingerprints(
        basis=np.linalg.qr(random_complex(rng, FRAMES, RANK))[0].astype(np.complex64),
        measured=random_complex(rng, int(maps.mask.sum()), RANK),
        simulated=random_complex(rng, int(maps.mask.sum()), RANK),
    )


@pytest.fixture(scope="session")
def provenance():
    return Provenance(
        command=["mrfpipe", "match", HOSTILE],
        inputs={f"/scans/{HOSTILE}.h5": "0" * 64},
        protocol_name="t1ff",
        protocol_hash="0",
        method="exact",
        device="cpu",
        started="2026-01-02T03:04:05+00:00",
        duration_s=1.0,
        notes={"remark": HOSTILE},
    )


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A Chromium without a window, that keeps what it logs."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    paths = [shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")]
    if None in paths:
        pytest.skip("Chromium and its driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update"]
    flags += ["disable-sync", "no-first-run", "window-size=1400,1300", "disable-dev-shm-usage"]
    for flag in [*flags, f"user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def firefox(tmp_path_factory):
    """A Firefox without a window."""
    pytest.importorskip("websocket", reason="websocket-client, which selenium brings along, is not installed")
    from firefox import Firefox

    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("Firefox is not installed")
    driver = Firefox(program, tmp_path_factory.mktemp("firefox"))
    yield driver
    driver.quit()

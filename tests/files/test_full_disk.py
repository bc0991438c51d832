"""A disk that fills up, in a process of its own: HDF5 is known to crash at its end after a failed flush."""

import subprocess
import sys
from pathlib import Path

import pytest

from mrfpipe.files.schemas import MAPS
from mrfpipe.files.sink import creating

SAVE_ALL = """
import sys
from pathlib import Path
import numpy as np
from mrfpipe.errors import ResourceError
from mrfpipe.files.frames import save_frames
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.results import save_result
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.protocol import load_protocol

folder = Path(sys.argv[1])
protocol = load_protocol("t1ff-small")
provenance = Provenance(command=[], inputs={}, protocol_name="p", protocol_hash="h", method="m", device="cpu",
                        started="2026-01-02T03:04:05+00:00", duration_s=1.0)
rng = np.random.default_rng(0)
shape = (2, 60, 61)
image = rng.random(shape).astype(np.float32)
maps = ParameterMaps(parameters=protocol.parameters, si=dict.fromkeys(protocol.grid, image), m0=image, phase=image,
                     match=image, edge=np.zeros(shape, np.uint8), mask=np.ones(shape, bool), affine=np.eye(4))
series = FrameSeries(name="s", images=np.ones((2, 175, 60, 61), np.complex64), mask=maps.mask, affine=np.eye(4),
                     sequence_hash=protocol.sequence.hash)
for save in (lambda: save_frames(series, folder / "frames.h5", protocol=protocol, provenance=lambda: provenance),
             lambda: save_result(folder / "scan", maps, provenance, force=False)):
    try:
        save()
    except ResourceError as e:
        print(e)
"""


def test_full_disk_is_one_line_and_leaves_nothing(small_disk):
    done = subprocess.run(
        [sys.executable, "-c", SAVE_ALL, str(small_disk)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    why = "no space left on the disk; free some space or choose another -o."
    assert done.stdout.splitlines() == [
        f"{small_disk}/{name} cannot be written: {why}" for name in ("frames.h5", "scan")
    ]
    assert list(small_disk.iterdir()) == []


def test_file_size_limit_is_one_line_and_leaves_nothing(tmp_path):
    """No file of the process may grow beyond 3 kB."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
    done = subprocess.run(
        [sys.executable, "-c", SAVE_ALL.replace("folder = ", limit + "folder = "), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("frames.h5", "scan"), strict=True):
        assert line.startswith(f"{tmp_path}/{name} cannot be written: ")
        assert "'ulimit -f'" in line
        assert line.endswith("choose another -o.")
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_hdf5_writes_is_raised_after_it(tmp_path, monkeypatch):
    class Interrupted:
        def __init__(self, raw):
            self.raw = raw

        def __getattr__(self, name):
            return getattr(self.raw, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.raw.close()

        def write(self, _data):
            raise KeyboardInterrupt

    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **kwargs: Interrupted(real_open(self, *args, **kwargs)))
    with pytest.raises(KeyboardInterrupt), creating(tmp_path / "maps.h5", MAPS) as sink:
        sink.text("provenance", "{}")

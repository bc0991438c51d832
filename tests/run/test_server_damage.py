"""Damaged streams: no crash, no hang, no wrong map, and the next client is served."""

import time

import numpy as np
import pytest
import torch
from helpers import small_protocol
from mrd_client import ConfigFile, ask, messages_of

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.choices import Imaging
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.run.mapper import MatchMapper
from mrfpipe.run.offer import Offer
from mrfpipe.run.server import Server

PROTOCOL = small_protocol(
    matrix=16, count=8, subspace_rank=5, df="[[0, 0, 1]]", T1H2O="[[600, 1600, 500]]", B1="[[0.5, 1.0, 0.25]]"
)
NOISE = 2
"""Which message is the noise measurement; a scan without one is another scan."""
HEAD = 342
"""Bytes of an acquisition before its trajectory and samples."""
KINDS = ("cut", "flip bytes", "flip bytes of heads", "forge a length", "reorder", "repeat", "leave out", "overwrite")
LONGEST_S = 60.0
"""Far more than any of these streams takes on a busy machine, far less than the limit that the server waits."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "leg.h5"
    phantom = thigh(matrix=16, fov=0.35, n_slices=2, slice_spacing=0.012, seed=0)
    write_ismrmrd(scan(phantom, PROTOCOL, n_coils=2, seed=0), PROTOCOL.sequence, path)
    return messages_of(path, ConfigFile("matching"))


@pytest.fixture(scope="module")
def server():
    mapper = MatchMapper(dictionary=build_dictionary(PROTOCOL))
    offer = Offer(dictionaries={"small": mapper}, networks={}, imaging=Imaging(correct_delays=False))
    return Server(offer=offer, device=torch.device("cpu"), say=lambda _: None)


@pytest.fixture(scope="module")
def right(server, parts):
    answer = ask(server, b"".join(parts))
    assert len(answer.images) == 2 * (5 + 4 + 5), answer.told  # maps, their quality and deviations
    return answer


def damaged(parts, kind, rng):
    """The bytes of a damaged stream, and by how many steps its images may differ; None if its samples may be others."""
    parts, content = list(parts), np.frombuffer(b"".join(parts), np.uint8).copy()
    if kind == "reorder":
        first, second = rng.integers(0, len(parts), 2)
        parts[first], parts[second] = parts[second], parts[first]
        return b"".join(parts), 0
    if kind == "repeat":
        first, second = rng.integers(0, len(parts), 2)
        # Noise that comes twice has the same covariance to rounding.
        return b"".join([*parts[:first], parts[second], *parts[first:]]), int(second == NOISE)
    if kind == "leave out":
        del parts[rng.choice([i for i in range(len(parts)) if i != NOISE])]
        return b"".join(parts), 0
    if kind == "cut":
        return content[: rng.integers(0, content.size)].tobytes(), 0
    starts = np.cumsum([0, *map(len, parts)])[:-1]
    if kind == "flip bytes":
        content[rng.integers(0, content.size, 4)] ^= np.uint8(rng.integers(1, 256))
    elif kind == "flip bytes of heads":
        of_heads = np.concatenate([np.arange(s, s + min(len(p), HEAD)) for s, p in zip(starts, parts, strict=True)])
        content[rng.choice(of_heads, 2)] ^= np.uint8(rng.integers(1, 256))
        return content.tobytes(), 0
    elif kind == "forge a length":
        at = starts[rng.integers(2, len(starts) - 1)] + 2 + rng.choice([34, 38, 174])  # samples, coils, dimensions
        content[at : at + 2] = rng.integers(0, 256, 2)
    else:
        first = rng.integers(0, content.size)
        content[first : first + rng.integers(8, 4096)] = rng.integers(0, 256)
    return content.tobytes(), None


def check(server, right, parts, kind, seed):
    content, most = damaged(parts, kind, np.random.default_rng([seed, KINDS.index(kind)]))
    began = time.monotonic()
    answer = ask(server, content)
    assert time.monotonic() - began < LONGEST_S
    assert "bug of mrfpipe" not in answer.told, (kind, seed, answer.told)
    assert answer.closed
    assert "\n" not in answer.told
    if not answer.images:
        assert answer.texts == [answer.told[: len(answer.texts[0])]]
    else:
        assert len(answer.images) == len(right.images)
        if most is not None:
            for one, other in zip(answer.images, right.images, strict=True):
                assert np.abs(one.data.astype(int) - other.data).max() <= most, (kind, seed)
    return bool(answer.images)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_streams(server, right, parts, kind):
    for seed in range(4):
        check(server, right, parts, kind, seed)
    served = ask(server, b"".join(parts))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(served.images, right.images, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_streams(server, right, parts, kind):
    """1,000 in all; after each the next client is served, and right."""
    for seed in range(100, 225):
        if check(server, right, parts, kind, seed):
            continue  # it was served itself
        served = ask(server, b"".join(parts))
        assert all(np.array_equal(a.data, b.data) for a, b in zip(served.images, right.images, strict=True))

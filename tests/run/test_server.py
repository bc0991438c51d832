"""Scans that are streamed while they are measured: the maps of the file, whatever clients do."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import ismrmrd
import numpy as np
import pytest
import torch
from helpers import small_protocol
from mrd_client import CLOSE, Answer, ConfigFile, ConfigText, ask, message, messages_of, receive

from mrfpipe.acquisition.ismrmrd_stream import LONGEST_ACQUISITION, LONGEST_TEXT, StreamedScan
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import ResourceError
from mrfpipe.files.mrd_images import images_of
from mrfpipe.imaging.choices import BY_FRAMES, Imaging
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.run import server as module
from mrfpipe.run.mapper import MatchMapper
from mrfpipe.run.offer import Offer
from mrfpipe.run.result import Result
from mrfpipe.run.scan import map_scan
from mrfpipe.run.server import Server
from mrfpipe.run.stream import map_stream

N, SLICES = 24, 3
PROTOCOL = small_protocol(matrix=N, count=40, df="[[0, 0, 1]]")
READOUTS = PROTOCOL.sequence.n_readouts
MAPPER = MatchMapper(dictionary=build_dictionary(PROTOCOL))
AS_STORED = Imaging(correct_delays=False)
MATCHING = ConfigFile("matching")


@pytest.fixture(scope="module")
def raw():
    """A scan whose gradients are late."""
    phantom = thigh(matrix=N, fov=0.35, n_slices=SLICES, slice_spacing=0.012, seed=0)
    return scan(phantom, PROTOCOL, n_coils=2, seed=0, name="leg", delays=(0.5, -0.8))


@pytest.fixture(scope="module")
def path(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("streamed") / "leg.h5"
    write_ismrmrd(raw, PROTOCOL.sequence, path)
    return path


@pytest.fixture(scope="module")
def parts(path):
    """The file's messages: configuration, header, noise, readouts slice by slice, end."""
    return messages_of(path, MATCHING)


@pytest.fixture(scope="module")
def of_file(path):
    return map_scan(path, MAPPER, imaging=AS_STORED)


def server(imaging=AS_STORED, **settings):
    offer = Offer(dictionaries={"small": MAPPER}, networks={}, imaging=imaging)
    return Server(offer=offer, device=torch.device("cpu"), **{"say": lambda _: None, **settings})


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched(MatchMapper):
    """Matches, and tells of every slice that comes and of every time that all are mapped."""

    told: Callable[[str], None]

    def map(self, slices, device, progress):
        self.told("mapping")

        def watched():
            for one in slices:
                self.told("slice")
                yield one

        return super().map(watched(), device, progress)


def streamed(*groups, imaging=AS_STORED, told=lambda _: None):
    """The result of groups of messages, each of which comes when a slice of the one before has been mapped."""
    mapped = threading.Semaphore(0)

    def tell(what):
        told(what)
        if what == "slice":
            mapped.release()

    def content():
        yield b"".join(groups[0])
        for group in groups[1:]:
            assert mapped.acquire(timeout=60)
            yield b"".join(group)

    arriving, there = content(), bytearray()

    def read(n):
        while len(there) < n:
            there.extend(next(arriving))
        taken = bytes(there[:n])
        del there[:n]
        return taken

    received = StreamedScan("streamed", 10**9)
    threading.Thread(target=received.receive, args=(read,)).start()
    return map_stream(received, Watched(dictionary=MAPPER.dictionary, told=tell), imaging=imaging)


def assert_same(result, of_file):
    """To 1e-6 of what a map spans."""
    np.testing.assert_array_equal(result.mask, of_file.mask)
    np.testing.assert_allclose(result.maps.affine, of_file.maps.affine, atol=1e-9)
    for name in of_file:
        expected = of_file[name][of_file.mask].astype(float)
        found = result[name][of_file.mask].astype(float)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * max(np.ptp(expected), 1), err_msg=name)
    measured = of_file.fingerprints.measured
    np.testing.assert_allclose(result.fingerprints.measured, measured, atol=1e-6 * np.abs(measured).max())


def assert_sent(answer, of_file):
    """By half a step of the integers of images, 1/32766 of what a map spans, and a little for its rounding."""
    assert answer.closed
    assert not answer.texts
    found = answer.maps()
    assert list(found) == list(of_file)
    for name, values in found.items():
        expected = np.where(of_file.mask, of_file[name], np.nan)
        step = (np.nanmax(expected) - np.nanmin(expected)) / 32766
        np.testing.assert_allclose(values, expected, rtol=0, atol=0.51 * step + 1e-6, err_msg=name)


def assert_refused(answer, match):
    """One line, the same for the log and for the client, and nothing that could be taken for a map."""
    assert answer.closed
    assert not answer.images
    assert [match in text for text in (answer.told, *answer.texts)] == [True, True], (answer.told, answer.texts)
    assert "\n" not in answer.texts[0]


def acquisitions(parts):
    """Readouts slice by slice, as lists of messages, that can be ordered anew."""
    first = len(parts) - 1 - SLICES * READOUTS
    return parts[:first], [parts[first + s * READOUTS :][:READOUTS] for s in range(SLICES)]


def changed(part, factor=1, **fields):
    """An acquisition, its samples times a factor, with other fields of its head."""
    one = ismrmrd.Acquisition.deserialize_from(io.BytesIO(part[2:]).read)
    one.data[:] *= factor
    for name, value in fields.items():
        setattr(one.idx if hasattr(one.idx, name) else one, name, value)
    return message(one)


@pytest.mark.parametrize(
    "imaging",
    [BY_FRAMES, Imaging(recon="subspace", correct_delays=False, virtual_coils=1)],
    ids=["frames, delays corrected", "subspace"],
)
def test_maps_are_those_of_the_file(parts, path, imaging):
    expected = map_scan(path, MAPPER, imaging=imaging)
    before, slices = acquisitions(parts)
    told = []
    result = streamed([*before, *slices[0]], slices[1], [*slices[2], CLOSE], imaging=imaging, told=told.append)
    assert_same(result, expected)
    assert told == ["mapping", *["slice"] * SLICES]  # none is made twice
    made = {k: v for k, v in expected.provenance.notes.items() if k != "seconds_of_stages"}
    assert result.provenance.notes == made
    assert result.provenance.method == expected.provenance.method
    np.testing.assert_array_equal(result.coil_maps, expected.coil_maps)


def test_slices_in_any_order_and_readouts_in_turn(parts, of_file):
    before, slices = acquisitions(parts)
    assert_same(streamed([*before, *slices[2]], slices[0], [*slices[1], CLOSE]), of_file)
    mixed = [part for group in zip(slices[2], slices[0], strict=True) for part in group]
    assert_same(streamed([*before, *mixed, *slices[1][::-1], CLOSE]), of_file)


def test_slices_numbered_as_measured_lie_where_they_are(parts, of_file):
    """The second is measured last and has the number 2."""
    before, slices = acquisitions(parts)
    last = [[changed(part, slice=number) for part in slices[s]] for number, s in ((1, 2), (2, 1))]
    told = []
    result = streamed([*before, *slices[0]], last[0], [*last[1], CLOSE], told=told.append)
    assert_same(result, of_file)
    assert told.count("mapping") == 1


def test_what_comes_late_counts(parts, of_file):
    """A noise scan after the readouts, and a second repetition of which the first was louder."""
    before, slices = acquisitions(parts)
    assert_same(streamed([*before[:2], *slices[0]], [*slices[1], *slices[2], *before[2:], CLOSE]), of_file)
    first = [[changed(part, factor=3) for part in one] for one in slices]
    second = [changed(part, repetition=1) for one in slices for part in one]
    told = []
    assert_same(streamed([*before, *first[0]], [*first[1], *first[2]], [*second, CLOSE], told=told.append), of_file)
    assert told.count("mapping") == 2


def test_slices_are_made_while_later_ones_are_measured(parts, of_file):
    """The client sends the second slice when the first one is at the mapper."""
    before, slices = acquisitions(parts)
    arrived = threading.Event()

    def tell(what):
        if what == "slice":
            arrived.set()

    def paced():
        yield b"".join([*before, *slices[0]])
        assert arrived.wait(60)
        yield b"".join([*slices[1], *slices[2], CLOSE])

    mapper = Watched(dictionary=MAPPER.dictionary, told=tell)
    offer = Offer(dictionaries={"small": mapper}, networks={}, imaging=AS_STORED)
    assert_sent(ask(replace(server(), offer=offer), paced()), of_file)


def test_images_say_what_they_are(parts, of_file, raw):
    answer = ask(server(), b"".join(parts))
    assert_sent(answer, of_file)
    assert f"{SLICES} slice(s), {of_file.mask.sum():,} voxels by adjoint NUFFT" in answer.told
    first = ismrmrd.Acquisition.deserialize_from(io.BytesIO(parts[3][2:]).read)
    for number, image in enumerate(answer.images):
        series, s = divmod(number, SLICES)
        assert (image.image_series_index, image.image_index, image.slice) == (series + 1, s + 1, s)
        assert image.data.dtype == np.int16
        assert image.data.min() == 0  # outside the mask
        for direction in ("read_dir", "phase_dir", "slice_dir"):
            np.testing.assert_allclose(getattr(image, direction), getattr(first, direction), atol=1e-6)
        away = np.array(image.position) - np.array(first.position)
        np.testing.assert_allclose(away, 12.0 * s * np.array(first.slice_dir), atol=1e-3)
        np.testing.assert_allclose(image.field_of_view[:2], 350.0, rtol=1e-6)
    of_t1 = answer.images[SLICES].meta
    assert (of_t1["SeriesDescription"], of_t1["Unit"], of_t1["DataRole"]) == ("T1H2O", "ms", ["Image", "Quantitative"])
    assert "T1 of water, in ms; adjoint NUFFT" in of_t1["ImageComment"]
    low, high = (float(of_t1["WindowCenter"]) + sign * float(of_t1["WindowWidth"]) / 2 for sign in (-1, 1))
    assert 600 <= low < high <= 1600


def test_standard_deviations_are_images_and_follow_their_slices(of_file):
    maps = replace(of_file.maps, sd={name: 0.1 * image for name, image in of_file.maps.si.items()})
    turned = maps.in_order([2, 0, 1], maps.affine)
    np.testing.assert_array_equal(turned.sd["T1H2O"], maps.sd["T1H2O"][[2, 0, 1]])
    found = Answer(images=list(images_of(turned, "as told"))).maps()
    assert list(found)[-5:] == ["FF_sd", "T1H2O_sd", "T1fat_sd", "df_sd", "B1_sd"]
    # In ms, to half a step of the integers over less than 200 ms.
    np.testing.assert_allclose(found["T1H2O_sd"], 100 * maps.si["T1H2O"][[2, 0, 1]], atol=0.01)


def test_a_result_is_kept_before_it_is_sent(parts, of_file, tmp_path, monkeypatch):
    kept = {}
    monkeypatch.setattr(Result, "save", lambda result, folder: kept.update({folder: result}))
    answer = ask(server(output=tmp_path), b"".join(parts), leave=True)
    assert "not sent, the client went away" in answer.told
    ((folder, result),) = kept.items()
    assert folder == tmp_path / answer.told.partition(":")[0]
    assert_same(result, of_file)

    def full(result, folder):
        raise ResourceError(f"{folder} cannot be written: No space left on device; free some.")

    monkeypatch.setattr(Result, "save", full)
    answer = ask(server(output=tmp_path), b"".join(parts))
    assert_sent(answer, of_file)
    assert "not kept: " in answer.told


def test_public_clients_end_texts_with_a_zero_byte_and_send_more_of_them(parts, of_file):
    """As python-ismrmrd-server's: the header, and what the console chose, after it."""
    header = parts[1][6:] + b"\0"
    text = json.dumps({"parameters": {"config": "matching", "recon": "nufft"}}).encode() + b"\0"
    sent = [b"\x01\0" + b"openrecon".ljust(1024, b"\0"), as_header(header)]
    sent += [b"\x05\0" + len(text).to_bytes(4, "little") + text]
    sent += [message(ismrmrd.Waveform.from_array(np.zeros((2, 5), np.uint32)))]
    assert_sent(ask(server(), b"".join([*sent, *parts[2:]])), of_file)


def forged(part, **fields):
    """An acquisition whose head says what it has not."""
    head = ismrmrd.AcquisitionHeader.from_buffer_copy(part[2:342])
    for name, value in fields.items():
        setattr(head, name, value)
    return part[:2] + bytes(head) + part[342:]


def as_header(xml):
    return b"\x03\0" + len(xml).to_bytes(4, "little") + xml


ENTITIES = b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 30) for i in range(8))
AMPLIFIED = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + ENTITIES + b"]><ismrmrdHeader>&i;</ismrmrdHeader>"
"""A header of 10 * 30**8 letters."""


def test_rubbish_is_refused(parts):
    config, header, noise, one = parts[:4]
    image = message(ismrmrd.Image.from_array(np.zeros((2, 2), np.float32)))
    for sent, match in [
        (b"", "disconnected before the end of the scan"),
        (CLOSE, "sent no header"),
        (b"GET / HTTP/1.1\r\n\r\n", "sends messages of number 17735"),
        (config + image, "sends messages of number 1022"),
        (config + one, "sends acquisitions before the header"),
        (config + header + header, "sends a second header"),
        (config + header + CLOSE, "holds no imaging acquisitions"),
        (message(ConfigText("nonsense")) + header + noise + CLOSE, "no configuration 'nonsense'"),
        (message("\x1b[2J\n") + header + noise + CLOSE, r"no configuration '\x1b[2J'"),
        (config + header + noise + one[:500], "disconnected before the end of the scan"),
        (config + b"\x03\0" + (LONGEST_TEXT + 1).to_bytes(4, "little"), f"the limit is {LONGEST_TEXT:,}"),
        (config + as_header(b"<a/>") + one + CLOSE, "the XML header is not valid ISMRMRD"),
        (config + as_header(AMPLIFIED) + one + CLOSE, "the XML header is not valid ISMRMRD"),
        (
            config + header + forged(one, number_of_samples=65535, active_channels=65535),
            f"the limit is {LONGEST_ACQUISITION:,}",
        ),
    ]:
        assert_refused(ask(server(), sent), match)


def test_half_a_scan_and_one_that_is_not_the_protocols(parts):
    assert_refused(ask(server(), [*parts[:-10], CLOSE]), f"slice {SLICES - 1}, readout {READOUTS - 9} is missing")
    tr = parts[1].replace(b"<TR>3.52</TR>", b"<TR>4.52</TR>")
    assert tr != parts[1]
    assert_refused(ask(server(), [parts[0], tr, *parts[2:]]), "TR of readout 0 is 4.52 ms, in the protocol 3.52 ms")


def test_more_than_the_memory_takes(parts, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 1.5 * sum(map(len, parts)))
    assert_refused(ask(server(), b"".join(parts)), "the scan exceeds 0.00 GB")


def test_a_client_that_stops_and_one_that_never_ends(parts):
    """Each keeps the server for as long as it may, and no longer."""

    def stops():
        yield b"".join(parts[:50])
        time.sleep(0.6)

    def drips(first=b""):
        yield first
        for _ in range(40):
            yield b"\0"
            time.sleep(0.02)

    began = time.monotonic()
    assert_refused(ask(server(idle_s=0.2), stops()), "sent nothing for 0.2 s")
    assert_refused(ask(server(longest_s=0.2), drips()), "sends messages of number 0")
    assert_refused(ask(server(longest_s=0.2), drips(b"\x01\0")), "takes longer than 0.2 s")
    assert time.monotonic() - began < 5


def test_clients_one_after_the_other(parts, of_file):
    """Over TCP, on which others wait meanwhile: all come at once, and each is told in a line."""

    class Enough(Exception):  # noqa: N818 - no error
        pass

    sent = [b"rubbish", b"".join(parts), b"".join(parts[:100]), b"", b"".join(parts)]
    answers, lines = [Answer() for _ in sent], []

    def say(line):
        lines.append(line)
        if len(lines) == len(sent):
            raise Enough

    with socket.create_server(("127.0.0.1", 0)) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in sent]

        def client(connection, content, answer):
            with connection:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                receive(connection, answer)

        threads = [threading.Thread(target=client, args=each) for each in zip(clients, sent, answers, strict=True)]
        for thread in threads:
            thread.start()
        with pytest.raises(Enough):
            server(say=say).serve(listening)
    for thread in threads:
        thread.join()
    assert [line.count("127.0.0.1:") for line in lines] == [1] * 5
    assert [len(answer.images) > 0 for answer in answers] == [False, True, False, False, True]
    for answer in (answers[1], answers[4]):
        assert_sent(answer, of_file)

"""SIGKILL of server and client: what was finished is with the client, or in the folder; the next one is served."""

import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from helpers import small_protocol
from mrd_client import Answer, ConfigFile, ask, messages_of, receive

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.dictionaries import save_dictionary
from mrfpipe.files.results import find_maps
from mrfpipe.imaging.choices import BY_FRAMES
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.run.mapper import MatchMapper
from mrfpipe.run.offer import Offer
from mrfpipe.run.python import load_maps
from mrfpipe.run.server import Server

pytestmark = pytest.mark.slow
PROTOCOL = small_protocol(matrix=16, count=8, subspace_rank=5, df="[[0, 0, 1]]")
DICTIONARY = build_dictionary(PROTOCOL)
SERVE = [sys.executable, "-c", "from mrfpipe.cli import main; main()", "serve", "--port", "0", "--device", "cpu"]
CLIENT = """
import pathlib, socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
content = pathlib.Path(sys.argv[2]).read_bytes()
for start in range(0, len(content), 2000):
    connection.sendall(content[start : start + 2000])
    time.sleep(0.005)
while connection.recv(1000):
    pass
"""


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("killed") / "leg.h5"
    phantom = thigh(matrix=16, fov=0.35, n_slices=2, slice_spacing=0.012, seed=0)
    write_ismrmrd(scan(phantom, PROTOCOL, n_coils=2, seed=0), PROTOCOL.sequence, path)
    return b"".join(messages_of(path, ConfigFile("matching")))


def started(*options):
    server = subprocess.Popen([*SERVE, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if "listening on" in line:
            return server, int(line.split(" for ")[0].rpartition(":")[2])
    raise AssertionError(server.wait())


def test_server_is_killed_at_any_time(content, tmp_path):
    """While it listens, receives, computes, writes and sends: a folder that is there is whole."""
    save_dictionary(DICTIONARY, tmp_path / "small.h5")
    options, finished = ("-d", tmp_path / "small.h5", "-o", tmp_path / "out"), 0
    for seed in range(8):
        server, port = started(*map(str, options))
        with server, socket.create_connection(("127.0.0.1", port)) as connection:
            answer = Answer()
            connection.sendall(content)
            time.sleep(random.Random(seed).uniform(0, 6))
            server.send_signal(signal.SIGKILL)
            receive(connection, answer)
            assert server.wait() == -signal.SIGKILL
        finished += answer.closed
        kept = list((tmp_path / "out").glob("[!.]*"))
        assert len(kept) >= finished  # what a client has was kept before it was sent
        for folder in kept:
            assert load_maps(find_maps(folder)).mask.any()


def test_clients_are_killed_at_any_time(content, tmp_path):
    """A hundred of them, and the server answers the one that comes next."""
    (tmp_path / "content").write_bytes(content)
    lines = []

    class Enough(Exception):  # noqa: N818 - no error
        pass

    def say(line):
        lines.append(line)
        if len(lines) == 100:
            raise Enough

    offer = Offer(dictionaries={"small": MatchMapper(dictionary=DICTIONARY)}, networks={}, imaging=BY_FRAMES)
    server = Server(offer=offer, device=torch.device("cpu"), say=say)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line = [sys.executable, "-S", "-c", CLIENT, str(listening.getsockname()[1]), str(tmp_path / "content")]
        killer = subprocess.Popen(
            [sys.executable, "-S", "-c", KILLER.format(line=line)], stdout=subprocess.DEVNULL, env=dict(os.environ)
        )
        with pytest.raises(Enough):
            server.serve(listening)
        killer.kill()
        killer.wait()
    assert not any("bug of mrfpipe" in line for line in lines), lines
    answer = ask(server_of(offer), content)
    assert answer.closed
    assert answer.images


KILLER = """
import random, subprocess, time
chance = random.Random(0)
while True:
    client = subprocess.Popen({line})
    time.sleep(chance.uniform(0.02, 0.6))
    client.kill()
    client.wait()
"""


def server_of(offer):
    return Server(offer=offer, device=torch.device("cpu"), say=lambda _: None)

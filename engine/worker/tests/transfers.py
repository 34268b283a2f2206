"""Run by the tests with the name of a rule, like `hard_cases.py`: what may happen to a value while it is on its way.

The peer it goes to is this script, which reads as slowly as the rule needs.
"""

import builtins
import ctypes
import hashlib
import os
import pathlib
import socket
import sys
import tempfile
import time
import weakref

import hard_cases
import numpy
from distributed import wait
from distributed.protocol import dumps, loads
from driver import PATIENCE, until
from hard_cases import LONG_SECONDS, MEBIBYTE, address_of, losses, started

#: Far more than all buffers on the way hold.
COUNT = 8 * MEBIBYTE


def tracked(value):
    array = numpy.full(COUNT, value)
    builtins.tracked_here = weakref.ref(array)
    return array


def is_there():
    return builtins.tracked_here() is not None


class Peer:
    """Has asked a worker for a value and read the beginning of the answer."""

    def __init__(self, address, key):
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        self.say({"compression": None, "python": (3, 12, 0), "pickle-protocol": 5})
        self.read_message()
        self.say({"op": "get_data", "keys": [key], "who": None, "reply": True})
        self.lengths = self.read_lengths()
        self.content = self.read(MEBIBYTE)

    def say(self, message):
        frames = [bytes(frame) for frame in dumps(message)]
        words = [8 * (1 + len(frames)) + sum(map(len, frames)), len(frames), *map(len, frames)]
        self.socket.sendall(b"".join([word.to_bytes(8, "little") for word in words] + frames))

    def read(self, count):
        content = bytearray(count)
        view = memoryview(content)
        while view:
            received = self.socket.recv_into(view)
            assert received, "the worker hung up"
            view = view[received:]
        return content

    def read_word(self):
        return int.from_bytes(self.read(8), "little")

    def read_lengths(self):
        self.read_word()
        return [self.read_word() for _ in range(self.read_word())]

    def read_message(self):
        return loads([self.read(length) for length in self.read_lengths()])

    def rest(self):
        """The value, when all of it has come."""
        content = self.content + self.read(sum(self.lengths) - len(self.content))
        frames, at = [], 0
        for length in self.lengths:
            frames.append(content[at : at + length])
            at += length
        [value] = loads(frames)["data"].values()
        return value

    def acknowledge(self):
        self.say("OK")


def hold(marker, seconds):
    pathlib.Path(marker).touch()
    ctypes.PyDLL(None).sleep(seconds)
    return "held"


def a_value_goes_on_to_its_peer_when_the_lock_of_the_interpreter_is_taken_in_the_middle():
    scene = yield started(["--hang-timeout", "10 minutes"])
    client = scene.client
    value = client.submit(tracked, 3.0, workers=["first"], key="value")
    wait(value, PATIENCE)
    peer = Peer(address_of(client, "first"), "value")
    with tempfile.TemporaryDirectory() as name:
        marker = pathlib.Path(name, "begun")
        holding = client.submit(hold, str(marker), LONG_SECONDS, workers=["first"], pure=False)
        until(marker.exists)
        assert (peer.rest() == 3.0).all()
        assert not holding.done()
        peer.acknowledge()
        assert holding.result(LONG_SECONDS + PATIENCE) == "held" and not losses(client)


def a_value_that_is_released_in_the_middle_arrives_whole_and_goes_then():
    scene = yield started(names=["first"])
    client = scene.client
    value = client.submit(tracked, 3.0, key="value")
    wait(value, PATIENCE)
    peer = Peer(address_of(client, "first"), "value")
    value.release()
    del value
    until(lambda: not any(client.run(lambda dask_worker: "value" in dask_worker.data).values()))
    others = [client.submit(numpy.full, COUNT, 4.0, pure=False) for _ in range(2)]
    wait(others, PATIENCE)
    assert all(client.run(is_there).values())
    assert (peer.rest() == 3.0).all()
    peer.acknowledge()
    until(lambda: not any(client.run(is_there).values()))


def change(array):
    array[:] = 4.0


def a_value_that_is_changed_in_the_middle_arrives_with_every_part_old_or_new():
    scene = yield started(names=["first"])
    client = scene.client
    value = client.submit(tracked, 3.0, key="value")
    wait(value, PATIENCE)
    peer = Peer(address_of(client, "first"), "value")
    client.submit(change, value).result(PATIENCE)
    found = peer.rest()
    assert len(found) == COUNT and set(numpy.unique(found)) <= {3.0, 4.0}
    peer.acknowledge()
    assert (client.gather(value) == 4.0).all()


def a_peer_that_goes_away_in_the_middle_leaves_nothing_behind():
    scene = yield started(names=["first"])
    client = scene.client
    value = client.submit(tracked, 3.0, key="value")
    wait(value, PATIENCE)
    # A task may have given the signal its own meaning again.
    client.run(lambda: __import__("signal").signal(13, __import__("signal").SIG_DFL))
    for _ in range(3):
        Peer(address_of(client, "first"), "value").socket.close()
    assert (client.gather(value) == 3.0).all()
    value.release()
    del value
    until(lambda: not any(client.run(is_there).values()))
    assert not losses(client)


def two_peers_read_one_value_each_at_its_own_pace():
    scene = yield started(names=["first"])
    client = scene.client
    value = client.submit(tracked, 3.0, key="value")
    wait(value, PATIENCE)
    slow, fast = (Peer(address_of(client, "first"), "value") for _ in range(2))
    assert (fast.rest() == 3.0).all()
    fast.acknowledge()
    time.sleep(0.1)
    assert (slow.rest() == 3.0).all()
    slow.acknowledge()


def digest(content):
    return len(content), hashlib.sha256(content).hexdigest()


def values_of_any_length_pass_through_workers_unchanged():
    scene = yield started()
    client = scene.client
    lengths = [65_535, 65_536, 65_537, MEBIBYTE - 1, 3 * MEBIBYTE + 5, 4 * MEBIBYTE, 9 * MEBIBYTE + 4_097, 70_000_001]
    contents = [os.urandom(length) for length in lengths]
    there = client.scatter(contents, workers=["first"], hash=False)
    digests = client.map(digest, there, workers=["second"], pure=False)
    assert client.gather(digests) == [digest(content) for content in contents]
    for direct in (False, True):
        assert client.gather(there, direct=direct) == contents
    made = client.map(os.urandom, lengths, workers=["first"], pure=False)
    here = client.map(digest, made, workers=["first"], pure=False)
    elsewhere = client.map(digest, made, workers=["second"], pure=False)
    assert client.gather(here) == client.gather(elsewhere)
    assert [digest(content) for content in client.gather(made, direct=True)] == client.gather(here)


if __name__ == "__main__":
    hard_cases.run(globals(), *sys.argv[1:])

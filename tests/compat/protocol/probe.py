"""Talks to the example program `protocol_probe` of the crate `protocol`."""

from __future__ import annotations

import struct
import subprocess

from distributed.comm.tcp import _add_frames_header
from distributed.protocol import dumps, loads
from distributed.protocol.utils import unpack_frames


class Refused(Exception):
    """The probe answered with an error."""


class Probe:
    def __init__(self, path: str):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind: str, question: bytes) -> bytes:
        self.process.stdin.write(kind.encode() + struct.pack("<Q", len(question)) + question)
        self.process.stdin.flush()
        status, length = struct.unpack("<BQ", self.process.stdout.read(9))
        answer = self.process.stdout.read(length)
        if status:
            raise Refused(answer.decode())
        return answer

    def ask_message(self, kind: str, message, **how) -> object:
        """Sends a message as a stock peer would write it; reads the answer as a stock peer would."""
        return from_stream(self.ask(kind, to_stream(message, **how)))

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0


def to_stream(message, **how) -> bytes:
    frames = dumps(message, **how)
    pieces, _, _ = _add_frames_header(frames)
    return b"".join(bytes(piece) for piece in pieces)


def from_stream(stream: bytes, **how):
    return loads(frames_of(stream), **how)


def frames_of(stream: bytes) -> list:
    """Cuts a stream as `distributed.comm.tcp.TCP.read` does."""
    (first_read,) = struct.unpack_from("<Q", stream)
    frames, missing = unpack_frames(memoryview(stream)[8 : 8 + first_read], partial=True)
    start = 8 + first_read
    for length in missing:
        frames.append(memoryview(stream)[start : start + length])
        start += length
    assert start == len(stream)
    return frames

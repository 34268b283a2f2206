"""Packets of the line: bytes and descriptors from the socket, messages out of them, and back.

Owns the socket, the outbox and the order of what is sent. Must not know what a message means. Invariant: messages leave
in the order in which they were posted, by whichever thread; a thread that finds another one sending leaves its
messages to that one and does not wait.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import sys
import threading

import msgpack

PRELUDE = struct.Struct("<II")
DESCRIPTORS_AT_MOST = 64
#: Of ancillary data in one read: the descriptors of a packet; the kernel ends a read behind bytes that brought some.
ANCILLARY_BYTES = socket.CMSG_SPACE(4 * 253)
READ_BYTES = 256 << 10
LINE_ERROR = 70

pack = msgpack.Packer(use_bin_type=True, unicode_errors="surrogatepass").pack


def unpack(data):
    return msgpack.unpackb(data, use_list=False, strict_map_key=False, unicode_errors="surrogatepass")


class Gone(Exception):
    """The other end closed the line."""


class Broken(Exception):
    """What came is no packet."""


class Line:
    """One socket; a single reader, any number of writers."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.outbox: list = []
        self.sending = threading.Lock()
        self.buffer = bytearray(READ_BYTES)
        self.begin = self.end = 0
        self.descriptors: list[int] = []
        os.register_at_fork(after_in_child=self.let_go)

    # -- in ------------------------------------------------------------------------------------------------------------

    def receive(self):
        """The next packet: its messages and its descriptors, which are the caller's from here on."""
        self.need(PRELUDE.size)
        size, count = PRELUDE.unpack_from(self.buffer, self.begin)
        self.begin += PRELUDE.size
        if count > DESCRIPTORS_AT_MOST:
            raise Broken(f"a packet of {count} descriptors")
        self.need(size)
        body = memoryview(self.buffer)[self.begin : self.begin + size]
        self.begin += size
        if len(self.descriptors) < count:
            raise Broken(f"a packet came with {len(self.descriptors)} descriptors and says {count}")
        mine, self.descriptors = self.descriptors[:count], self.descriptors[count:]
        try:
            messages = unpack(body)
        except Exception as error:
            raise Broken(f"a packet that is not msgpack: {error}") from error
        finally:
            body.release()
        if type(messages) is not tuple:
            raise Broken("a packet that is not an array")
        return messages, mine

    def need(self, size: int) -> None:
        """Reads until `size` bytes are in the buffer, which grows with what has come, not with what is announced."""
        while self.end - self.begin < size:
            if self.begin == self.end:
                self.begin = self.end = 0
                if len(self.buffer) > 16 * READ_BYTES:
                    self.buffer = bytearray(READ_BYTES)
            elif len(self.buffer) - self.begin < size and self.begin:
                self.buffer = self.buffer[self.begin :]
                self.begin, self.end = 0, self.end - self.begin
            if self.end == len(self.buffer):
                self.buffer += bytes(len(self.buffer))
            self.read()

    def read(self) -> None:
        with memoryview(self.buffer) as whole, whole[self.end :] as free:
            try:
                count, ancillary, flags, _ = self.sock.recvmsg_into([free], ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                raise Gone from error
        if flags & socket.MSG_CTRUNC:
            raise Broken("descriptors of a packet were lost: too many files are open")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                self.descriptors += received
        if not count:
            raise Gone
        self.end += count

    # -- out -----------------------------------------------------------------------------------------------------------

    def post(self, message) -> None:
        """Sends a message without descriptors, with whatever else waits."""
        self.outbox.append(message)
        self.flush()

    def flush(self) -> None:
        outbox, sending = self.outbox, self.sending
        while outbox and sending.acquire(False):
            try:
                self.empty()
            finally:
                sending.release()

    def post_with(self, message, descriptors: list[int]) -> None:
        """Sends a message that brings descriptors, behind everything posted before."""
        if not descriptors:
            self.post(message)
            return
        with self.sending:
            self.empty()
            self.write(pack([message]), descriptors)
        self.flush()

    def empty(self) -> None:
        """With `sending` held."""
        outbox = self.outbox
        while outbox:
            count = len(outbox)
            batch = outbox[:count]
            del outbox[:count]
            self.write(pack(batch), ())

    def write(self, body: bytes, descriptors) -> None:
        try:
            parts = [PRELUDE.pack(len(body), len(descriptors)), body]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            sent = self.sock.sendmsg(parts, rights)
            if sent < PRELUDE.size + len(body):
                self.sock.sendall(memoryview(b"".join(parts))[sent:])
        except OSError as error:
            end(0, f"the line cannot be written: {error}")

    def let_go(self) -> None:
        """In a process that a task forked: it is none of the two ends."""
        self.sock.close()


def end(code: int, reason: str | None = None) -> None:
    """Ends the process at once: no exit handlers, no waiting for threads; the worker is gone or does not want us."""
    if reason and code:
        print(f"daskjob executor: {reason}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(code)

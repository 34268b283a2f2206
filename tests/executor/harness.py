"""The worker's end of the line in plain Python: starts a real executor, writes and reads packets.

It is the reference for what `docs/executor-protocol.md` says. Every wait has a generous limit and is for something to become
true; nothing here measures time.
"""

from __future__ import annotations

import array
import itertools
import json
import mmap
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import msgpack
from cloudpickle import dumps as pickle_dumps
from distributed.protocol import dumps, loads, to_serialize
from distributed.protocol.serialize import msgpack_encode_default

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "python" / "daskjob" / "executor"
WAIT_SECONDS = 60
LARGE_BYTES = 64 << 10


def pack(value) -> bytes:
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass", default=msgpack_encode_default)


def unpack(data):
    return msgpack.unpackb(data, use_list=False, strict_map_key=False, unicode_errors="surrogatepass")


def spec(func, *args, key="spec", **kwargs):
    """A run_spec as a scheduler sends it."""
    from dask._task_spec import Task

    return pickled(Task(key, func, *args, **kwargs))


def pickled(task):
    return [pack({"pickled-obj": pickle_dumps(task), "num-sub-frames": 0, "compression": []}), []]


def message_frames(message) -> list:
    return [bytes(frame) for frame in dumps(message, context={"compression": None})]


def value_of(thing):
    """[header, frames] as a peer gives it."""
    _, header, *frames = message_frames([to_serialize(thing)])
    return [header, frames]


def thing_of(value):
    header, frames = value
    return loads([pack([{"__Serialized__": 1}]), header, *frames])[0]


class Ended(Exception):
    """The executor's process is over."""


class Executor:
    def __init__(self, start=True, python=sys.executable, lifeline=True, environment=None, takes=None, **settings):
        self.ours, theirs = socket.socketpair()
        self.directory = tempfile.TemporaryDirectory(prefix="executor-")
        local = os.path.join(self.directory.name, "dask-scratch-space", "worker-1")
        os.makedirs(local)
        self.settings = {
            "address": "tcp://127.0.0.1:1",
            "scheduler": "tcp://127.0.0.1:2",
            "id": "Worker-1",
            "name": "harness",
            "nthreads": 1,
            "local_directory": local,
            **settings,
        }
        passed = [theirs.fileno()]
        command = [python, "-c", (SOURCES / "bootstrap.py").read_text(), "--channel", str(theirs.fileno())]
        self.lifeline = None
        if lifeline:
            read_end, self.lifeline = os.pipe()
            passed.append(read_end)
            command += ["--lifeline", str(read_end)]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stderr=self.errors,
            cwd=self.directory.name,
            env={**os.environ, **(environment or {})},
        )
        theirs.close()
        if lifeline:
            os.close(read_end)
        texts = {path.stem: path.read_text() for path in SOURCES.glob("*.py") if path.stem != "bootstrap"}
        data = json.dumps(texts).encode()
        self.ours.sendall(len(data).to_bytes(4, "little") + data)
        self.numbers = itertools.count(1)
        self.messages: list = []
        #: Told of every message first; true: it is done with.
        self.takes = takes
        self.changed = threading.Condition()
        self.is_over = False
        self.unread = b""
        self.descriptors: list[int] = []
        threading.Thread(target=self.read, daemon=True).start()
        if start:
            self.send(["start", self.settings])
            self.ready = self.expect("ready")[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self) -> None:
        if self.lifeline is not None:
            os.close(self.lifeline)
            self.lifeline = None
        try:
            self.ours.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.ours.close()
        self.errors.close()
        self.directory.cleanup()

    def said(self) -> str:
        """What it wrote on stderr."""
        self.errors.seek(0)
        return self.errors.read()

    # -- packets -------------------------------------------------------------------------------------------------------

    def send(self, *messages, descriptors=()) -> None:
        body = pack(list(messages))
        head = struct.pack("<II", len(body), len(descriptors))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = self.ours.sendmsg([head, body], rights)
        self.ours.sendall((head + body)[sent:])

    def take(self, size: int) -> bytes:
        while len(self.unread) < size:
            data, ancillary, flags, _ = self.ours.recvmsg(1 << 20, socket.CMSG_SPACE(4 * 64))
            assert not flags & socket.MSG_CTRUNC
            for level, kind, rights in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                received = array.array("i")
                received.frombytes(rights)
                self.descriptors += received
            if not data:
                raise Ended
            self.unread += data
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    def read(self) -> None:
        try:
            while True:
                size, count = struct.unpack("<II", self.take(8))
                messages = unpack(self.take(size))
                mine, self.descriptors = self.descriptors[:count], self.descriptors[count:]
                assert len(mine) == count
                opened = [self.with_frames(message, mine) for message in messages]
                for descriptor in mine:
                    os.close(descriptor)
                if self.takes is not None:
                    opened = [message for message in opened if not self.takes(message)]
                with self.changed:
                    self.messages += opened
                    self.changed.notify_all()
        except (Ended, OSError):
            pass
        finally:
            with self.changed:
                self.is_over = True
                self.changed.notify_all()

    def with_frames(self, message, descriptors):
        """Frames in shared memory replaced by views of it."""
        if message[0] == "values":
            name, request, found, failed, more = message
            return (name, request, [(key, (h, self.frames(f, descriptors))) for key, (h, f) in found], failed, more)
        if message[0] in ("answer", "send"):
            return (*message[:-1], self.frames(message[-1], descriptors))
        return message

    def frames(self, frames, descriptors) -> list:
        opened = []
        for frame in frames:
            if isinstance(frame, bytes):
                assert len(frame) < LARGE_BYTES
                opened.append(frame)
            elif len(frame) == 2:
                opened.append(self.read_there(*frame))
            else:
                index, offset, length = frame
                assert offset % 64 == 0 and length >= LARGE_BYTES
                whole = memoryview(mmap.mmap(descriptors[index], 0, mmap.MAP_SHARED, mmap.PROT_READ))
                assert offset + length <= len(whole)
                opened.append(whole[offset : offset + length])
        return opened

    def read_there(self, address, length) -> bytes:
        """What lies in the executor's memory."""
        with open(f"/proc/{self.process.pid}/mem", "rb", 0) as memory:
            memory.seek(address)
            data = b""
            while len(data) < length:
                data += memory.read(length - len(data))
            return data

    # -- what tests ask ------------------------------------------------------------------------------------------------

    def expect(self, name, *start, remove=True):
        """The next message with this name and beginning."""
        wanted = (name, *start)
        with self.changed:
            while True:
                for index, message in enumerate(self.messages):
                    if message[: len(wanted)] == wanted:
                        return self.messages.pop(index) if remove else message
                if self.is_over:
                    raise Ended(f"{wanted} never came; exit code {self.process.wait()}; {self.messages}\n{self.said()}")
                if not self.changed.wait(WAIT_SECONDS):
                    raise TimeoutError(f"{wanted} never came; {self.messages}\n{self.said()}")

    def outcome(self, run):
        """What became of a run."""
        names = ("done", "erred", "rescheduled")
        with self.changed:
            found = None
            while found is None:
                found = next((m for m in self.messages if m[0] in names and m[1] == run), None)
                if found is None:
                    if self.is_over:
                        raise Ended(f"run {run}; exit code {self.process.wait()}\n{self.said()}")
                    if not self.changed.wait(WAIT_SECONDS):
                        raise TimeoutError(f"run {run}\n{self.said()}")
            self.messages.remove(found)
            return found

    def begin(self, func, *args, key=None, dependencies=(), options=None, **kwargs) -> int:
        run = next(self.numbers)
        key = f"key-{run}" if key is None else key
        self.send(["execute", run, key, spec(func, *args, key=key, **kwargs), list(dependencies), options or {}])
        return run

    def run(self, func, *args, **more):
        """The value of a task, asked back from the executor; raises what it raised."""
        key = more.pop("key", None)
        run = next(self.numbers)
        key = f"key-{run}" if key is None else key
        dependencies, options = more.pop("dependencies", ()), more.pop("options", None)
        self.send(["execute", run, key, spec(func, *args, key=key, **more), list(dependencies), options or {}])
        outcome = self.outcome(run)
        if outcome[0] == "erred":
            raise exception_of(outcome)
        assert outcome[0] == "done", outcome
        return self.value(key)

    def fetch(self, *keys):
        """({key: value in serialised form}, {key: (exception, text)})"""
        request = next(self.numbers)
        self.send(["fetch", request, list(keys)])
        found, failed, more = {}, {}, True
        while more:
            _, _, some, others, more = self.expect("values", request)
            found.update(some)
            failed.update({key: (exception, text) for key, exception, text in others})
        return found, failed

    def value(self, key):
        found, failed = self.fetch(key)
        assert not failed, failed
        return thing_of(found[key])

    def put(self, key, thing) -> None:
        header, frames = value_of(thing)
        large = [frame for frame in frames if len(frame) >= LARGE_BYTES]
        if not large:
            self.send(["put", key, [header, frames]])
            return
        descriptor, places = memfd(*large)
        rest = iter(places)
        named = [[0, *next(rest)] if len(frame) >= LARGE_BYTES else frame for frame in frames]
        self.send(["put", key, [header, named]], descriptors=[descriptor])
        os.close(descriptor)

    def call(self, op, **message):
        request = next(self.numbers)
        self.send(["call", request, op, message_frames({"op": op, "reply": True, **message})])
        frames = self.expect("answer", request)[2]
        return loads(frames) if frames else None

    def client_run(self, function, *args, **more):
        reply = self.call("run", function=pickle_dumps(function), args=pickle_dumps(args), kwargs={}, **more)
        if reply["status"] != "OK":
            from distributed.core import clean_exception

            raise clean_exception(**reply)[1]
        return reply["result"]

    def settled(self) -> None:
        """Everything sent so far has been taken."""
        number = next(self.numbers)
        self.send(["ping", number])
        self.expect("pong", number)

    def exit_code(self) -> int:
        return self.process.wait(WAIT_SECONDS)


def exception_of(erred):
    import pickle

    return pickle.loads(erred[2])


def number_of(descriptor) -> int:
    """What both ends call a memfd."""
    return os.fstat(descriptor).st_ino


def memfd(*parts):
    """(descriptor, [(offset, length)]) of parts laid one behind the other as the contract says."""
    descriptor = os.memfd_create("harness")
    places, offset = [], 0
    for part in parts:
        offset += -offset % 64
        view = memoryview(part).cast("B")
        written = 0
        while written < len(view):
            written += os.pwrite(descriptor, view[written : written + (1 << 30)], offset + written)
        places.append((offset, len(view)))
        offset += len(view)
    return descriptor, places

"""The values this worker holds: live objects, or still sealed as they came; and their serialised form on the way out.

Must not know tasks or the state machine: the worker says what to hold, drop and give. Invariant: one object per key — who
opens a sealed value first, opens it for all.
"""

from __future__ import annotations

import contextvars
import gc
import queue
import threading
from collections import OrderedDict
from collections.abc import MutableMapping
from sys import getsizeof

import msgpack
from dask.sizeof import sizeof
from dask.utils import typename
from distributed.protocol import pickle as distributed_pickle
from distributed.protocol.compression import decompress
from distributed.protocol.serialize import (
    Serialize,
    merge_and_deserialize,
    msgpack_decode_default,
    msgpack_encode_default,
    serialize_and_split,
)
from distributed.protocol.utils import msgpack_opts

from . import memory, pouring
from .memory import Departures, Parcel

MISSING = object()
COLLECT = object()
#: What `dask.sizeof` measures with `getsizeof`, and nobody registers otherwise.
PLAIN = frozenset([int, float, bool, complex, type(None), str])
KEPT_BYTES_WITHOUT_LIMIT = 256 << 20
#: So much goes into one part of an answer.
PART_BYTES = 1 << 20
PART_DESCRIPTORS = 32
SIZE_AT_MOST = (1 << 63) - 1


class Sealed:
    """A value that came and was not needed yet."""

    __slots__ = ("parcel", "lock", "value")

    def __init__(self, parcel: Parcel):
        self.parcel = parcel
        self.lock = threading.Lock()
        self.value = MISSING

    def open(self):
        with self.lock:
            if self.value is MISSING:
                self.value = unseal(self.parcel)
            return self.value


def unseal(parcel: Parcel):
    header = msgpack.unpackb(parcel.header, object_hook=msgpack_decode_default, use_list=False, **msgpack_opts)
    buffers = parcel.buffers()
    if any(header.get("compression") or ()):
        buffers = decompress(header, buffers)
    return merge_and_deserialize(header, buffers)


def seal(value, place=memory.shared) -> tuple[Parcel, str | None]:
    """The value as stock gives it to a peer, its large frames placed so; and why it could not be serialised."""
    header, frames = serialize_and_split(Serialize(value), on_error="message")
    reason = None
    if header.get("serializer") == "error":
        reason = "\n".join(bytes(frame).decode("utf-8", "replace") for frame in frames)
    header["num-sub-frames"] = len(frames)
    packed = msgpack.packb(header, default=msgpack_encode_default, use_bin_type=True)
    return Parcel(packed, place(frames)), reason


class Values:
    """What is held under which key. The control thread puts and drops, task threads take and add."""

    def __init__(self, line, memory_limit: int | None, proxy_of_actor):
        self.line = line
        self.held: dict = {}
        #: What it drops may be a value of the user's whose end runs code that comes back here.
        self.lock = threading.RLock()
        self.proxy_of_actor = proxy_of_actor
        #: key → (value, parcel): values that have shared memory; of those made here (copies) the oldest go first.
        self.parcels: dict = {}
        self.copies: OrderedDict = OrderedDict()
        self.copied_bytes = 0
        self.copied_bytes_at_most = memory_limit // 10 if memory_limit else KEPT_BYTES_WITHOUT_LIMIT
        self.requests: queue.SimpleQueue = queue.SimpleQueue()
        #: Where large frames of live values go; and what the worker reads now, by request.
        self.place = memory.shared
        self.lent: dict[int, list] = {}

    # -- from the worker -----------------------------------------------------------------------------------------------

    def put(self, key, parcel: Parcel) -> None:
        with self.lock:
            self.forget_parcel(key)
            self.held[key] = Sealed(parcel)

    def drop(self, keys) -> None:
        held = self.held
        with self.lock:
            dropped = [held.pop(key, None) for key in keys]
            if self.parcels:
                for key in keys:
                    self.forget_parcel(key)
        if not all(type(value) in PLAIN for value in dropped):
            self.requests.put((None, dropped, None))  # what ends may take its time, or run code of its own

    def forget_parcel(self, key) -> None:
        if self.parcels.pop(key, None) is not None and (size := self.copies.pop(key, None)) is not None:
            self.copied_bytes -= size

    def collect(self) -> None:
        self.requests.put((COLLECT, None, None))

    def lend(self, wanted: bool) -> None:
        """Whether the worker can read what is in this process."""
        self.place = memory.lent if wanted else memory.shared

    def returned(self, requests) -> None:
        returned = [self.lent.pop(request, None) for request in requests]
        self.requests.put((None, returned, None))

    def fetch(self, request, keys, pipe=None) -> None:
        held = self.held
        self.requests.put((request, [(key, held.get(key, MISSING)) for key in keys], pipe))

    # -- from tasks and plugins ----------------------------------------------------------------------------------------

    def add(self, key, value) -> None:
        with self.lock:
            self.hold(key, value)

    def hold(self, key, value) -> None:
        """With the lock held."""
        if self.parcels:
            self.forget_parcel(key)
        self.held[key] = value

    def open(self, key, entry):
        """The object behind what `held` had under the key."""
        if type(entry) is not Sealed:
            return entry
        value = entry.open()
        with self.lock:
            if self.held.get(key) is entry:
                self.held[key] = value
                if entry.parcel.shared_bytes and memory.Open.count < memory.Open.at_most:
                    self.parcels[key] = (value, entry.parcel)
        return value

    # -- the thread that serialises ------------------------------------------------------------------------------------

    def serve(self) -> None:
        while True:
            request, entries, pipe = self.requests.get()
            if request is COLLECT:
                collect()
            elif request is not None:
                poured = self.answer(request, entries)
                if pipe is not None:
                    pouring.pour(pipe, poured)
                del poured
            del entries

    def answer(self, request, entries) -> list:
        """What was lent for it, in order."""
        found, failed, departures, size, all_lent = [], [], Departures(), 0, []
        for key, entry in entries:
            try:
                parcel, reason = self.parcel_of(key, entry)
            except BaseException as error:
                failed.append([key, pickled(error), f"{type(error).__name__}: {error}"])
                continue
            if parcel is None:
                failed.append([key, None, "not held here"])
                continue
            if reason is not None:
                failed.append([key, pickled(TypeError(reason)), reason])
            if lent := parcel.lent:
                self.lent.setdefault(request, []).extend(lent)
                all_lent += lent
            found.append([key, departures.value(parcel)])
            size += sum(map(len, (frame for frame in parcel.frames if type(frame) is bytes))) + parcel.shared_bytes
            if size >= PART_BYTES or len(departures.descriptors) >= PART_DESCRIPTORS:
                self.line.post_with(["values", request, found, failed, True], departures.descriptors)
                found, failed, departures, size = [], [], Departures(), 0
        self.line.post_with(["values", request, found, failed, False], departures.descriptors)
        return all_lent

    def parcel_of(self, key, entry) -> tuple[Parcel | None, str | None]:
        if type(entry) is Sealed:
            return entry.parcel, None
        if entry is MISSING:
            proxy = contextvars.Context().run(self.proxy_of_actor, key)
            return (None, None) if proxy is None else seal(proxy)
        known = self.parcels.get(key)
        if known is not None and known[0] is entry:
            return known[1], None
        parcel, reason = seal(entry, self.place)
        if reason is None and parcel.shared_bytes:
            self.keep(key, entry, parcel)
        return parcel, reason

    def keep(self, key, value, parcel: Parcel) -> None:
        """So that the next peer that asks is given the same memory."""
        size = parcel.shared_bytes
        if size > self.copied_bytes_at_most or memory.Open.count >= memory.Open.at_most:
            return
        with self.lock:
            if self.held.get(key, MISSING) is not value:
                return
            self.forget_parcel(key)
            self.parcels[key] = (value, parcel)
            self.copies[key] = size
            self.copied_bytes += size
            while self.copied_bytes > self.copied_bytes_at_most:
                self.forget_parcel(next(iter(self.copies)))


def size_of(value) -> int:
    """As stock counts it, within what the line can carry."""
    if type(value) in PLAIN:
        return getsizeof(value)
    return min(max(int(sizeof(value)), 0), SIZE_AT_MOST)


def collect() -> None:
    """Gives back to the system what nobody refers to any more."""
    import ctypes

    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another C library than glibc: it returns memory by itself or not at all


def pickled(error: BaseException) -> bytes:
    try:
        data = distributed_pickle.dumps(error)
        distributed_pickle.loads(data)
        return data
    except Exception:
        return distributed_pickle.dumps(Exception(repr(error)))


class Data(MutableMapping):
    """`worker.data`: what is held, opened as it is looked at. What Python puts in is told to the worker."""

    def __init__(self, values: Values):
        self.values_held = values

    def __getitem__(self, key):
        return self.values_held.open(key, self.values_held.held[key])

    def __setitem__(self, key, value):
        try:
            msgpack.packb(key, unicode_errors="surrogatepass")
        except Exception:
            raise TypeError(f"{key!r} cannot be a key") from None
        size = size_of(value)
        self.values_held.add(key, value)
        self.values_held.line.post(["hold", key, size, typename(type(value))])

    def __delitem__(self, key):
        del self.values_held.held[key]
        self.values_held.drop([key])

    def __contains__(self, key):
        return key in self.values_held.held

    def __iter__(self):
        return iter(list(self.values_held.held))

    def __len__(self):
        return len(self.values_held.held)

    def __repr__(self):
        return f"<{len(self)} values>"

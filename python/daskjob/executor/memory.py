"""Frames that are not copied: memfds, written once and mapped; and memory of this process that the worker reads.

Owns descriptors (closed with the last object that needs them), their number, and receipts for what arrived. Must not know
values or messages. Invariant: a memfd that arrived is written to by nobody but us until its receipt is gone, so what is
mapped from it may be changed in place, as a value in a stock worker may.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import threading

IN_SHARED_MEMORY_BYTES = 64 << 10
ALIGNMENT = 64
#: For `dumps`: the worker compresses where it pays, on its way out.
UNCOMPRESSED = {"compression": None}
#: The kernel takes no more in one call.
WRITE_BYTES = 1 << 30
BUFFERS_IN_ONE_WRITE = 512


class Open:
    """How many descriptors are kept, and how many may be (others need some too)."""

    count = 0
    at_most = 256

    @classmethod
    def raise_limit(cls) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (ValueError, OSError):
            pass
        cls.at_most = max(64, soft // 4)


class Segment:
    """A memfd of ours or of the worker's, open until nothing refers to it."""

    #: Of a memfd of the worker's.
    receipt = None

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self.lock = threading.Lock()
        self.whole: memoryview | None = None
        Open.count += 1

    @classmethod
    def received(cls, descriptor: int) -> Segment:
        segment = cls(descriptor)
        segment.receipt = Receipt(os.fstat(descriptor).st_ino)
        return segment

    def __del__(self):
        Open.count -= 1
        try:
            os.close(self.descriptor)
        except OSError:
            pass

    def view(self) -> memoryview:
        """All of it, mapped once; what is made of it keeps the mapping, not the descriptor."""
        with self.lock:
            if self.whole is None:
                size = os.fstat(self.descriptor).st_size
                try:
                    mapping = Mapping(self.descriptor, size, mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
                    mapping.receipt = self.receipt
                    self.whole = memoryview(mapping)
                except OSError:  # too many maps or files: a copy does as well
                    self.whole = memoryview(self.read(size))
            return self.whole

    def read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, offset = memoryview(data), 0
        while offset < size:
            count = os.preadv(self.descriptor, [view[offset : offset + WRITE_BYTES]], offset)
            if not count:
                raise OSError("shared memory is shorter than it was")
            offset += count
        return data


class Mapping(mmap.mmap):
    """What values are made of keeps it, and it the receipt, longer than the segment lives."""

    receipt = None


class Receipt:
    """The worker is told when it goes: then nothing here refers to that memory any more, and it may be filled anew."""

    __slots__ = ("number", "forks")
    tell = None
    forked = 0

    def __init__(self, number: int):
        self.number, self.forks = number, Receipt.forked

    def __del__(self):
        if Receipt.tell is not None:
            mine = [self.number]
            # A process that a task forked meanwhile may still look at it.
            Receipt.tell(["released", mine, []] if self.forks == Receipt.forked else ["released", [], mine])

    @classmethod
    def begin(cls, tell) -> None:
        cls.tell = staticmethod(tell)
        os.register_at_fork(after_in_parent=cls.forks_once_more, after_in_child=cls.let_go)

    @classmethod
    def forks_once_more(cls) -> None:
        cls.forked += 1

    @classmethod
    def let_go(cls) -> None:
        cls.tell = None


class Buffer(ctypes.Structure):
    """`Py_buffer`."""

    _fields_ = [
        ("address", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("length", ctypes.c_ssize_t),
        ("item", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


get_buffer = ctypes.pythonapi.PyObject_GetBuffer
get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(Buffer), ctypes.c_int]
release_buffer = ctypes.pythonapi.PyBuffer_Release
release_buffer.argtypes = [ctypes.POINTER(Buffer)]
release_buffer.restype = None


class Lent:
    """A frame that stays where it is for as long as this lives; the worker reads it there."""

    __slots__ = ("buffer", "address", "length")

    def __init__(self, frame):
        self.buffer = None
        buffer = Buffer()
        get_buffer(frame, ctypes.byref(buffer), 0)
        self.buffer, self.address, self.length = buffer, buffer.address, buffer.length

    def __del__(self):
        if self.buffer is not None:
            release_buffer(ctypes.byref(self.buffer))


class Piece:
    """A frame that lies in a segment."""

    __slots__ = ("segment", "offset", "length")

    def __init__(self, segment: Segment, offset: int, length: int):
        self.segment, self.offset, self.length = segment, offset, length

    def view(self) -> memoryview:
        view = self.segment.view()[self.offset : self.offset + self.length]
        if len(view) != self.length:
            raise ValueError("a frame reaches beyond its shared memory")
        return view


class Parcel:
    """A value as it crosses the line: header and frames, each bytes or a piece."""

    __slots__ = ("header", "frames")

    def __init__(self, header: bytes, frames: list):
        self.header, self.frames = header, frames

    @property
    def shared_bytes(self) -> int:
        return sum(frame.length for frame in self.frames if type(frame) is Piece)

    @property
    def lent(self) -> list[Lent]:
        return [frame for frame in self.frames if type(frame) is Lent]

    def buffers(self) -> list:
        return [frame.view() if type(frame) is Piece else frame for frame in self.frames]


class Arrivals:
    """Descriptors of one packet that came in; each becomes a segment when a frame first names it."""

    __slots__ = ("descriptors", "segments")

    def __init__(self, descriptors: list[int]):
        self.descriptors: list[int | None] = descriptors
        self.segments: dict[int, Segment] = {}

    def frames(self, frames) -> list:
        return [frame if type(frame) is bytes else self.piece(*frame) for frame in frames]

    def parcel(self, value) -> Parcel:
        header, frames = value
        return Parcel(header, self.frames(frames))

    def piece(self, index: int, offset: int, length: int) -> Piece:
        segment = self.segments.get(index)
        if segment is None:
            segment = self.segments[index] = Segment.received(self.descriptors[index])
        return Piece(segment, offset, length)

    def pipe(self, index: int) -> int:
        """The end of one, which is the caller's from here on."""
        descriptor, self.descriptors[index] = self.descriptors[index], None
        return descriptor

    def close_others(self) -> None:
        """What no frame named."""
        for index, descriptor in enumerate(self.descriptors):
            if index not in self.segments and descriptor is not None:
                os.close(descriptor)


NO_ARRIVALS = Arrivals([])


class Departures:
    """Descriptors that a message to be sent brings, numbered as its frames name them."""

    def __init__(self):
        self.descriptors: list[int] = []
        self.segments: dict[int, tuple[int, Segment]] = {}

    def value(self, parcel: Parcel) -> list:
        return [parcel.header, self.frames(parcel.frames)]

    def frames(self, frames: list) -> list:
        return [frame if type(frame) is bytes else self.named(frame) for frame in frames]

    def named(self, piece: Piece | Lent):
        if type(piece) is Lent:
            return piece.address, piece.length
        known = self.segments.get(id(piece.segment))
        if known is None:
            known = self.segments[id(piece.segment)] = (len(self.descriptors), piece.segment)
            self.descriptors.append(piece.segment.descriptor)
        return known[0], piece.offset, piece.length


def size_of(frame) -> int:
    return frame.nbytes if isinstance(frame, memoryview) else len(frame)


def shared(frames: list) -> list:
    """Frames with the large ones moved to one new segment; all as bytes where there is none to be had."""
    large = [frame for frame in frames if size_of(frame) >= IN_SHARED_MEMORY_BYTES]
    if large and (descriptor := new_descriptor()) is not None:
        segment = Segment(descriptor)
        places = iter(write_all(descriptor, large))
        return [
            Piece(segment, *next(places)) if size_of(frame) >= IN_SHARED_MEMORY_BYTES else bytes(frame)
            for frame in frames
        ]
    return [frame if type(frame) is bytes else bytes(frame) for frame in frames]


def lent(frames: list) -> list:
    """Frames with the large ones left where they are."""
    return [Lent(frame) if size_of(frame) >= IN_SHARED_MEMORY_BYTES else bytes(frame) for frame in frames]


def new_descriptor() -> int | None:
    try:
        return os.memfd_create("daskjob", os.MFD_CLOEXEC)
    except OSError:
        return None


def write_all(descriptor: int, frames: list) -> list[tuple[int, int]]:
    """Writes them one behind the other, without the GIL; where each lies."""
    places, offset = [], 0
    run, run_offset = [], 0
    for frame in frames:
        size = size_of(frame)
        if offset % ALIGNMENT or len(run) == BUFFERS_IN_ONE_WRITE:
            write_run(descriptor, run, run_offset)
            offset += -offset % ALIGNMENT
            run, run_offset = [], offset
        view = memoryview(frame)
        run.append(view if view.format == "B" and view.ndim == 1 else view.cast("B"))
        places.append((offset, size))
        offset += size
    write_run(descriptor, run, run_offset)
    return places


def write_run(descriptor: int, buffers: list, offset: int) -> None:
    while buffers:
        part, size = [], 0
        while buffers and size < WRITE_BYTES:
            head = buffers.pop(0)
            if len(head) > WRITE_BYTES - size:
                buffers.insert(0, head[WRITE_BYTES - size :])
                head = head[: WRITE_BYTES - size]
            part.append(head)
            size += len(head)
        written = os.pwritev(descriptor, part, offset)
        offset += written
        missing = size - written
        while missing:  # a short write: what is left goes first in the next one
            tail = part.pop()
            keep = min(missing, len(tail))
            buffers.insert(0, tail[len(tail) - keep :])
            missing -= keep

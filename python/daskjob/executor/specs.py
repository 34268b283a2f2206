"""From the bytes of a run_spec to a task that can be called.

Owns what is remembered from one spec to the next. Schedulers that write the function in front of what differs from task
to task (ours does) let it be opened once: `SharedStarts` keeps the opened start and reads only the rest. Invariant: what
comes out equals what unpickling all of the bytes gives, and a task cannot tell: a function is shared only if nothing that
belongs to it can be changed (`can_be_shared`), because in a stock worker each task has its own.
"""

from __future__ import annotations

import dis
import functools
import inspect
import io
import pickle
import sys
import threading
import types
from struct import Struct

from dask._task_spec import Task
from distributed.protocol.compression import decompress
from msgpack import unpackb

from .values import unseal

FRAME = Struct("<3sQ").pack
#: How a start ends: the class loaded for the first time, an empty task made of it and not remembered.
END_OF_START = b"\x8c\x0fdask._task_spec\x94\x8c\x04Task\x94\x93\x94)\x81"
MEMOIZE = 0x94
STARTS_AT_MOST = 16
START_BYTES_AT_MOST = 64 << 10


class Start:
    """The beginning many specs have in common, opened."""

    def __init__(self, data: bytes):
        self.data = data
        self.opened = pickle.Unpickler(io.BytesIO(data + b"."))
        empty = self.opened.load()
        memo = self.opened.memo.copy()
        place = max(index for index, value in memo.items() if value is Task)
        if type(empty) is not Task or sorted(memo) != list(range(len(memo))) or place > 255:
            raise ValueError("not a start")
        # What follows numbers its own objects from here on; counting up costs less than the objects.
        self.counting = FRAME(b"\x80\x05\x95", len(memo) + 2) + b"N" + b"\x94" * len(memo) + b"."
        self.again = b"h" + bytes([place]) + b")\x81"
        self.is_coroutine: bool | None = None
        self.is_shared = False

    def task(self, data: bytes):
        rest = data[len(self.data) :]
        unpickler = pickle.Unpickler(
            io.BytesIO(b"".join((self.counting, FRAME(b"\x80\x05\x95", len(rest) + 4), self.again, rest)))
        )
        unpickler.load()
        unpickler.memo = self.opened.memo
        return unpickler.load()


class SharedStarts:
    """The starts seen last."""

    def __init__(self):
        self.starts: list[Start] = []
        self.lock = threading.Lock()

    def forget(self) -> None:
        """Modules may have changed: what is open must be opened anew."""
        self.starts = []

    def task(self, data: bytes):
        """(task, whether it is a coroutine function's)"""
        for start in self.starts:
            if data.startswith(start.data):
                task = start.task(data) if start.is_shared else pickle.loads(data)
                break
        else:
            start, task = self.learn(data), pickle.loads(data)
            if start is None:
                return task, is_coroutine(task)
        if start.is_coroutine is None:
            start.is_coroutine = is_coroutine(task)
        return task, start.is_coroutine

    def learn(self, data: bytes) -> Start | None:
        end = data.find(END_OF_START, 0, START_BYTES_AT_MOST)
        if end < 0 or data[end + len(END_OF_START)] == MEMOIZE:
            return None
        try:
            start = Start(data[: end + len(END_OF_START)])
            function = start.task(data).func
        except Exception:
            return None  # unpickling all of it says what is wrong
        try:
            start.is_shared = can_be_shared(function, set())
        except Exception:
            pass  # what cannot be looked at (an empty cell) is not shared
        with self.lock:
            self.starts = [start, *self.starts[: STARTS_AT_MOST - 1]]
        return start


#: Cannot be changed, so nobody can tell how many there are.
UNCHANGING = frozenset([int, float, complex, bool, str, bytes, type(None), type(Ellipsis), range])
CHANGING_OPERATIONS = frozenset(["STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "STORE_DEREF", "DELETE_DEREF"])


def can_be_shared(value, seen: set) -> bool:
    """Whether tasks that share it compute what they would with one each."""
    kind = type(value)
    if kind in UNCHANGING or id(value) in seen or isinstance(value, (type, types.ModuleType)):
        return True
    seen.add(id(value))
    if kind in (tuple, frozenset):
        return all(can_be_shared(item, seen) for item in value)
    if is_found_by_name(value):
        return True
    if kind is functools.partial:
        parts = (value.func, value.args, *value.keywords.values())
        return not value.__dict__ and all(can_be_shared(part, seen) for part in parts)
    return kind is types.FunctionType and function_can_be_shared(value, seen)


def function_can_be_shared(function, seen: set) -> bool:
    """One that travelled by value brings copies of what it refers to."""
    if function.__dict__ or changes_something(function.__code__):
        return False
    brought = [function.__defaults__, *(function.__kwdefaults__ or {}).values()]
    brought += [cell.cell_contents for cell in function.__closure__ or ()]
    brought += [thing for name, thing in function.__globals__.items() if not name.startswith("__")]
    return all(can_be_shared(thing, seen) for thing in brought)


def changes_something(code) -> bool:
    inner = any(changes_something(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return inner or any(step.opname in CHANGING_OPERATIONS for step in dis.get_instructions(code))


def is_found_by_name(value) -> bool:
    """Pickled by reference: there is one in this process in any case."""
    module = sys.modules.get(getattr(value, "__module__", None) or "builtins")
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if module is None or module.__name__ == "__main__" or not isinstance(name, str):
        return False
    for part in name.split("."):
        module = getattr(module, part, None)
    return module is value


def is_coroutine(task) -> bool:
    function = getattr(task, "func", None)
    if type(function) is types.FunctionType and not function.__dict__:  # nobody marked it
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    return bool(task.is_coro)


def open_spec(parcel, starts: SharedStarts):
    """(task, whether it is a coroutine function's) from a run_spec as compute-task carries it."""
    header = unpackb(parcel.header, use_list=False, strict_map_key=False)
    pickled = header.get("pickled-obj")
    if pickled is None:
        task = unseal(parcel)
        return task, is_coroutine(task)
    if not parcel.frames:
        return starts.task(pickled)
    buffers = parcel.buffers()
    if any(header.get("compression") or ()):
        buffers = decompress(header, buffers)
    task = pickle.loads(pickled, buffers=buffers)
    return task, is_coroutine(task)

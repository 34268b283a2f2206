"""From what a task did to the message that says so.

Owns the wording of `done` and `erred`. Must not know threads. Invariant: nothing a user's value or exception does here
(a `__sizeof__` or `__repr__` that raises, an exception that cannot be pickled) keeps the worker from hearing of the task.
"""

from __future__ import annotations

import sys
from types import TracebackType

from dask.utils import typename
from distributed import core
from distributed.core import error_message
from distributed.protocol import pickle as distributed_pickle

from .values import size_of

TYPES_AT_MOST = 1000

#: A traceback that is longer, as that of endless recursion, can often not be pickled; of it these are kept at either end.
FRAMES_AT_MOST = 100
FRAMES_KEPT = 20


class Types:
    """Name and pickle of each class of results, made once."""

    def __init__(self):
        self.known: dict[type, tuple[str, bytes]] = {}

    def of(self, kind: type) -> tuple[str, bytes]:
        if len(self.known) >= TYPES_AT_MOST:
            self.known.clear()
        name = typename(kind)
        try:
            data = distributed_pickle.dumps(kind)
        except Exception:  # some classes cannot be pickled, such as those of locks
            data = distributed_pickle.dumps(name)
        described = self.known[kind] = (name, data)
        return described


def done(run, value, types: Types, start: float, stop: float, thread: int) -> list:
    """May raise what measuring the value raises: the task has failed then, as in stock."""
    kind = type(value)
    described = types.known.get(kind)
    if described is None:
        described = types.of(kind)
    return ["done", run, size_of(value), described[0], described[1], start, stop, thread]


def erred(run, error: BaseException, start: float | None, stop: float | None, thread: int) -> list:
    """Called while the exception is handled. `error_message` takes the traceback from there; our own frames go first."""
    try:
        message = error_message(error)
    except Exception:  # not even its repr can be had
        try:
            raise RuntimeError(f"{type(error).__name__}, which cannot be shown or pickled")
        except RuntimeError as replacement:
            message = error_message(replacement)
    return [
        "erred",
        run,
        bare(message["exception"]),
        traceback_of(message),
        printable(message["exception_text"]),
        printable(message["traceback_text"]),
        start,
        stop,
        thread,
    ]


def traceback_of(message: dict) -> bytes | None:
    """Where it cannot be pickled its text stands there, at which clients stop listening; so they get none."""
    if message["traceback"] is None:
        return None
    data = bare(message["traceback"])
    try:
        is_text = isinstance(distributed_pickle.loads(data), str)
    except Exception:
        is_text = True
    return None if is_text else data


def without_our_frames(error: BaseException) -> None:
    """Users see their own code, not who called it, and of what is too long beginning and end."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    if traceback is None:
        return
    parts = [traceback]
    while parts[-1].tb_next is not None:
        parts.append(parts[-1].tb_next)
    error.__traceback__ = traceback
    if len(parts) > FRAMES_AT_MOST:
        error.__traceback__ = ends_of(parts)
        if sys.version_info >= (3, 11):
            error.add_note(f"{len(parts) - 2 * FRAMES_KEPT} calls between the first and the last are not shown")


def ends_of(parts: list[TracebackType]) -> TracebackType:
    whole = None
    for part in reversed(parts[:FRAMES_KEPT] + parts[-FRAMES_KEPT:]):
        whole = TracebackType(whole, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return whole


def traceback_of_handled():
    """For Python 3.10, where shortening an exception's traceback does not shorten that of `sys.exc_info`."""
    error = sys.exc_info()[1]
    traceback = None if error is None else error.__traceback__
    while traceback is not None and any(part in traceback.tb_frame.f_code.co_filename for part in CALLERS):
        traceback = traceback.tb_next
    return traceback


#: Files of those who call a task.
CALLERS = ("dask/_task_spec", "concurrent/futures", "distributed/worker")
if sys.version_info < (3, 11):
    core.get_traceback = traceback_of_handled


def bare(serialize) -> bytes:
    return bytes(getattr(serialize, "data", serialize))


def printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()

"""From what a task did to the message that says so.

Owns the wording of `done` and `erred`. Must not know threads. Invariant: nothing a user's value or exception does here
(a `__sizeof__` or `__repr__` that raises, an exception that cannot be pickled) keeps the worker from hearing of the task.
"""

from __future__ import annotations

import sys

from dask.utils import typename
from distributed import core
from distributed.core import error_message
from distributed.protocol import pickle as distributed_pickle

from .values import size_of

TYPES_AT_MOST = 1000


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
    traceback = message["traceback"]
    return [
        "erred",
        run,
        bare(message["exception"]),
        None if traceback is None else bare(traceback),
        printable(message["exception_text"]),
        printable(message["traceback_text"]),
        start,
        stop,
        thread,
    ]


def without_our_frames(error: BaseException) -> None:
    """Users see their own code, not who called it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    if traceback is not None:
        error.__traceback__ = traceback


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

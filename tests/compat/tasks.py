"""Functions that tests send to workers by reference, as a user's own module would be."""

from __future__ import annotations

import os
import threading
import time


def increment(x):
    return x + 1


def add(x, y):
    return x + y


def total(xs):
    return sum(xs)


def sleep_and_return(seconds, value=None):
    time.sleep(seconds)
    return value


def fail(message="the reason"):
    raise ValueError(message)


def fail_until(path, successes_after, pause_s=0):
    """Fails until it has been called more than `successes_after` times; counts in a file."""
    time.sleep(pause_s)
    with open(path, "a") as file:
        file.write("x")
    calls = os.path.getsize(path)
    if calls <= successes_after:
        raise RuntimeError(f"call {calls}")
    return calls


def end_process(code=9):
    os._exit(code)


def here():
    """The address of the worker that runs this."""
    from distributed import get_worker

    return get_worker().address


def thread_name():
    return threading.current_thread().name


class Weird(Exception):
    """An exception with an extra argument."""

    def __init__(self, message, extra):
        super().__init__(message, extra)
        self.extra = extra


def wait_for_file(path, value=None, timeout_s=60):
    """Runs until the file exists: a task that a test can end, which no cancelling can."""
    deadline = time.monotonic() + timeout_s
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value

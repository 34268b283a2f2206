"""Objects that do something to whoever unpickles them, unless that is the process that pickled them."""

from __future__ import annotations

import os
import time


class Hostile:
    """Pickles to a call of `act` with the id of this process first; unpickles to what that returns, `None` here."""

    def __init__(self, act, *arguments):
        self.act = act
        self.arguments = arguments

    def __reduce__(self):
        return self.act, (os.getpid(), *self.arguments)

    def __dask_tokenize__(self):
        return self.act.__name__, self.arguments


def refuse(home, message="will not load"):
    """Also where it was pickled."""
    raise RuntimeError(message)


def end_process(home):
    if os.getpid() != home:
        os._exit(7)


def take(home, seconds):
    if os.getpid() != home:
        time.sleep(seconds)


def hoard(home, step_bytes):
    """Takes more and more memory, and uses it, at less than a thousand steps a second."""
    held = []
    while os.getpid() != home:
        held.append(b"x" * step_bytes)
        time.sleep(0.001)


def hoard_at_once(home, size_bytes):
    if os.getpid() != home:
        bytearray(size_bytes)

"""Lent frames poured into a pipe: their pages go on from there to a peer's connection, and nobody copies or reads them here.

Owns the threads that pour, one for each answer, and the pipe's end. Must not know values or messages. Invariant: frames stay
where they are for as long as they are poured; a pipe that nobody reads from any more ends it, at any byte.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading


class Vector(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = [("address", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def find_vmsplice():
    try:
        function = ctypes.CDLL(None, use_errno=True).vmsplice
    except (OSError, AttributeError):
        return None  # nothing is poured; the worker reads
    function.argtypes = [ctypes.c_int, ctypes.POINTER(Vector), ctypes.c_size_t, ctypes.c_uint]
    function.restype = ctypes.c_ssize_t
    return function


vmsplice = find_vmsplice()


def pour(pipe: int, frames: list) -> None:
    """Begins to pour these frames, one behind the other; the pipe is closed in any case."""
    if frames and vmsplice is not None:
        try:
            threading.Thread(target=run, args=(pipe, frames), name="daskjob-pour", daemon=True).start()
            return
        except RuntimeError:
            pass  # no more threads
    os.close(pipe)


def run(pipe: int, frames: list) -> None:
    try:
        # A task may have taken the signal's default back, which ends the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        for frame in frames:
            if not pour_all(pipe, frame.address, frame.length):
                break
    finally:
        os.close(pipe)


def pour_all(pipe: int, address: int, length: int) -> bool:
    """Without the GIL for as long as the pipe is full."""
    while length:
        count = vmsplice(pipe, Vector(address, length), 1, 0)
        if count > 0:
            address, length = address + count, length - count
        elif not count or ctypes.get_errno() != errno.EINTR:
            return False
    return True

"""Waiting for something that becomes true on its own time."""

from __future__ import annotations

import time


def eventually(condition, timeout_s: float = 15, pause_s: float = 0.02):
    """The first truthy value of `condition()`; a failure that shows the last value otherwise."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {timeout_s} s; last value: {value!r}")
        time.sleep(pause_s)

"""The one way to mark an intended difference between the implementations.

`@differs("native", why="…")` says: what this test asserts is meant not to hold under the native scheduler;
`@differs(worker="native", why="…")` the same of native workers, and with both only where the two meet. The test must then
fail there, so that a difference which disappears is noticed. What holds instead belongs in a test of its own, marked for
the other one.
"""

from __future__ import annotations

import pytest


def differs(scheduler: str | None = None, *, worker: str | None = None, why: str, runs: bool = True):
    """`runs=False` where even trying would hang or harm."""
    return pytest.mark.differs(scheduler=scheduler, worker=worker, why=why, runs=runs)

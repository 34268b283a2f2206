"""Graphs that hang or eat memory while they are opened: each is ended at its bound, and nobody else is harmed."""

from __future__ import annotations

import re
import time

import pytest

import tasks
from differences import differs
from hostile import Hostile, hoard, hoard_at_once, take

# Long enough for the memory limit to be reached first on a busy machine.
TIME_LIMIT_S = 5
MEMORY_LIMIT_BYTES = 256 * 2**20
CLUSTER = {
    "workers": {"only": ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]},
    "scheduler_args": [
        *("--graph-time-limit", f"{TIME_LIMIT_S}s", "--graph-memory-limit", str(MEMORY_LIMIT_BYTES)),
    ],
}

bounded = differs("stock", why="it opens graphs in its own process, without bounds", runs=False)


@bounded
def test_graph_that_hangs_is_ended_and_says_why(client):
    start = time.monotonic()
    future = client.submit(tasks.add, 1, Hostile(take, 3600))
    with pytest.raises(RuntimeError, match=re.escape(f"longer than {TIME_LIMIT_S} s (--graph-time-limit)")):
        future.result(timeout=25)
    assert TIME_LIMIT_S <= time.monotonic() - start < 20
    assert client.submit(tasks.increment, 1).result() == 2


@bounded
def test_graph_that_eats_memory_is_ended_and_says_why(cluster, client):
    future = client.submit(tasks.add, 1, Hostile(hoard, 2**20))
    most = 0
    while future.status == "pending":
        most = max(most, cluster.scheduler.resident_bytes())
        time.sleep(0.02)
    with pytest.raises(RuntimeError, match=r"reached its memory limit of 0\.2 GiB \(--graph-memory-limit"):
        future.result()
    assert MEMORY_LIMIT_BYTES < most < 4 * MEMORY_LIMIT_BYTES, "it was not ended in time"
    assert client.submit(tasks.increment, 1).result() == 2


@bounded
def test_graph_that_asks_for_too_much_memory_at_once_says_so(client):
    future = client.submit(tasks.add, 1, Hostile(hoard_at_once, 2**40))
    with pytest.raises(RuntimeError, match=r"memory limit of 0\.2 GiB"):
        future.result(timeout=25)
    assert client.submit(tasks.increment, 1).result() == 2


@bounded
@pytest.mark.parametrize("act", [(take, 3600), (hoard, 2**20)], ids=["hangs", "eats memory"])
def test_others_go_on_meanwhile_and_what_follows_is_not_lost(cluster, client, act):
    with cluster.client(set_as_default=False) as other:
        before = client.map(tasks.increment, range(10), pure=False)
        bad = client.map(tasks.add, range(5), y=Hostile(*act))
        after = client.map(tasks.increment, range(10), pure=False)
        theirs = [other.submit(tasks.increment, i, pure=False) for i in range(10)]
        assert other.gather(theirs) == list(range(1, 11))
        assert all(isinstance(future.exception(timeout=25), RuntimeError) for future in bad)
        assert client.gather(before) == client.gather(after) == list(range(1, 11))

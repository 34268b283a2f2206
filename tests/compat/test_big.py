"""Large numbers and large data."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
from distributed import wait

import tasks
from eventually import eventually

GIB = 2**30


@pytest.fixture
def six_gib_free():
    free = psutil.virtual_memory().available
    if free < 6 * GIB:
        pytest.skip(f"needs 6 GiB of free memory, {free / GIB:.1f} are there")


@pytest.fixture
def many(pairing):
    """A hundred thousand; fewer where something of stock is in it, which takes minutes, unless COMPAT_FULL is set."""
    all_native = (pairing.scheduler, pairing.worker) == ("native", "native")
    return 100_000 if all_native or os.environ.get("COMPAT_FULL") else 5_000


@pytest.mark.limit(600)
def test_map_of_a_hundred_thousand(client, many):
    futures = client.map(tasks.increment, range(many))
    wait(futures)
    assert client.submit(tasks.total, futures[:1000]).result() == sum(range(1, 1001))
    assert client.gather(futures) == list(range(1, many + 1))
    del futures
    eventually(lambda: client.who_has() == {}, timeout_s=60, pause_s=1)


@pytest.mark.limit(120)
@pytest.mark.parametrize("direct", [True, False])
def test_a_gibibyte_out_and_back(six_gib_free, client, direct):
    array = np.arange(GIB // 8, dtype="u8")
    future = client.scatter(array, direct=direct, hash=False)
    assert client.submit(lambda a: int(a[-1]), future).result() == GIB // 8 - 1
    back = client.gather(future, direct=direct)
    assert back.nbytes == GIB
    assert (back[:: 2**20] == array[:: 2**20]).all()
    del back
    future.release()
    eventually(lambda: client.who_has() == {})


@pytest.mark.limit(120)
def test_a_gibibyte_between_workers(six_gib_free, client):
    ones = client.submit(np.ones, GIB // 8, workers=["alice"])
    assert client.submit(lambda a: float(a.sum()), ones, workers=["bob"]).result(timeout=100) == GIB // 8


@pytest.mark.limit(120)
def test_large_argument_in_the_graph(six_gib_free, client):
    array = np.arange(200 * 2**20 // 8)
    assert client.submit(lambda a: int(a[-1]), array).result(timeout=100) == len(array) - 1

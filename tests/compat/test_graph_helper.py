"""Graphs that cannot be opened: errors of their futures and of nothing else."""

from __future__ import annotations

import time

import pytest

import tasks
from differences import differs
from hostile import Hostile, end_process, refuse, take


def test_unreadable_graph_is_an_error_of_its_futures(client):
    before = client.submit(tasks.increment, 1)
    future = client.submit(tasks.increment, Hostile(refuse))
    with pytest.raises(Exception, match="will not load|deserialization of the task graph"):
        future.result(timeout=20)
    assert before.result() == 2
    assert client.submit(tasks.increment, 2).result() == 3


def test_unreadable_graph_with_many_futures(client):
    futures = client.map(tasks.add, range(10), y=Hostile(refuse))
    for future in futures:
        assert future.exception(timeout=20) is not None


def test_what_follows_an_unreadable_graph_is_not_lost(client):
    futures = []
    for i in range(20):
        if i % 5 == 0:
            client.submit(tasks.add, i, Hostile(refuse))
        futures.append(client.submit(tasks.increment, i, pure=False))
    assert client.gather(futures) == list(range(1, 21))


@differs("stock", why="it opens graphs in its own process, which this would end", runs=False)
def test_graph_that_ends_its_helper_costs_only_itself(client):
    good = client.map(tasks.increment, range(20))
    bad = client.submit(tasks.increment, Hostile(end_process))
    after = client.map(tasks.add, range(20), y=100)
    error = bad.exception(timeout=25)
    assert error is not None
    assert str(error)
    assert client.gather(good) == list(range(1, 21))
    assert client.gather(after) == [i + 100 for i in range(20)]


@differs("stock", why="it opens graphs in its own process, which this would end", runs=False)
def test_graphs_of_other_clients_survive_a_helper(cluster, client):
    with cluster.client(set_as_default=False) as other:
        futures = []
        for i in range(10):
            futures.append(other.submit(tasks.increment, i, pure=False))
            if i % 3 == 0:
                client.submit(tasks.add, i, Hostile(end_process))
        assert other.gather(futures) == list(range(1, 11))


@pytest.mark.limit(60)
@differs("stock", why="it opens graphs on its event loop; nobody is served meanwhile", runs=False)
def test_slow_graph_of_one_client_does_not_hold_up_another(cluster, client):
    with cluster.client(set_as_default=False) as other:
        slow = client.submit(tasks.add, 1, Hostile(take, 20))
        time.sleep(0.3)
        start = time.monotonic()
        assert other.submit(tasks.increment, 1, pure=False).result(timeout=18) == 2
        # A second process may have to start first; the graph holds up whoever opens it for 20 s.
        assert time.monotonic() - start < 15
        del slow


def test_graph_of_a_class_only_the_client_has(client):
    """Classes of the test module itself travel by reference and are found on the module path."""

    class Local:
        value = 3

    assert client.submit(lambda thing: thing.value, Local()).result() == 3

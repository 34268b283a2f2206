"""Restarting the cluster and single workers."""

from __future__ import annotations

import os
import pathlib
import threading

import pytest
from distributed import CancelledError, wait

import tasks
from cluster import NANNIED
from eventually import eventually

CLUSTER = {"workers": NANNIED}


@pytest.mark.limit(60)
def test_restart_forgets_everything_and_renews_the_workers(cluster, client):
    before = {name: cluster.worker_pid(name) for name in ("alice", "bob")}
    future = client.submit(tasks.increment, 1, key="before-restart")
    future.result()
    client.restart(timeout=40)
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(timeout=5)
    assert client.who_has() == {}
    after = {name: cluster.worker_pid(name) for name in ("alice", "bob")}
    assert set(before.values()).isdisjoint(after.values())
    assert client.submit(tasks.increment, 1, key="before-restart").result() == 2


@pytest.mark.limit(60)
def test_restart_while_tasks_run(cluster, client, gate):
    futures = client.map(tasks.wait_for_file, [gate] * 10, range(10))
    eventually(lambda: sum(len(keys) for keys in client.processing().values()) >= 4)
    # A process that is told to end waits for its threads.
    opening = threading.Timer(1, pathlib.Path(gate).touch)
    opening.start()
    client.restart(timeout=40)
    opening.join()
    assert all(future.status == "cancelled" for future in futures)
    assert client.gather(client.map(tasks.increment, range(4))) == [1, 2, 3, 4]


@pytest.mark.limit(60)
def test_restart_reaches_other_clients(cluster, client):
    with cluster.client(set_as_default=False) as other:
        theirs = other.submit(tasks.increment, 1, key="of-another")
        theirs.result()
        client.restart(timeout=40)
        eventually(lambda: theirs.status == "cancelled")
        assert other.submit(tasks.increment, 5).result() == 6


@pytest.mark.limit(60)
def test_restart_of_chosen_workers(cluster, client):
    addresses = cluster.addresses(client)
    before = {name: cluster.worker_pid(name) for name in addresses}
    kept = client.submit(tasks.increment, 1, workers=["bob"], key="kept-on-bob")
    wait(kept)
    results = client.restart_workers([addresses["alice"]], timeout=40)
    assert results == {addresses["alice"]: "OK"}
    assert kept.result() == 2
    eventually(lambda: set(cluster.addresses(client)) == {"alice", "bob"}, timeout_s=20)
    assert cluster.worker_pid("bob") == before["bob"]
    assert cluster.worker_pid("alice") != before["alice"]


@pytest.mark.limit(60)
def test_restart_that_does_not_wait(cluster, client):
    before = set(cluster.addresses(client).values())
    client.restart(wait_for_workers=False)
    # Addresses of the old ones are gone at once, those of the new ones come in time.
    assert before.isdisjoint(client.nthreads())
    eventually(lambda: set(cluster.addresses(client)) == {"alice", "bob"}, timeout_s=20)
    assert client.submit(tasks.increment, 1).result() == 2


@pytest.mark.limit(60)
def test_restart_of_workers_without_a_nanny_removes_them(new_cluster):
    cluster = new_cluster(workers={"bare": ["--nthreads", "1", "--no-nanny"]})
    with cluster.client() as client:
        with pytest.raises(ValueError):
            client.restart_workers(list(client.nthreads()))


def test_restart_of_unknown_workers(client):
    with pytest.raises(Exception):
        client.restart_workers(["tcp://127.0.0.1:1"], timeout=5)
    assert client.submit(os.getpid, pure=False).result()

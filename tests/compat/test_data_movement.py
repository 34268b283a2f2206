"""replicate, rebalance, retire_workers: where data are."""

from __future__ import annotations

import pytest
from distributed import wait

import tasks
from eventually import eventually

THREE = {name: ["--nthreads", "1", "--no-nanny", "--memory-limit", "6GiB"] for name in ("one", "two", "three")}
CLUSTER = {"workers": THREE, "env": {"DASK_DISTRIBUTED__SCHEDULER__ACTIVE_MEMORY_MANAGER__START": "False"}}


def holders(client, future):
    return set(client.who_has([future])[future.key])


def test_replicate_to_all_and_to_some(cluster, client):
    future = client.submit(list, range(10), key="copied")
    wait(future)
    client.replicate([future])
    assert len(holders(client, future)) == 3
    client.replicate([future], n=1)
    eventually(lambda: len(holders(client, future)) == 1)
    client.replicate([future], n=2)
    assert len(holders(client, future)) == 2
    addresses = cluster.addresses(client)
    client.replicate([future], workers=[addresses["three"]], n=1)
    assert addresses["three"] in holders(client, future)
    assert future.result() == list(range(10))


def test_replicate_of_unfinished_futures(cluster, client):
    future = client.submit(tasks.sleep_and_return, 0.2, "slow", pure=False)
    client.replicate(future)
    assert len(holders(client, future)) == 3


def test_retired_worker_hands_over_its_data(cluster, client):
    addresses = cluster.addresses(client)
    futures = client.map(lambda i: f"value {i}", range(30), workers=["one"])
    wait(futures)
    scattered = client.scatter({"only-copy": [1, 2]}, workers=["one"])["only-copy"]
    retired = client.retire_workers(workers=[addresses["one"]], close_workers=True)
    assert set(retired) == {addresses["one"]}
    assert retired[addresses["one"]]["name"] == "one"
    assert set(cluster.addresses(client)) == {"two", "three"}
    assert client.gather(futures) == [f"value {i}" for i in range(30)]
    assert scattered.result() == [1, 2]
    eventually(lambda: not cluster.workers["one"].alive())


def test_retire_by_name(cluster, client):
    retired = client.retire_workers(names=["two"])
    assert [info["name"] for info in retired.values()] == ["two"]
    assert set(cluster.addresses(client)) == {"one", "three"}
    cluster.stop_worker("two")


def test_retired_but_not_removed_worker_stays_without_data_and_work(cluster, client):
    addresses = cluster.addresses(client)
    futures = client.map(lambda i: f"kept {i}", range(10), workers=["one"])
    wait(futures)
    retired = client.retire_workers(workers=[addresses["one"]], close_workers=False, remove=False)
    assert {address: info["name"] for address, info in retired.items()} == {addresses["one"]: "one"}
    assert cluster.addresses(client) == addresses
    statuses = {info["name"]: info["status"] for info in client.scheduler_info()["workers"].values()}
    assert statuses == {"one": "closing_gracefully", "two": "running", "three": "running"}
    assert all(len(holders(client, future)) > 1 for future in futures), "copied, and not yet dropped"
    assert client.gather(futures) == [f"kept {i}" for i in range(10)]
    ran_on = set(client.gather([client.submit(tasks.here, pure=False) for _ in range(12)]))
    assert ran_on <= {addresses["two"], addresses["three"]}
    assert cluster.workers["one"].alive()
    cluster.stop_worker("one")


def test_retire_while_tasks_run(cluster, client):
    addresses = cluster.addresses(client)
    futures = client.map(tasks.sleep_and_return, [0.2] * 12, range(12))
    client.retire_workers(workers=[addresses["one"], addresses["two"]], close_workers=True)
    assert client.gather(futures) == list(range(12))
    assert set(cluster.addresses(client)) == {"three"}
    eventually(lambda: not cluster.workers["one"].alive() and not cluster.workers["two"].alive())


def test_retire_of_nobody(cluster, client):
    assert client.retire_workers(workers=["tcp://127.0.0.1:1"]) == {}
    assert len(client.nthreads()) == 3


@pytest.mark.limit(60)
def test_rebalance_spreads_the_bytes(new_cluster):
    plan = {name: ["--nthreads", "1", "--no-nanny", "--memory-limit", "400MB"] for name in ("one", "two")}
    cluster = new_cluster(
        workers=plan,
        env={
            "DASK_DISTRIBUTED__SCHEDULER__ACTIVE_MEMORY_MANAGER__START": "False",
            "DASK_DISTRIBUTED__WORKER__MEMORY__REBALANCE__MEASURE": "managed",
            "DASK_DISTRIBUTED__WORKER__MEMORY__REBALANCE__SENDER_MIN": "0.05",
            "DASK_DISTRIBUTED__WORKER__MEMORY__REBALANCE__SENDER_RECIPIENT_GAP": "0.05",
            "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
            "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
            "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
        },
    )
    with cluster.client() as client:
        futures = client.map(lambda i: b"%d" % i * 10_000_000, range(10), workers=["one"], pure=False)
        wait(futures)

        def told_bytes():
            (one,) = [it for it in client.scheduler_info(n_workers=-1)["workers"].values() if it["name"] == "one"]
            return one["metrics"]["memory"]

        # No more is moved than what the worker has said it holds.
        eventually(lambda: told_bytes() > 100_000_000)
        client.rebalance(futures)
        counts = [len(keys) for keys in client.has_what().values()]
        assert sum(counts) == 10
        assert min(counts) >= 3

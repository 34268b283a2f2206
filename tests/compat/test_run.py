"""Functions run on the scheduler, on workers, on nannies."""

from __future__ import annotations

import os
import time

import pytest

from cluster import NANNIED

# A worker that is not there is tried for this long.
CLUSTER = {"workers": NANNIED, "env": {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}}


def test_run_on_every_worker(cluster, client):
    addresses = cluster.addresses(client)
    assert client.run(lambda x: x + 1, 1) == {address: 2 for address in addresses.values()}
    assert client.run(lambda x, y: x * y, 2, y=5, workers=[addresses["bob"]]) == {addresses["bob"]: 10}


def test_run_gets_the_worker(cluster, client):
    assert client.run(lambda dask_worker: dask_worker.name) == {
        address: name for name, address in cluster.addresses(client).items()
    }


def test_run_raises_what_the_function_raised(client):
    def fail():
        raise ZeroDivisionError("on a worker")

    with pytest.raises(ZeroDivisionError, match="on a worker"):
        client.run(fail)


def test_run_returns_errors_when_asked(client):
    def fail(dask_worker):
        if dask_worker.name == "alice":
            raise ZeroDivisionError("on alice")
        return "fine"

    returned = client.run(fail, on_error="return")
    assert sorted(type(value).__name__ for value in returned.values()) == ["ZeroDivisionError", "str"]
    assert list(client.run(fail, on_error="ignore").values()) == ["fine"]


def test_run_on_a_worker_that_is_not_there(client):
    with pytest.raises(OSError):
        client.run(os.getpid, workers=["tcp://127.0.0.1:9"])
    returned = client.run(os.getpid, workers=["tcp://127.0.0.1:9"], on_error="return")
    assert isinstance(returned["tcp://127.0.0.1:9"], OSError)
    assert client.run(os.getpid, workers=["tcp://127.0.0.1:9"], on_error="ignore") == {}


def test_run_of_a_coroutine(client):
    async def work(x):
        import asyncio

        await asyncio.sleep(0.01)
        return x

    assert set(client.run(work, 3).values()) == {3}


def test_run_without_waiting(client, tmp_path):
    async def mark(path):
        open(os.path.join(path, str(os.getpid())), "w").close()

    assert client.run(mark, str(tmp_path), wait=False) is None
    deadline = time.monotonic() + 10
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(list(tmp_path.iterdir())) == 2


def test_run_on_nannies(cluster, client):
    nannies = client.run(lambda dask_worker: type(dask_worker).__name__, nanny=True)
    assert list(nannies.values()) == ["Nanny", "Nanny"]
    assert len(nannies) == 2


def test_run_on_the_scheduler(client):
    assert client.run_on_scheduler(lambda: 5) == 5
    assert client.run_on_scheduler(lambda x, y=1: (x, y), 1, y=2) == (1, 2)


def test_run_on_the_scheduler_reads_its_state(cluster, client):
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address) == cluster.address
    workers = client.run_on_scheduler(lambda dask_scheduler: sorted(dask_scheduler.workers))
    assert workers == sorted(cluster.addresses(client).values())
    names = client.run_on_scheduler(
        lambda dask_scheduler: sorted(state.name for state in dask_scheduler.workers.values())
    )
    assert names == ["alice", "bob"]
    threads = client.run_on_scheduler(
        lambda dask_scheduler: {state.name: state.nthreads for state in dask_scheduler.workers.values()}
    )
    assert threads == {"alice": 2, "bob": 2}


def test_run_on_the_scheduler_reads_tasks(client):
    future = client.submit(abs, -1, key="seen")
    future.result()

    def look(dask_scheduler):
        task = dask_scheduler.tasks["seen"]
        return task.key, task.state, task.nbytes, len(task.who_has), task.prefix.name, len(task.dependencies)

    assert client.run_on_scheduler(look) == ("seen", "memory", 28, 1, "seen", 0)


def test_run_on_the_scheduler_raises(client):
    def fail():
        raise LookupError("on the scheduler")

    with pytest.raises(LookupError, match="on the scheduler"):
        client.run_on_scheduler(fail)


def test_run_of_a_coroutine_on_the_scheduler(client):
    async def work():
        return 7

    assert client.run_on_scheduler(work) == 7


def test_broadcast(cluster, client):
    replies = client.sync(client.scheduler.broadcast, msg={"op": "ping"})
    assert set(replies) == set(cluster.addresses(client).values())
    assert all(reply in (b"pong", "pong") for reply in replies.values())


def test_broadcast_to_some(cluster, client):
    bob = cluster.addresses(client)["bob"]
    assert set(client.sync(client.scheduler.broadcast, msg={"op": "ping"}, workers=[bob])) == {bob}
    by_host = client.sync(client.scheduler.broadcast, msg={"op": "ping"}, hosts=["127.0.0.1"], workers=[])
    assert len(by_host) == 2


def test_run_returns_large_values(client):
    values = client.run(lambda: b"v" * 5_000_000)
    assert {len(value) for value in values.values()} == {5_000_000}


def test_proxy_through_the_scheduler(cluster, client):
    alice = cluster.addresses(client)["alice"]
    reply = client.sync(client.scheduler.proxy, msg={"op": "identity"}, worker=alice)
    assert reply["type"] == "Worker"
    assert reply["nthreads"] == 2

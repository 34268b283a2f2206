"""Facts that adaptive scaling is made of."""

from __future__ import annotations

import asyncio
import time

import pytest
from distributed import wait

import tasks
from eventually import eventually

PLAIN = ["--nthreads", "1", "--no-nanny", "--memory-limit", "6GiB"]


def test_idle_cluster_needs_nobody(client):
    assert client.sync(client.scheduler.adaptive_target) == 0


def test_long_work_asks_for_more(client, gate):
    futures = client.map(tasks.wait_for_file, [gate] * 40, range(40))
    eventually(lambda: client.sync(client.scheduler.adaptive_target) > 2)
    target = client.sync(client.scheduler.adaptive_target, target_duration="1s")
    assert 2 < target <= 40
    open(gate, "w").close()
    wait(futures)
    eventually(lambda: client.sync(client.scheduler.adaptive_target) <= 2)


def test_idle_workers_may_close(cluster, client):
    addresses = set(cluster.addresses(client).values())
    assert set(client.sync(client.scheduler.workers_to_close, n=2)) == addresses
    (one,) = client.sync(client.scheduler.workers_to_close, n=1)
    assert one in addresses
    assert set(client.sync(client.scheduler.workers_to_close, n=2, attribute="name")) == {"alice", "bob"}
    assert list(client.sync(client.scheduler.workers_to_close, n=0)) == []
    assert len(client.sync(client.scheduler.workers_to_close, target=1)) == 1
    assert len(client.sync(client.scheduler.workers_to_close, minimum=1, n=2)) <= 2


def test_workers_to_close_leave_room_for_the_data(cluster, client):
    """The ratio is of the memory limits of those that stay to the data of all."""
    addresses = cluster.addresses(client)
    eventually(lambda: not any(client.has_what().values()))
    close = client.scheduler.workers_to_close
    assert set(client.sync(close, memory_ratio=2)) == set(addresses.values())
    future = client.submit(bytes, 1_000_000, workers=["alice"])
    wait(future)
    ((_, size),) = client.nbytes(summary=False).items()
    assert size >= 1_000_000
    ratio_with_one = 6 * 2**30 / size
    for ratio, closing in [(1, ["bob"]), (0.999 * ratio_with_one, ["bob"]), (1.001 * ratio_with_one, [])]:
        assert list(client.sync(close, memory_ratio=ratio)) == [addresses[name] for name in closing], ratio
    assert list(client.sync(close, memory_ratio=1, attribute="name")) == ["bob"]
    # A number comes first, and a ratio may add to it.
    assert list(client.sync(close, memory_ratio=1e12, n=1)) == [addresses["bob"]]
    assert list(client.sync(close, memory_ratio=1, n=0)) == [addresses["bob"]]
    assert list(client.sync(close, memory_ratio=1, minimum=2)) == []


def test_workers_that_work_stay(cluster, client, gate):
    futures = client.map(tasks.wait_for_file, [gate] * 2, range(2), workers=["alice"])
    alice = cluster.addresses(client)["alice"]
    eventually(lambda: client.processing()[alice])
    to_close = client.sync(client.scheduler.workers_to_close, n=1)
    assert list(to_close) == [cluster.addresses(client)["bob"]]
    open(gate, "w").close()
    wait(futures)


def test_workers_to_close_by_a_key(cluster, client):
    closing = client.sync(client.scheduler.workers_to_close, n=1, key=dumped(lambda state: state.name))
    assert closing


def dumped(function):
    import cloudpickle

    return cloudpickle.dumps(function)


def test_check_idle(client, gate):
    future = client.submit(tasks.wait_for_file, gate)
    eventually(lambda: any(client.processing().values()))
    assert client.sync(client.scheduler.check_idle) is None
    open(gate, "w").close()
    wait(future)
    idle_since = eventually(lambda: client.sync(client.scheduler.check_idle))
    assert abs(time.time() - idle_since) < 20
    assert client.sync(client.scheduler.check_idle) == idle_since


@pytest.mark.limit(60)
def test_retire_with_close(new_cluster):
    cluster = new_cluster(workers={"one": PLAIN, "two": PLAIN})
    with cluster.client() as client:
        names = client.sync(client.scheduler.workers_to_close, n=1, attribute="name")
        client.retire_workers(names=list(names), close_workers=True)
        eventually(lambda: len(client.nthreads()) == 1)
        (gone,) = names
        eventually(lambda: not cluster.workers[gone].alive())


@pytest.mark.limit(90)
def test_adaptive_scales_up_and_down(new_cluster):
    """`Adaptive` itself, over a cluster object whose workers are ours to start."""
    from distributed.deploy import SpecCluster
    from distributed import Worker

    cluster = new_cluster(workers={})

    class Remote:
        """A scheduler that is already there, as SpecCluster wants it."""

        status = "running"

        def __init__(self, address):
            from distributed.core import Status

            self.address = self.external_address = address
            self.status = Status.running

        def __await__(self):
            async def itself():
                return self

            return itself().__await__()

        async def close(self):
            from distributed.core import Status

            self.status = Status.closed

    async def work():
        async with SpecCluster(
            scheduler={"cls": Remote, "options": {"address": cluster.address}},
            worker={"cls": Worker, "options": {"nthreads": 1}},
            asynchronous=True,
        ) as spec:
            spec.adapt(minimum=0, maximum=3, interval="100ms", wait_count=2, target_duration="1s")
            from distributed import Client

            async with Client(spec.scheduler_address, asynchronous=True, set_as_default=False) as client:
                futures = client.map(tasks.sleep_and_return, [0.1] * 30, range(30))
                assert await client.gather(futures) == list(range(30))
                seen = len((await client.scheduler.identity())["workers"])
                assert 1 <= seen <= 3
                del futures
                for _ in range(200):
                    if not (await client.scheduler.identity())["workers"]:
                        return
                    await asyncio.sleep(0.1)
                raise AssertionError("workers did not go")

    asyncio.run(work())


def test_subscribing_to_workers(cluster):
    from distributed.comm import connect

    async def work():
        comm = await connect(cluster.address)
        await comm.write({"op": "subscribe_worker_status"})
        identity = await comm.read()
        assert identity["type"] == "Scheduler"
        assert len(identity["workers"]) == 2
        assert all("metrics" not in info for info in identity["workers"].values())
        process = cluster.start_worker("third", *PLAIN)
        (op, value) = (await asyncio.wait_for(comm.read(), 20))[0]
        assert op == "add"
        ((address, info),) = value["workers"].items()
        assert info["name"] == "third"
        process.terminate()
        (op, value) = (await asyncio.wait_for(comm.read(), 20))[0]
        assert (op, value) == ("remove", address)
        await comm.close()

    asyncio.run(work())
    cluster.workers.pop("third")

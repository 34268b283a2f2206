"""Whole computations: a stock scheduler and client, and two workers whose Python is the executor."""

import asyncio

import numpy
import pytest
from bridge import Bridge
from distributed import Client, Scheduler, get_client, worker_client

GENEROUS_SECONDS = 120


def on_cluster(test):
    """Runs a coroutine function with a client of a scheduler with two bridges of two threads."""

    def run():
        async def whole():
            async with Scheduler(port=0, dashboard_address="127.0.0.1:0", host="127.0.0.1") as scheduler:
                async with Bridge(scheduler.address, nthreads=2, name="one") as one:
                    async with Bridge(scheduler.address, nthreads=2, name="two") as two:
                        async with Client(scheduler.address, asynchronous=True) as client:
                            await test(client, one, two)

        asyncio.run(asyncio.wait_for(whole(), GENEROUS_SECONDS))

    run.__name__ = test.__name__
    return run


@on_cluster
async def test_maps_trees_and_errors_compute(client, one, two):
    futures = client.map(lambda x: x + 1, range(200))
    total = client.submit(sum, futures)
    assert await total == sum(range(1, 201))
    with pytest.raises(ZeroDivisionError):
        await client.submit(lambda: 1 / 0)
    placed = client.submit(lambda x: x.sum(), client.submit(numpy.ones, 1 << 20, workers=["one"]), workers=["two"])
    assert await placed == 1 << 20


@on_cluster
async def test_scattered_and_gathered_values_are_unchanged(client, one, two):
    block = numpy.arange(1 << 19)
    [future] = await client.scatter([block], broadcast=True)
    assert numpy.array_equal(await client.submit(lambda x: x * 2, future), block * 2)


@on_cluster
async def test_tasks_start_tasks(client, one, two):
    def fibonacci(n):
        if n < 2:
            return n
        with worker_client() as inner:
            return sum(inner.gather(inner.map(fibonacci, [n - 1, n - 2], pure=False)))

    assert await client.submit(fibonacci, 6) == 8

    def scatters():
        inner = get_client()
        future = inner.scatter(numpy.ones(100_000))
        return inner.submit(lambda x: int(x.sum()), future).result()

    assert await client.submit(scatters) == 100_000


class Counter:
    total = 0

    def add(self, number):
        self.total += number
        return self.total


@on_cluster
async def test_actors_are_called_by_clients_and_by_tasks(client, one, two):
    counter = await client.submit(Counter, actor=True, workers=["one"])
    assert await counter.add(2) == 2

    def calls(actor):
        return actor.add(3).result()

    assert await client.submit(calls, counter, workers=["two"]) == 5
    assert await client.submit(calls, counter, workers=["one"], pure=False) == 8
    assert await counter.total == 8


@on_cluster
async def test_dataframes_are_shuffled_by_p2p(client, one, two):
    pandas = pytest.importorskip("pandas")
    dataframe = pytest.importorskip("dask.dataframe")
    import dask

    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        frame = pandas.DataFrame({"a": numpy.arange(1000) % 17, "b": numpy.arange(1000)})
        shuffled = dataframe.from_pandas(frame, npartitions=8).shuffle("a", npartitions=5)
        parts = await client.gather(client.compute(shuffled.to_delayed()))
    assert sorted(value for part in parts for value in part["b"]) == list(range(1000))
    seen = [set(part["a"]) for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 17


@on_cluster
async def test_arrays_are_rechunked_by_p2p(client, one, two):
    array = pytest.importorskip("dask.array")
    import dask

    with dask.config.set({"array.rechunk.method": "p2p"}):
        whole = array.arange(10_000, chunks=100).reshape(100, 100).rechunk((100, 7))
        result = await client.compute(whole)
    assert numpy.array_equal(result, numpy.arange(10_000).reshape(100, 100))

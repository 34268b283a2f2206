"""Tasks that submit tasks."""

from __future__ import annotations

import os
import time

from distributed import (
    Reschedule,
    as_completed,
    fire_and_forget,
    get_client,
    get_worker,
    rejoin,
    secede,
    wait,
    worker_client,
)

import tasks
from eventually import eventually


def test_get_client_inside_a_task(client):
    def parent(n):
        inner = get_client()
        futures = inner.map(tasks.increment, range(n))
        return sum(inner.gather(futures))

    assert client.submit(parent, 10).result() == 55


def test_worker_client_inside_a_task(client):
    def parent():
        with worker_client() as inner:
            return inner.submit(tasks.add, 1, 2).result()

    assert client.submit(parent).result() == 3


def test_more_parents_than_threads_do_not_deadlock(client):
    def parent(i):
        with worker_client() as inner:
            return sum(inner.gather(inner.map(tasks.add, range(5), y=i)))

    assert client.gather(client.map(parent, range(12))) == [10 + 5 * i for i in range(12)]


def test_recursion(client):
    def fibonacci(n):
        if n < 2:
            return n
        inner = get_client()
        a, b = inner.submit(fibonacci, n - 1), inner.submit(fibonacci, n - 2)
        secede()
        a, b = inner.gather([a, b])
        rejoin()
        return a + b

    assert client.submit(fibonacci, 8).result(timeout=60) == 21


def test_secede_frees_the_thread(client):
    def long():
        secede()
        time.sleep(1)
        return "long"

    futures = [client.submit(long, pure=False) for _ in range(8)]
    start = time.monotonic()
    assert client.submit(tasks.increment, 1).result() == 2
    assert time.monotonic() - start < 0.9
    assert client.gather(futures) == ["long"] * 8


def test_rejoin_takes_a_thread_again(client):
    def there_and_back():
        secede()
        time.sleep(0.05)
        rejoin()
        return tasks.thread_name()

    assert len(client.gather([client.submit(there_and_back, pure=False) for _ in range(6)])) == 6


def test_scatter_inside_a_task(client):
    def parent():
        inner = get_client()
        data = inner.scatter(list(range(50)))
        return inner.submit(tasks.total, data).result()

    assert client.submit(parent).result() == sum(range(50))


def test_futures_returned_by_tasks(client):
    def parent():
        inner = get_client()
        future = inner.submit(tasks.increment, 41, key="made-inside")
        # The task is gone, and with it its wish for the result, before the caller can state its own.
        get_worker().kept_future = future
        return future

    future = client.submit(parent).result()
    assert future.key == "made-inside"
    assert client.submit(tasks.increment, future).result() == 43


def test_futures_inside_arguments_reach_a_task(client):
    inner_future = client.submit(tasks.increment, 9)

    def open_box(box):
        return box["deep"][0] + 1

    assert client.submit(open_box, {"deep": [inner_future]}).result() == 11


def test_fire_and_forget_inside_a_task(client, tmp_path):
    path = tmp_path / "ran"

    def parent(path):
        fire_and_forget(get_client().submit(lambda p: open(p, "w").close(), path))

    client.submit(parent, str(path)).result()
    eventually(path.exists)


def test_as_completed_inside_a_task(client):
    def parent():
        inner = get_client()
        secede()
        return sum(future.result() for future in as_completed(inner.map(tasks.increment, range(6))))

    assert client.submit(parent).result() == 21


def test_errors_of_inner_tasks(client):
    def parent():
        try:
            get_client().submit(tasks.fail, "inner").result()
        except ValueError as error:
            return f"caught {error}"

    assert client.submit(parent).result() == "caught inner"


def test_get_worker_inside_a_task(cluster, client):
    def where():
        worker = get_worker()
        return worker.address, worker.name

    addresses = cluster.addresses(client)
    address, name = client.submit(where, workers=["alice"], pure=False).result()
    assert (address, name) == (addresses["alice"], "alice")


def test_wait_inside_a_task(client):
    def parent():
        inner = get_client()
        futures = inner.map(tasks.increment, range(3), pure=False)
        wait(futures)
        return [future.status for future in futures]

    assert client.submit(parent).result() == ["finished"] * 3


def test_compute_inside_a_task(client):
    def parent():
        import dask

        with worker_client():
            return dask.delayed(sum)([dask.delayed(tasks.increment)(i) for i in range(5)]).compute()

    assert client.submit(parent).result() == 15


def test_task_that_asks_to_be_scheduled_again_runs_again(client, tmp_path):
    path = tmp_path / "calls"

    def twice(path):
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 2:
            raise Reschedule()
        return os.path.getsize(path)

    assert client.submit(twice, str(path)).result(timeout=10) == 2

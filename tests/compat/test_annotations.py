"""Where and how tasks run: workers, resources, retries, priorities, annotations."""

from __future__ import annotations

import time

import dask
import dask.array
import pytest
from distributed import wait

import tasks
from eventually import eventually


@pytest.fixture
def addresses(cluster, client):
    return cluster.addresses(client)


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_restricted_to_a_worker(client, addresses, name):
    futures = [client.submit(tasks.here, pure=False, workers=[addresses[name]]) for _ in range(6)]
    assert set(client.gather(futures)) == {addresses[name]}


def test_restricted_to_a_worker_by_name(client, addresses):
    assert client.submit(tasks.here, pure=False, workers="bob").result() == addresses["bob"]
    futures = client.map(lambda _: tasks.here(), range(4), workers=["alice"], pure=False)
    assert set(client.gather(futures)) == {addresses["alice"]}


def test_restricted_to_a_host(client, addresses):
    assert client.submit(tasks.here, pure=False, workers="127.0.0.1").result() in addresses.values()


def test_restricted_to_a_worker_by_host_name_and_port(client, addresses):
    named = {name: address.replace("tcp://127.0.0.1", "localhost") for name, address in addresses.items()}
    assert client.submit(tasks.here, pure=False, workers=[named["bob"]]).result() == addresses["bob"]
    assert client.submit(tasks.here, pure=False, workers=f"tcp://{named['alice']}").result() == addresses["alice"]
    with dask.annotate(workers=[named["alice"]]):
        delayed = [dask.delayed(tasks.here, pure=False)() for _ in range(4)]
    assert set(client.gather(client.compute(delayed, optimize_graph=False))) == {addresses["alice"]}
    futures = client.map(lambda _: tasks.here(), range(4), workers=[named["alice"], addresses["bob"]], pure=False)
    assert set(client.gather(futures)) <= set(addresses.values())


@pytest.mark.limit(60)
def test_restriction_to_a_host_that_cannot_be_found_is_an_error(client):
    future = client.submit(tasks.increment, 1, workers=["no-such-host.invalid:1234"], pure=False)
    # Waited for in vain it would be a TimeoutError, which is one too.
    assert isinstance(future.exception(timeout=50), OSError)
    assert client.submit(tasks.increment, 2, pure=False).result() == 3


def test_restriction_to_nobody_waits(client):
    future = client.submit(tasks.increment, 1, workers=["tcp://127.0.0.1:1"], pure=False)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.4)
    assert client.sync(client.scheduler.get_task_status, keys=[future.key]) == {future.key: "no-worker"}


def test_loose_restriction_runs_elsewhere(client, addresses):
    future = client.submit(tasks.here, workers=["tcp://127.0.0.1:1"], allow_other_workers=True, pure=False)
    assert future.result(timeout=10) in addresses.values()


def test_loose_restriction_without_workers_is_refused(client):
    with pytest.raises(ValueError):
        client.submit(tasks.here, allow_other_workers=True)


def test_resources_choose_the_worker(client, addresses):
    futures = [client.submit(tasks.here, resources={"GPU": 1}, pure=False) for _ in range(6)]
    assert set(client.gather(futures)) == {addresses["bob"]}


def test_resources_limit_what_runs_at_once(client):
    def span():
        start = time.time()
        time.sleep(0.1)
        return start, time.time()

    futures = [client.submit(span, resources={"GPU": 2}, pure=False) for _ in range(4)]
    spans = sorted(client.gather(futures))
    for (_, end), (start, _) in zip(spans, spans[1:]):
        assert end <= start + 0.005


def test_unavailable_resource_waits(client):
    future = client.submit(tasks.increment, 1, resources={"TPU": 1}, pure=False)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.4)
    assert client.sync(client.scheduler.get_task_status, keys=[future.key]) == {future.key: "no-worker"}


def test_annotate_workers_reaches_collections(client, addresses):
    with dask.annotate(workers=[addresses["bob"]]):
        values = [dask.delayed(tasks.here, pure=False)() for _ in range(4)]
    with dask.config.set({"optimization.fuse.active": False}):
        results = dask.compute(*values, scheduler=client, optimize_graph=False)
    assert set(results) == {addresses["bob"]}


def test_annotate_retries(client, tmp_path):
    with dask.annotate(retries=2):
        value = dask.delayed(tasks.fail_until)(str(tmp_path / "a"), 2)
    assert client.compute(value, optimize_graph=False).result() == 3


def test_annotate_resources(client, addresses):
    with dask.annotate(resources={"GPU": 1}):
        value = dask.delayed(tasks.here, pure=False)()
    assert client.compute(value, optimize_graph=False).result() == addresses["bob"]


def test_annotate_submit(client, addresses):
    with dask.annotate(workers=[addresses["alice"]]):
        assert client.submit(tasks.here, pure=False).result() == addresses["alice"]


def test_annotation_by_function_of_the_key(client):
    with dask.annotate(priority=lambda key: 5):
        array = dask.array.ones(10, chunks=5) + 1
    assert client.compute(array.sum(), optimize_graph=False).result() == 20


def test_unknown_annotations_are_kept(client):
    with dask.annotate(mine="a note"):
        future = client.submit(tasks.increment, 1, key="annotated")
    future.result()
    annotations = client.run_on_scheduler(lambda dask_scheduler: dict(dask_scheduler.tasks["annotated"].annotations))
    assert annotations["mine"] == "a note"


def test_compute_restricted(client, addresses):
    values = [dask.delayed(tasks.here, pure=False)() for _ in range(3)]
    futures = client.compute(values, workers=[addresses["bob"]])
    assert set(client.gather(futures)) == {addresses["bob"]}


def test_persist_restricted(client, addresses):
    array = dask.array.ones(100, chunks=10).persist(workers="alice", scheduler=client)
    wait(array)
    assert {address for holders in client.who_has(array).values() for address in holders} == {addresses["alice"]}


def test_compute_priority_and_resources(client, addresses):
    value = dask.delayed(tasks.here, pure=False)()
    assert client.compute(value, priority=3, resources={"GPU": 1}).result() == addresses["bob"]


def test_fifo_timeout(client):
    first = client.submit(tasks.increment, 1, fifo_timeout="1 s", pure=False)
    second = client.submit(tasks.increment, 2, fifo_timeout=0, pure=False)
    assert client.gather([first, second]) == [2, 3]


def test_all_threads_are_used_at_once(client):
    def span(_):
        start = time.time()
        time.sleep(0.5)
        return start, time.time()

    starts, ends = zip(*client.gather(client.map(span, range(4), pure=False)))
    assert max(starts) < min(ends)


def test_task_stays_where_its_large_input_is(client, addresses):
    data = client.submit(bytearray, 20_000_000, workers=[addresses["bob"]], pure=False)
    wait(data)
    futures = [client.submit(lambda d, i: tasks.here(), data, i, pure=False) for i in range(2)]
    assert set(client.gather(futures)) == {addresses["bob"]}
    eventually(lambda: len(client.who_has([data])[data.key]) == 1)

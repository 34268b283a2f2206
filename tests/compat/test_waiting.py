"""wait, as_completed and fire_and_forget."""

from __future__ import annotations

import gc
import time

import pytest
from distributed import as_completed, fire_and_forget, wait

import tasks
from eventually import eventually


def test_wait_for_all(client):
    futures = client.map(tasks.increment, range(10))
    done, not_done = wait(futures)
    assert done == set(futures)
    assert not_done == set()


def test_wait_for_the_first(client):
    quick = client.submit(tasks.increment, 1)
    slow = client.submit(tasks.sleep_and_return, 5, pure=False)
    done, not_done = wait([quick, slow], return_when="FIRST_COMPLETED")
    assert (done, not_done) == ({quick}, {slow})
    slow.cancel()


def test_wait_times_out(client):
    future = client.submit(tasks.sleep_and_return, 5, pure=False)
    with pytest.raises(TimeoutError):
        wait(future, timeout=0.2)
    future.cancel()


def test_wait_includes_failures(client):
    futures = [client.submit(tasks.fail), client.submit(tasks.increment, 1)]
    done, _ = wait(futures)
    assert {future.status for future in done} == {"error", "finished"}


def test_as_completed_yields_each_once(client):
    futures = client.map(tasks.increment, range(20))
    assert sorted(future.result() for future in as_completed(futures)) == list(range(1, 21))


def test_as_completed_yields_in_order_of_completion(client):
    slow = client.submit(tasks.sleep_and_return, 0.7, "slow", pure=False)
    quick = client.submit(tasks.sleep_and_return, 0.01, "quick", pure=False)
    assert [future.result() for future in as_completed([slow, quick])] == ["quick", "slow"]


def test_as_completed_with_results(client):
    futures = client.map(tasks.increment, range(5))
    results = {future.key: value for future, value in as_completed(futures, with_results=True)}
    assert sorted(results.values()) == [1, 2, 3, 4, 5]


def test_as_completed_raises_the_error_of_a_result(client):
    with pytest.raises(ValueError, match="the reason"):
        list(as_completed([client.submit(tasks.fail)], with_results=True))
    errors = list(as_completed([client.submit(tasks.fail)], with_results=True, raise_errors=False))
    assert len(errors) == 1


def test_as_completed_accepts_more_while_running(client):
    completed = as_completed([client.submit(tasks.increment, 0)])
    results = []
    for future in completed:
        results.append(future.result())
        if len(results) < 5:
            completed.add(client.submit(tasks.increment, future))
    assert results == [1, 2, 3, 4, 5]


def test_as_completed_in_batches(client):
    futures = client.map(tasks.increment, range(10))
    wait(futures)
    batches = list(as_completed(futures).batches())
    assert sorted(future.result() for batch in batches for future in batch) == list(range(1, 11))


def test_as_completed_times_out(client):
    future = client.submit(tasks.sleep_and_return, 5, pure=False)
    with pytest.raises(TimeoutError):
        list(as_completed([future], timeout=0.2))
    future.cancel()


def test_fire_and_forget_runs_without_its_future(client, tmp_path):
    path = tmp_path / "ran"
    future = client.submit(lambda p: (time.sleep(0.2), open(p, "w").close()), str(path))
    fire_and_forget(future)
    del future
    gc.collect()
    eventually(path.exists)
    eventually(lambda: client.who_has() == {})


def test_fire_and_forget_of_a_graph_survives_its_client(cluster, tmp_path):
    path = tmp_path / "ran"
    with cluster.client(set_as_default=False) as client:
        first = client.submit(tasks.sleep_and_return, 0.5, str(path), pure=False)
        fire_and_forget(client.submit(lambda p: open(p, "w").close(), first))
    eventually(path.exists)


def test_failed_fire_and_forget_is_forgotten(client):
    future = client.submit(tasks.fail, key="forgotten-failure")
    fire_and_forget(future)
    wait(future)
    del future
    gc.collect()
    eventually(lambda: "forgotten-failure" not in client.who_has())

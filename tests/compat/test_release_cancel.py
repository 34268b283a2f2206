"""Releasing, forgetting, cancelling and retrying."""

from __future__ import annotations

import gc
import time

import pytest
from distributed import CancelledError, wait

import tasks
from eventually import eventually


def test_released_results_are_dropped_and_forgotten(client):
    future = client.submit(tasks.increment, 1, key="to-release")
    future.result()
    assert client.who_has()["to-release"]
    future.release()
    eventually(lambda: "to-release" not in client.who_has())
    eventually(lambda: all("to-release" not in keys for keys in client.has_what().values()))


def test_garbage_collected_futures_are_released(client):
    futures = client.map(tasks.increment, range(50))
    wait(futures)
    assert len(client.who_has()) == 50
    del futures
    gc.collect()
    eventually(lambda: client.who_has() == {})


def test_inputs_of_a_wanted_result_are_released_once_computed(client):
    a = client.submit(tasks.increment, 1, key="input")
    b = client.submit(tasks.increment, a, key="output")
    del a
    gc.collect()
    assert b.result() == 3
    # The scheduler still knows the task, since "output" might have to be computed again.
    eventually(lambda: client.who_has()["input"] == ())
    assert len(client.who_has()["output"]) == 1


def test_cancel_of_a_running_task(client, gate):
    future = client.submit(tasks.wait_for_file, gate, key="sleeper")
    eventually(lambda: any("sleeper" in keys for keys in client.processing().values()))
    client.cancel(future)
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(timeout=5)
    eventually(lambda: all("sleeper" not in keys for keys in client.processing().values()))


def test_cancel_of_a_waiting_task(client, gate):
    blocker = client.submit(tasks.wait_for_file, gate)
    future = client.submit(lambda _: 1, blocker)
    future.cancel()
    with pytest.raises(CancelledError):
        future.result(timeout=5)
    assert future.status == "cancelled"


def test_cancel_keeps_the_reason(client, gate):
    future = client.submit(tasks.wait_for_file, gate)
    future.cancel(reason="because", msg="the user said so")
    with pytest.raises(CancelledError) as info:
        future.result(timeout=5)
    assert "because" in str(info.value)
    assert "the user said so" in str(info.value)


def test_cancel_of_dependents(client, gate):
    root = client.submit(tasks.wait_for_file, gate, key="cancelled-root")
    leaf = client.submit(lambda x: x, root, key="cancelled-leaf")
    client.cancel([root])
    eventually(lambda: leaf.status == "cancelled" or leaf.status == "error")


def wanted_by(client, key):
    return client.run_on_scheduler(
        lambda dask_scheduler: len(dask_scheduler.tasks[key].who_wants) if key in dask_scheduler.tasks else 0
    )


def test_cancel_without_force_leaves_what_another_client_wants(cluster, client, gate):
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(tasks.wait_for_file, gate, "kept", key="shared-cancel")
        theirs = other.submit(tasks.wait_for_file, gate, "kept", key="shared-cancel")
        eventually(lambda: wanted_by(other, "shared-cancel") == 2)
        client.cancel(mine)
        assert mine.cancelled()
        open(gate, "w").close()
        assert theirs.result(timeout=10) == "kept"


def test_cancel_with_force_cancels_for_everybody(cluster, client, gate):
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(tasks.wait_for_file, gate, key="forced-cancel")
        theirs = other.submit(tasks.wait_for_file, gate, key="forced-cancel")
        eventually(lambda: wanted_by(other, "forced-cancel") == 2)
        client.cancel(mine, force=True)
        with pytest.raises(CancelledError):
            theirs.result(timeout=10)


def test_cancelled_key_can_be_submitted_again(client, gate):
    first = client.submit(tasks.wait_for_file, gate, key="again")
    eventually(lambda: any("again" in keys for keys in client.processing().values()))
    client.cancel(first)
    # The notice of the cancellation names only the key: it must be past before the key is used again.
    eventually(lambda: wanted_by(client, "again") == 0)
    time.sleep(0.1)
    second = client.submit(tasks.increment, 1, key="again")
    assert second.result(timeout=30) == 2


@pytest.fixture
def pause_s(pairing):
    """A client that hears of the new result before it has the answer to its `retry` forgets the result. The stock
    scheduler lets it wait for ever then, so that there what is retried takes a moment."""
    return 0.3 if pairing.scheduler == "stock" else 0


def test_retry_after_the_cause_is_gone(client, tmp_path, pause_s):
    path = str(tmp_path / "calls")
    future = client.submit(tasks.fail_until, path, 1, pause_s=pause_s)
    with pytest.raises(RuntimeError, match="call 1"):
        future.result()
    future.retry()
    assert future.result() == 2


def test_retry_of_a_dependent_retries_the_cause(client, tmp_path, pause_s):
    path = str(tmp_path / "calls")
    cause = client.submit(tasks.fail_until, path, 1, pause_s=pause_s)
    dependent = client.submit(tasks.increment, cause)
    with pytest.raises(RuntimeError, match="call 1"):
        dependent.result()
    client.retry([dependent])
    assert dependent.result(timeout=10) == 3
    assert cause.result() == 2


def test_retries_are_spent_before_the_error_shows(client, tmp_path):
    assert client.submit(tasks.fail_until, str(tmp_path / "a"), 2, retries=2).result() == 3
    with pytest.raises(RuntimeError, match="call 2"):
        client.submit(tasks.fail_until, str(tmp_path / "b"), 5, retries=1).result()


def test_retries_in_map(client, tmp_path):
    paths = [str(tmp_path / str(i)) for i in range(4)]
    futures = client.map(tasks.fail_until, paths, successes_after=1, retries=1)
    assert client.gather(futures) == [2] * 4


def test_retries_in_compute(client, tmp_path):
    import dask

    value = dask.delayed(tasks.fail_until, pure=True)(str(tmp_path / "c"), 1)
    assert client.compute(value, retries=1).result() == 2


def test_error_of_a_released_task_can_be_computed_again(client, tmp_path):
    path = str(tmp_path / "calls")
    future = client.submit(tasks.fail_until, path, 1, key="second-chance")
    wait(future)
    assert future.status == "error"
    del future
    gc.collect()
    eventually(lambda: "second-chance" not in client.who_has())
    assert client.submit(tasks.fail_until, path, 1, key="second-chance").result() == 2


def test_releasing_waiting_tasks_lets_others_run(client, gate):
    blocked = client.map(lambda i, path: tasks.wait_for_file(path), range(20), path=gate, key="released-early")
    eventually(lambda: sum(len(keys) for keys in client.processing().values()) >= 4)
    del blocked
    gc.collect()
    open(gate, "w").close()
    assert client.submit(tasks.increment, 1).result() == 2
    eventually(lambda: len(client.who_has()) <= 1)

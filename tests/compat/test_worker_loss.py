"""Workers that die: what is computed again, what is lost, what is blamed."""

from __future__ import annotations

import os
import signal

import pytest
from distributed import CancelledError, KilledWorker, wait

import tasks
from cluster import NANNIED
from eventually import eventually

# Workers look for those that are gone for this long.
CLUSTER = {"workers": NANNIED, "env": {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}}

TWO_PLAIN = {name: ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"] for name in ("one", "two")}


def test_task_that_kills_its_worker_is_given_up(client):
    future = client.submit(tasks.end_process, key="killer")
    with pytest.raises(KilledWorker) as info:
        future.result(timeout=60)
    assert info.value.task == "killer"
    assert info.value.allowed_failures == 3
    assert info.value.last_worker.address.startswith("tcp://127.0.0.1:")
    assert "killer" in str(info.value)
    assert client.submit(tasks.increment, 1).result(timeout=30) == 2


test_task_that_kills_its_worker_is_given_up = pytest.mark.limit(90)(test_task_that_kills_its_worker_is_given_up)


@pytest.mark.limit(60)
def test_killed_worker_is_replaced_by_its_nanny(cluster, client):
    before = cluster.addresses(client)
    os.kill(cluster.worker_pid("alice"), signal.SIGKILL)
    eventually(lambda: before["alice"] not in client.scheduler_info(n_workers=-1)["workers"])
    eventually(lambda: set(cluster.addresses(client)) == {"alice", "bob"}, timeout_s=30)
    assert cluster.addresses(client)["alice"] != before["alice"]


@pytest.mark.limit(60)
def test_running_tasks_move_to_another_worker(cluster, client, gate):
    futures = client.map(tasks.wait_for_file, [gate] * 4, range(4), key="moved")
    address = cluster.addresses(client)["alice"]
    eventually(lambda: len(client.processing()[address]) == 2)
    os.kill(cluster.worker_pid("alice"), signal.SIGKILL)
    eventually(lambda: address not in client.processing())
    open(gate, "w").close()
    assert client.gather(futures) == [0, 1, 2, 3]


@pytest.mark.limit(60)
def test_lost_results_are_computed_again(cluster, client):
    futures = client.map(tasks.increment, range(100))
    wait(futures)
    total = client.submit(tasks.total, futures)
    assert total.result() == 5050
    os.kill(cluster.worker_pid("bob"), signal.SIGKILL)
    assert client.gather(futures) == list(range(1, 101))
    assert client.submit(tasks.total, futures, pure=False).result() == 5050


@pytest.mark.limit(60)
def test_lost_results_of_a_deep_graph(cluster, client):
    level = client.map(tasks.increment, range(50))
    for _ in range(5):
        level = client.map(tasks.increment, level)
    wait(level)
    os.kill(cluster.worker_pid("alice"), signal.SIGKILL)
    os.kill(cluster.worker_pid("bob"), signal.SIGKILL)
    assert client.gather(level) == [i + 6 for i in range(50)]


@pytest.mark.limit(60)
def test_lost_scattered_data_cannot_be_had_again(new_cluster):
    cluster = new_cluster(workers=TWO_PLAIN)
    with cluster.client() as client:
        data = client.scatter({"scattered": [1, 2, 3]}, workers=["one"])["scattered"]
        assert data.result() == [1, 2, 3]
        cluster.stop_worker("one")
        eventually(lambda: len(client.nthreads()) == 1)
        dependent = client.submit(tasks.total, data)
        with pytest.raises(CancelledError):
            data.result(timeout=15)
        with pytest.raises(CancelledError) as info:
            dependent.result(timeout=15)
        assert "lost" in str(info.value)
        assert client.submit(tasks.increment, 1).result() == 2


@pytest.mark.limit(60)
def test_allowed_failures_is_configurable(new_cluster):
    cluster = new_cluster(
        workers={"only": ["--nthreads", "1", "--nworkers", "1", "--memory-limit", "0"]},
        env={"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
    )
    with cluster.client() as client:
        future = client.submit(tasks.end_process, key="once")
        with pytest.raises(KilledWorker) as info:
            future.result(timeout=30)
        assert info.value.allowed_failures == 0


@pytest.mark.limit(60)
def test_work_waits_for_a_worker(new_cluster):
    cluster = new_cluster(workers={})
    with cluster.client() as client:
        future = client.submit(tasks.increment, 1)
        chain = client.submit(tasks.increment, future)
        with pytest.raises(TimeoutError):
            future.result(timeout=0.3)
        with pytest.raises(TimeoutError):
            client.scatter([1], timeout=0.3)
        cluster.start_worker("late", "--nthreads", "1", "--no-nanny")
        assert chain.result(timeout=30) == 3


@pytest.mark.limit(60)
def test_new_workers_share_the_work(new_cluster, gate):
    cluster = new_cluster(workers={"one": TWO_PLAIN["one"]})
    with cluster.client() as client:
        futures = client.map(lambda i, path: tasks.wait_for_file(path) or tasks.here(), range(40), path=gate)
        cluster.start_worker("two", *TWO_PLAIN["two"])
        client.wait_for_workers(2)
        open(gate, "w").close()
        assert len(set(client.gather(futures))) == 2


@pytest.mark.limit(60)
def test_no_workers_timeout(new_cluster):
    cluster = new_cluster(workers={}, env={"DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT": "1s"})
    with cluster.client() as client:
        with pytest.raises(Exception) as info:
            client.submit(tasks.increment, 1).result(timeout=20)
        assert type(info.value).__name__ == "NoWorkerError"


@pytest.mark.limit(60)
def test_stopped_worker_leaves_in_order(new_cluster):
    """SIGTERM to `dask worker` announces the end; nothing is blamed."""
    cluster = new_cluster(workers=TWO_PLAIN)
    with cluster.client() as client:
        futures = client.map(tasks.increment, range(20))
        wait(futures)
        assert cluster.workers["one"].terminate() == 0
        eventually(lambda: len(client.nthreads()) == 1)
        assert client.gather(futures) == list(range(1, 21))
        cluster.workers.pop("one")


@pytest.mark.limit(60)
def test_frozen_worker_is_removed_after_its_time(new_cluster):
    cluster = new_cluster(workers=TWO_PLAIN, env={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"})
    with cluster.client() as client:
        pid = cluster.workers["one"].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: len(client.nthreads()) == 1, timeout_s=30)
            assert client.gather(client.map(tasks.increment, range(4))) == [1, 2, 3, 4]
        finally:
            os.kill(pid, signal.SIGCONT)

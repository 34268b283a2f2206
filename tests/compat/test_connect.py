"""Connecting, and what the scheduler says about itself and its workers."""

from __future__ import annotations

import json

import distributed
import distributed.versions
import pytest
from distributed import Client

import wire
from cluster import NANNIED
from differences import differs
from eventually import eventually

CLUSTER = {"workers": NANNIED}


def test_client_connects_and_names_its_scheduler(cluster):
    with cluster.client() as client:
        assert client.status == "running"
        assert client.scheduler.address == cluster.address
        assert cluster.address in repr(client)


def test_client_connects_through_the_scheduler_file(cluster):
    with Client(scheduler_file=str(cluster.scheduler_file)) as client:
        assert client.submit(sum, [1, 2]).result() == 3


def test_scheduler_file_is_the_identity(cluster):
    identity = json.loads(cluster.scheduler_file.read_text())
    assert identity["type"] == "Scheduler"
    assert identity["address"] == cluster.address
    assert identity["id"].startswith("Scheduler-")
    assert isinstance(identity["services"]["dashboard"], int)
    assert "workers" in identity


def test_scheduler_info_describes_every_worker(cluster, client):
    info = client.scheduler_info(n_workers=-1)
    assert info["type"] == "Scheduler"
    assert info["id"].startswith("Scheduler-")
    assert info["address"] == cluster.address
    assert info["n_workers"] == 2
    assert info["total_threads"] == 4
    assert info["total_memory"] == 2 * 6 * 2**30
    assert isinstance(info["started"], float)
    workers = {worker["name"]: worker for worker in info["workers"].values()}
    assert set(workers) == {"alice", "bob"}
    assert workers["bob"]["resources"] == {"GPU": 2}
    assert workers["alice"]["resources"] == {}
    for address, worker in info["workers"].items():
        assert worker["type"] == "Worker"
        assert worker["id"] == worker["name"]
        assert worker["host"] == "127.0.0.1"
        assert worker["nthreads"] == 2
        assert worker["memory_limit"] == 6 * 2**30
        assert worker["status"] == "running"
        assert worker["nanny"].startswith("tcp://127.0.0.1:")
        assert worker["nanny"] != address
        assert worker["local_directory"]
        assert isinstance(worker["services"]["dashboard"], int)
        assert worker["last_seen"] > info["started"]
        assert worker["metrics"]["memory"] > 0
        assert worker["metrics"]["task_counts"] is not None


def test_scheduler_info_can_be_limited(client):
    assert len(client.scheduler_info(n_workers=1)["workers"]) == 1
    assert client.scheduler_info(n_workers=0)["workers"] == {}
    assert client.scheduler_info(n_workers=0)["n_workers"] == 2


def test_threads_of_each_worker(cluster, client):
    addresses = cluster.addresses(client)
    assert client.nthreads() == {address: 2 for address in addresses.values()}
    assert client.ncores(workers=[addresses["alice"]]) == {addresses["alice"]: 2}


def test_versions_of_all_agree(client):
    versions = client.get_versions(check=True)
    assert set(versions) == {"scheduler", "workers", "client"}
    for where in [versions["scheduler"], *versions["workers"].values()]:
        assert where["packages"]["distributed"] == distributed.__version__
        assert where["packages"]["dask"] == versions["client"]["packages"]["dask"]
        assert where["packages"]["msgpack"] == versions["client"]["packages"]["msgpack"]
        assert where["host"]["python"] == versions["client"]["host"]["python"]


def test_versions_of_other_packages(client):
    versions = client.get_versions(packages=["pytest"])
    assert versions["client"]["packages"]["pytest"] == pytest.__version__
    assert "pytest" in versions["scheduler"]["packages"]


def test_dashboard_link_leads_to_the_scheduler(cluster, client):
    assert client.dashboard_link == f"http://127.0.0.1:{cluster.http_port}/status"


def test_wait_for_workers(client):
    client.wait_for_workers(2, timeout=5)
    with pytest.raises(TimeoutError):
        client.wait_for_workers(3, timeout=0.5)


def test_connecting_to_nobody_times_out():
    with pytest.raises(OSError, match="Timed out trying to connect"):
        Client("tcp://127.0.0.1:9", timeout=0.5)


def test_scheduler_and_worker_logs(cluster, client):
    logs = client.get_scheduler_logs(n=5)
    assert logs
    assert all(len(entry) == 2 for entry in logs)
    worker_logs = client.get_worker_logs()
    assert set(worker_logs) == set(cluster.addresses(client).values())
    assert all(any(level == "INFO" for level, _ in lines) for lines in worker_logs.values())
    assert all(len(lines) == 1 for lines in client.get_worker_logs(n=1).values())
    nanny_logs = client.get_worker_logs(nanny=True)
    assert len(nanny_logs) == 2


def test_unknown_operation_answers_null(client):
    assert client.sync(client.scheduler.no_such_operation) is None


def test_repeated_connections_leave_nothing(cluster):
    for _ in range(10):
        with cluster.client(set_as_default=False) as client:
            assert client.submit(len, "abc").result() == 3
    # The scheduler's own "fire-and-forget" is one too.
    eventually(lambda: cluster.http("/json/counts.json").json()["clients"] == 1)


def greet(cluster, package_versions):
    """What the scheduler says to a client that claims to have these packages."""
    packages = {**distributed.versions.get_versions()["packages"], **package_versions}
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        versions = {"host": {}, "packages": packages}
        message = {"op": "register-client", "client": "other-versions", "versions": versions, "reply": False}
        connection.sendall(wire.frames_of(message))
        (start,) = wire.read_message(connection)
    assert start["op"] == "stream-start"
    return start


def test_same_versions_need_no_warning(cluster):
    assert greet(cluster, {})["warning"] == ""


def test_other_versions_are_a_warning_that_names_them(cluster):
    start = greet(cluster, {"msgpack": "0.0.1", "cloudpickle": None})
    assert "Mismatched versions found" in start["warning"]
    assert "msgpack" in start["warning"]
    assert "0.0.1" in start["warning"]
    assert start.get("error", "") == ""


@differs("stock", why="it has no range and tries its luck")
def test_release_out_of_range_is_refused_by_both_versions(cluster):
    start = greet(cluster, {"distributed": "2024.1.0"})
    assert "2024.1.0" in start["error"]
    assert "2025.4.0" in start["error"]


@differs("stock", why="it has no range and tries its luck")
def test_worker_out_of_range_is_refused(cluster):
    packages = {**distributed.versions.get_versions()["packages"], "distributed": "2024.1.0"}
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        message = wire.registration(versions={"host": {}, "packages": packages})
        connection.sendall(wire.frames_of(message))
        reply = wire.read_message(connection)
    assert reply["status"] == "error"
    assert "2024.1.0" in reply["message"]

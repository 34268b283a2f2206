"""The scheduler over HTTP."""

from __future__ import annotations

import re

import pytest
from distributed import wait

import tasks
from differences import differs
from eventually import eventually

METRICS = """
dask_scheduler_clients dask_scheduler_client_connections_added_total dask_scheduler_client_connections_removed_total
dask_scheduler_desired_workers dask_scheduler_workers dask_scheduler_workers_added_total
dask_scheduler_workers_removed_total dask_scheduler_gc_collection_seconds_total dask_scheduler_last_time_total
dask_scheduler_tasks dask_scheduler_tasks_suspicious_total dask_scheduler_tasks_forgotten_total
dask_scheduler_task_groups dask_scheduler_tasks_compute_seconds_total dask_scheduler_tasks_output_bytes
dask_scheduler_prefix_state_totals_total dask_scheduler_tick_duration_maximum_seconds dask_scheduler_tick_count_total
""".split()


def parse_metrics(text):
    """name → {labels: value}, from the text format."""
    metrics = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([0-9.eE+-]+|NaN|\+Inf)( \d+)?", line)
        assert match, f"not a sample: {line!r}"
        metrics.setdefault(match[1], {})[match[2] or ""] = float(match[3])
    return metrics


def test_health(cluster):
    reply = cluster.http("/health")
    assert (reply.status, reply.text) == (200, "ok")


def test_metrics(cluster, client):
    futures = [*client.map(tasks.increment, range(10)), client.submit(tasks.fail)]
    wait(futures)
    reply = cluster.http("/metrics")
    assert reply.status == 200
    assert reply.content_type.startswith("text/plain")
    metrics = parse_metrics(reply.text)
    assert [name for name in METRICS if name not in metrics] == []
    assert metrics["dask_scheduler_clients"][""] >= 1
    assert metrics["dask_scheduler_tasks"]['state="memory"'] == 10
    assert metrics["dask_scheduler_tasks"]['state="erred"'] == 1
    assert set(metrics["dask_scheduler_workers"]) == {
        f'state="{state}"' for state in ("idle", "partially_saturated", "saturated", "paused", "retiring")
    }
    assert sum(metrics["dask_scheduler_workers"].values()) == 2
    assert metrics["dask_scheduler_workers_added_total"][""] >= 2


def test_counts(cluster, client):
    futures = client.map(tasks.increment, range(5))
    wait(futures)
    counts = cluster.http("/json/counts.json").json()
    assert set(counts) >= {
        *("bytes", "clients", "cores", "erred", "hosts", "idle", "memory", "processing", "released", "saturated"),
        *("tasks", "unrunnable", "waiting", "waiting_data", "workers"),
    }
    assert (counts["workers"], counts["cores"], counts["memory"], counts["hosts"]) == (2, 4, 5, 1)
    assert counts["bytes"] == 5 * 28


def test_identity(cluster):
    identity = cluster.http("/json/identity.json").json()
    assert identity["type"] == "Scheduler"
    assert identity["address"] == cluster.address
    assert len(identity["workers"]) == 2


def test_workers_over_the_api(cluster, client):
    reply = cluster.http("/api/v1/get_workers").json()
    assert reply["num_workers"] == 2
    assert {worker["name"] for worker in reply["workers"]} == {"alice", "bob"}
    assert {worker["address"] for worker in reply["workers"]} == set(cluster.addresses(client).values())


def test_adaptive_target_over_the_api(cluster, client, gate):
    assert cluster.http("/api/v1/adaptive_target").json() == {"workers": 0}
    futures = client.map(tasks.wait_for_file, [gate] * 40, range(40))
    eventually(lambda: cluster.http("/api/v1/adaptive_target").json()["workers"] > 2)
    open(gate, "w").close()
    wait(futures)


def test_check_idle_over_the_api(cluster):
    reply = cluster.http("/api/v1/check_idle")
    assert reply.status == 200
    assert set(reply.json()) == {"idle_since"}


def test_retire_over_the_api(cluster, client):
    address = cluster.addresses(client)["alice"]
    reply = cluster.http("/api/v1/retire_workers", body={"workers": [address]})
    assert reply.status == 200
    assert set(reply.json()) == {address}
    eventually(lambda: set(cluster.addresses(client)) == {"bob"})
    cluster.stop_worker("alice")


def test_bad_requests_to_the_api(cluster):
    cluster.http("/api/v1/retire_workers", body={"nonsense": 1})
    assert cluster.http("/no/such/page").status == 404
    assert cluster.http("/api/v1/get_workers").json()["num_workers"] == 2
    assert cluster.http("/health").status == 200


@differs("stock", why="its pages need bokeh, which these environments leave out")
def test_status_page(cluster, client):
    client.submit(tasks.increment, 1).result()
    reply = cluster.http("/status")
    assert reply.status == 200
    assert reply.content_type.startswith("text/html")
    assert "alice" in reply.text


@pytest.mark.parametrize("path", ["/info/main/workers.html", "/sitemap.json"])
def test_info_pages(cluster, path):
    assert cluster.http(path).status == 200

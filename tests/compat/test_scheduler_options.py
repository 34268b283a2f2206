"""Flags and life of the scheduler program."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import pytest
from distributed import Client

import tasks
from differences import differs
from eventually import eventually

PLAIN = {"only": ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]}


def test_sigterm_ends_in_order(new_cluster):
    cluster = new_cluster(workers=PLAIN)
    worker = cluster.workers["only"]
    assert cluster.scheduler.terminate() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert not cluster.scheduler_file.exists()
    eventually(lambda: not worker.alive())


def test_client_shutdown_ends_the_cluster(new_cluster):
    cluster = new_cluster(workers=PLAIN)
    client = cluster.client(set_as_default=False)
    client.shutdown()
    eventually(lambda: not cluster.scheduler.alive())
    eventually(lambda: not cluster.workers["only"].alive())


@pytest.mark.limit(60)
def test_idle_timeout_ends_the_scheduler(new_cluster):
    cluster = new_cluster(workers=PLAIN, scheduler_args=["--idle-timeout", "4s"])
    with cluster.client(set_as_default=False) as client:
        # Longer than the time-out altogether.
        for _ in range(4):
            assert client.submit(tasks.sleep_and_return, 1.3, 1, pure=False).result() == 1
        assert cluster.scheduler.alive()
    eventually(lambda: not cluster.scheduler.alive(), timeout_s=25)


@differs("stock", why="its --port is a single number")
def test_port_range(new_cluster):
    cluster = new_cluster(workers={}, scheduler_args=["--port", "38700:38799"])
    assert 38700 <= cluster.host_and_port[1] <= 38799


def test_pid_file(new_cluster, tmp_path):
    path = tmp_path / "pid"
    cluster = new_cluster(workers={}, scheduler_args=["--pid-file", str(path)])
    assert int(path.read_text()) == cluster.scheduler.pid
    cluster.scheduler.terminate()
    assert not path.exists()


def test_version_of_the_program(pairing):
    result = subprocess.run([*pairing.scheduler_command, "--version"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0
    assert any(character.isdigit() for character in result.stdout)


def test_wrong_flag_is_refused(pairing):
    result = subprocess.run([*pairing.scheduler_command, "--no-such-flag"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 2
    assert "no-such-flag" in result.stderr


def test_scheduler_says_where_it_is(new_cluster):
    """Deployment tools look for this line."""
    cluster = new_cluster(workers={})
    said = re.compile(r"Scheduler at:\s+" + re.escape(cluster.address))
    eventually(lambda: said.search(cluster.scheduler.log_tail(100)))


def test_preload_runs_in_the_scheduler(new_cluster, tmp_path):
    module = tmp_path / "preloaded.py"
    module.write_text(f"def dask_setup(scheduler):\n    open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    new_cluster(workers={}, scheduler_args=["--preload", str(module)])
    eventually((tmp_path / "ran").exists)


def test_scheduler_file_leads_to_the_same_scheduler(new_cluster):
    cluster = new_cluster(workers=PLAIN)
    identity = json.loads(cluster.scheduler_file.read_text())
    with Client(identity["address"], set_as_default=False) as client:
        assert client.scheduler_info()["id"] == identity["id"]


@pytest.mark.parametrize("saturation", ["inf", "1.0"])
def test_worker_saturation(new_cluster, gate, saturation):
    """Without a bound every root task is handed out at once; with one only as many as there are threads."""
    cluster = new_cluster(workers=PLAIN, env={"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": saturation})
    with cluster.client(set_as_default=False) as client:
        futures = client.map(tasks.wait_for_file, [gate] * 20, range(20))
        expected = 20 if saturation == "inf" else 1
        eventually(lambda: [len(keys) for keys in client.processing().values()] == [expected])
        time.sleep(0.2)
        assert [len(keys) for keys in client.processing().values()] == [expected]
        open(gate, "w").close()
        assert client.gather(futures) == list(range(20))


def test_blocked_handlers(new_cluster):
    cluster = new_cluster(workers={}, env={"DASK_DISTRIBUTED__SCHEDULER__BLOCKED_HANDLERS": "['run_function']"})
    with cluster.client(set_as_default=False) as client:
        with pytest.raises(ValueError, match="run_function"):
            client.run_on_scheduler(lambda: 1)


@differs("stock", why="it uses its own interpreter for everything")
def test_missing_interpreter_is_named(pairing, tmp_path):
    result = subprocess.run(
        [*pairing.scheduler_command, "--host", "127.0.0.1", "--port", "0", "--python", str(tmp_path / "no-python")],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert result.returncode != 0
    assert "no-python" in result.stdout + result.stderr

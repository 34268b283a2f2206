"""LocalCluster as `distributed` users know it, and where ours says more."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import dask
import dask.array as da
import dask.dataframe as dd
import numpy
import pandas
import pytest
from conftest import eventually
from distributed import Client, KilledWorker, wait
from distributed.security import Security

from daskjob import LocalCluster
from daskjob.processes import StartError
from daskjob.program import ProgramNotFound

SMALL = {"threads_per_worker": 1, "memory_limit": "1 GiB", "dashboard_address": ":0"}


@pytest.fixture
def cluster(marked):
    with LocalCluster(n_workers=2, **SMALL) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


def square(x):
    return x * x


def slow_square(x, seconds=0.02):
    time.sleep(seconds)
    return x * x


def names_of(client) -> set:
    return {worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}


def test_workers_are_as_they_were_asked_for(marked):
    with LocalCluster(
        n_workers=3, threads_per_worker=2, memory_limit="512 MiB", resources={"GPU": 1, "MEM": 2.5}, dashboard_address=":0"
    ) as cluster:
        workers = cluster.scheduler_info["workers"].values()
        assert {worker["name"] for worker in workers} == {0, 1, 2}
        for worker in workers:
            assert worker["nthreads"] == 2
            assert worker["memory_limit"] == 512 * 2**20
            assert worker["resources"] == {"GPU": 1, "MEM": 2.5}
            assert worker["host"] == "127.0.0.1"
        assert "workers=3, threads=6, memory=1.50 GiB" in repr(cluster)
        assert repr(cluster).startswith("LocalCluster(")
        with Client(cluster) as client:
            assert client.submit(square, 3, resources={"GPU": 1}).result() == 9


def test_tasks_run_in_this_interpreter_beside_its_modules(client):
    assert set(client.run(lambda: sys.executable).values()) == {sys.executable}
    # This very module is one: the workers import it.
    assert client.gather(client.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_page_of_the_scheduler_answers(cluster):
    assert cluster.dashboard_link.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(cluster.dashboard_link, timeout=10) as page:
        assert page.status == 200


def test_scaling(cluster, client):
    cluster.scale(4)
    client.wait_for_workers(4, timeout=60)
    assert names_of(client) == {0, 1, 2, 3}
    held = client.map(square, range(40), pure=False)
    wait(held)
    cluster.scale(1)
    eventually(lambda: len(names_of(client)) == 1)
    eventually(lambda: len(cluster.workers) == 1)
    assert client.gather(held) == [x * x for x in range(40)], "what the others held was handed over"


def test_scaling_by_memory_and_cores(cluster, client):
    cluster.scale(memory="3 GiB")
    client.wait_for_workers(3, timeout=60)
    cluster.scale(cores=2)
    eventually(lambda: len(names_of(client)) == 2)


def test_adaptive_scaling(cluster, client):
    cluster.adapt(minimum=1, maximum=3, interval="200ms", wait_count=2)
    futures = client.map(slow_square, range(60), seconds=0.5)
    eventually(lambda: len(names_of(client)) == 3, timeout_s=60)
    client.cancel(futures)
    eventually(lambda: len(names_of(client)) == 1, timeout_s=60)


def test_asynchronous_use(marked):
    async def use():
        async with LocalCluster(n_workers=2, asynchronous=True, **SMALL) as cluster:
            async with Client(cluster, asynchronous=True) as client:
                assert len(cluster.scheduler_info["workers"]) == 2
                return await client.submit(square, 4)

    assert asyncio.run(use()) == 16


def test_cluster_without_workers_gets_them_later(marked):
    with LocalCluster(n_workers=0, **SMALL) as cluster, Client(cluster) as client:
        assert names_of(client) == set()
        future = client.submit(square, 5)
        cluster.scale(1)
        assert future.result(timeout=60) == 25


def test_closing_leaves_nothing(marked):
    cluster = LocalCluster(n_workers=2, **SMALL)
    scheduler_file = pathlib.Path(cluster.scheduler.scheduler_file)
    directories = [worker["local_directory"] for worker in cluster.scheduler_info["workers"].values()]
    assert scheduler_file.exists() and len(marked.processes()) >= 5
    cluster.close()
    cluster.close()
    assert marked.all_gone()
    assert not scheduler_file.exists()
    assert not any(os.path.exists(directory) for directory in directories)


def test_quiet_unless_there_is_something_to_say(marked, capfd):
    with LocalCluster(n_workers=1, **SMALL) as cluster, Client(cluster) as client:
        assert client.submit(square, 2).result() == 4
    assert capfd.readouterr().err == ""
    with LocalCluster(n_workers=1, silence_logs=logging.INFO, **SMALL):
        pass
    assert "Scheduler at" in capfd.readouterr().err


def test_configuration_of_this_process_counts(marked):
    """For the scheduler, the workers and the tasks."""
    own = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.resources": {"DISK": 3},
        "compat.of-tasks": "told",
    }
    with dask.config.set(own), LocalCluster(n_workers=1, **SMALL) as cluster, Client(cluster) as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["resources"] == {"DISK": 3}
        assert client.submit(dask.config.get, "compat.of-tasks").result() == "told"
        with pytest.raises(KilledWorker) as info:
            client.submit(os._exit, 1).result(timeout=60)
        assert info.value.allowed_failures == 0


def test_configuration_counts_more_than_a_variable_it_overrules(marked, monkeypatch, caplog):
    monkeypatch.setenv("DASK_COMPAT__OF_TASKS", "1")
    own = {"compat.of-tasks": 2, "compat.pool": object(), "compat.more": 3}
    with dask.config.set(own), LocalCluster(n_workers=1, **SMALL) as cluster, Client(cluster) as client:
        assert client.submit(dask.config.get, "compat.of-tasks").result() == 2
        assert client.submit(dask.config.get, "compat.more").result() == 3
    assert "handed on without compat.pool" in caplog.text


def test_variables_of_workers(marked):
    with LocalCluster(n_workers=1, env={"ONLY_FOR_WORKERS": 3}, **SMALL) as cluster, Client(cluster) as client:
        assert client.submit(os.getenv, "ONLY_FOR_WORKERS").result() == "3"
        assert "ONLY_FOR_WORKERS" not in os.environ


def test_arguments_may_be_of_other_types(marked):
    with (
        LocalCluster(
            n_workers=numpy.int64(1), threads_per_worker=numpy.int32(2), preload="fractions", dashboard_address=0
        ) as cluster,
        Client(cluster) as client,
    ):
        assert list(client.nthreads().values()) == [2]
        assert client.submit(loaded, "fractions").result()


def loaded(module):
    return module in sys.modules


def test_collections_shuffle_without_being_told_how(client):
    frame = dd.from_pandas(pandas.DataFrame({"x": [n % 7 for n in range(100)], "y": range(100)}), npartitions=5)
    assert sorted(frame.shuffle("x").compute().y) == list(range(100))
    assert da.ones((200, 200), chunks=(200, 1)).rechunk((1, 200)).sum().compute() == 40_000


def test_choice_of_shuffles_goes_with_the_last_cluster(marked):
    key = "dataframe.shuffle.method"
    with LocalCluster(n_workers=0, **SMALL):
        with LocalCluster(n_workers=0, **SMALL):
            assert dask.config.get(key) == "tasks"
        assert dask.config.get(key) == "tasks"
    assert dask.config.get(key, None) is None
    with dask.config.set({key: "disk"}):
        with LocalCluster(n_workers=0, **SMALL):
            assert dask.config.get(key) == "disk"
        assert dask.config.get(key) == "disk"


def test_logs_are_kept_although_they_are_not_shown(cluster, client, capfd):
    def says():
        logging.getLogger("distributed.worker").info("said by a task")

    client.run(says)
    logs = cluster.get_logs()
    assert "Scheduler at" in str(logs["Scheduler"])
    assert set(logs) == {"Cluster", "Scheduler", *client.nthreads()}
    for address in client.nthreads():
        assert "worker registered" in str(logs[address]) and "said by a task" in str(logs[address])
    of_nannies = client.get_worker_logs(nanny=True)
    assert len(of_nannies) == 2
    assert all("worker starts" in str(log) for log in of_nannies.values())
    assert "said by a task" not in capfd.readouterr().err


def executor_pids(client) -> set:
    return set(client.run(os.getpid).values())


def test_killed_executor_costs_no_result(cluster, client):
    futures = client.map(slow_square, range(200))
    pid = executor_pids(client).pop()
    os.kill(pid, signal.SIGKILL)
    assert client.gather(futures) == [x * x for x in range(200)]
    eventually(lambda: names_of(client) == {0, 1})
    assert pid not in executor_pids(client)


def test_killed_worker_is_replaced_and_costs_no_result(cluster, client, caplog):
    futures = client.map(slow_square, range(200))
    eventually(lambda: any(future.done() for future in futures))
    killed = cluster.workers[0].process.pid
    os.kill(killed, signal.SIGKILL)
    assert client.gather(futures) == [x * x for x in range(200)]
    eventually(lambda: names_of(client) == {0, 1})
    assert cluster.workers[0].process.pid != killed
    assert "worker 0 was killed by SIGKILL; another takes its place" in caplog.text


def test_retired_worker_stays_away(cluster, client):
    client.retire_workers(names=[1])
    eventually(lambda: names_of(client) == {0})
    eventually(lambda: cluster.workers[1].process.returncode == 0)
    assert client.submit(square, 6).result() == 36


PROGRAM = """
import signal, time
from daskjob import LocalCluster
from distributed import Client

def wait_long():
    time.sleep(600)

if __name__ == "__main__":
    # Python leaves it ignored where these tests are run so, as by nohup or in a shell's background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cluster = LocalCluster(n_workers=2, dashboard_address=":0")
    client = Client(cluster)
    future = client.submit(wait_long)
    while not client.processing() or not any(client.processing().values()):
        time.sleep(0.01)
    print(cluster.scheduler.scheduler_file, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_its_python(marked, tmp_path, number):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    python = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    scheduler_file = python.stdout.readline().strip()
    assert scheduler_file and os.path.exists(scheduler_file)
    python.send_signal(number)
    assert python.wait(60) != 0
    eventually(marked.all_gone)
    eventually(lambda: not os.path.exists(scheduler_file))
    python.stdout.close()


def test_interrupt_at_the_terminal_is_not_for_the_cluster(cluster, client):
    groups = {os.getpgid(worker.process.pid) for worker in cluster.workers.values()}
    assert os.getpgid(os.getpid()) not in groups | {os.getpgid(cluster.scheduler.process.pid)}


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_program_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DASKJOB_BIN", str(tmp_path / "nothing"))
    with pytest.raises(ProgramNotFound, match="DASKJOB_BIN=.*nothing is not an executable file.*cargo build"):
        LocalCluster(n_workers=1)


def test_built_program_may_be_named(marked, monkeypatch):
    from daskjob import program

    monkeypatch.setenv("DASKJOB_BIN", program.find())
    with LocalCluster(n_workers=1, **SMALL) as cluster, Client(cluster) as client:
        assert client.submit(square, 7).result() == 49


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"processes": False}, ValueError, "distributed.LocalCluster has threads"),
        ({"worker_class": object}, TypeError, "worker_class.*distributed.LocalCluster takes classes"),
        ({"no_such": 1}, TypeError, "no argument 'no_such'"),
        ({"n_workers": -1}, ValueError, "n_workers"),
        ({"n_workers": "two"}, ValueError, "n_workers"),
        ({"threads_per_worker": 0}, ValueError, "threads_per_worker"),
        ({"memory_limit": "much"}, ValueError, "memory_limit must be like '4 GiB'.*'much'"),
        ({"security": "yes"}, TypeError, "distributed.Security with certificates, or True, not 'yes'"),
        ({"worker_arguments": "--nthreads 2"}, TypeError, r"worker_arguments must be a list of flags.*\['--nthreads', '2'\]"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, error, text):
    with pytest.raises(error, match=text):
        LocalCluster(**arguments)


def test_port_that_is_taken_is_told(marked):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError) as info:
            LocalCluster(n_workers=1, scheduler_port=port, dashboard_address=":0")
    assert "the scheduler ended with exit code" in str(info.value)
    assert str(port) in str(info.value)
    assert isinstance(info.value.__cause__, StartError)


def test_worker_that_does_not_start_is_told_in_its_own_words(marked):
    with pytest.raises(StartError, match="(?s)worker 0 ended with exit code.*no-such-flag"):
        LocalCluster(n_workers=1, worker_arguments=["--no-such-flag"], **SMALL)


def break_new_workers(cluster):
    """Workers that begin from now on end at once; returns what makes it good again."""
    good = cluster.new_spec
    options = {**good["options"], "command": [*good["options"]["command"], "--no-such-flag"]}
    cluster.new_spec = {**good, "options": options}
    return lambda: setattr(cluster, "new_spec", good)


def test_worker_that_does_not_start_later_is_told_once_and_tried_again(cluster, client, caplog):
    told = "worker 2 ended with exit code 2:\nerror: unexpected argument '--no-such-flag'"
    mend = break_new_workers(cluster)
    for times in (1, 2):
        cluster.scale(3)
        eventually(lambda: caplog.text.count(told) == times)
        eventually(lambda: set(cluster.workers) == set(cluster.worker_spec) == {0, 1})
    cluster.scale(2)
    client.sync(lambda: cluster._correct_state())
    assert caplog.text.count(told) == 2 and "Traceback" not in caplog.text
    mend()
    cluster.scale(3)
    client.wait_for_workers(3, timeout=60)
    assert names_of(client) == {0, 1, 2}


def test_adapting_does_not_go_on_forever_with_workers_that_do_not_start(cluster, client, caplog):
    mend = break_new_workers(cluster)
    cluster.adapt(minimum=3, maximum=3, interval="50ms")
    eventually(lambda: "no other is tried in its place" in caplog.text)
    tried = caplog.text.count("--no-such-flag")
    assert cluster.plan == {0, 1, 2}, "who adapts has what it wants"
    client.sync(lambda: asyncio.sleep(0.5))
    assert caplog.text.count("--no-such-flag") == tried
    mend()
    cluster.adapt(minimum=2, maximum=2, interval="50ms")
    eventually(lambda: set(cluster.workers) == {0, 1})
    cluster.adapt(minimum=3, maximum=3, interval="50ms")
    client.wait_for_workers(3, timeout=60)


def test_lost_scheduler_is_told_and_its_workers_end(marked, caplog):
    # Whoever tried to reach the dead scheduler would do so for as long.
    with dask.config.set({"distributed.comm.timeouts.connect": "10m"}):
        cluster = LocalCluster(n_workers=2, **SMALL)
        scheduler_file = cluster.scheduler.scheduler_file
        # As the kernel may that runs out of memory: a worker with it.
        for process in (cluster.workers[1].process, cluster.scheduler.process):
            os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: "was killed by SIGKILL; its workers end too" in caplog.text)
        eventually(marked.all_gone)
        cluster.close()
    assert marked.all_gone()
    assert not os.path.exists(scheduler_file)


# ---- encryption -------------------------------------------------------------------------------------------------


def make_certificate(directory, name):
    """Signed by itself, as those of `Security.temporary` are; returns the paths of certificate and key."""
    paths = directory / f"{name}.pem", directory / f"{name}-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return [str(path) for path in paths]


def test_each_role_has_its_own_certificate(marked, tmp_path):
    roles = {role: make_certificate(tmp_path, role) for role in ("scheduler", "worker", "client")}
    authority = tmp_path / "authorities.pem"
    authority.write_text("".join(pathlib.Path(certificate).read_text() for certificate, _ in roles.values()))
    named = {
        f"tls_{role}_{part}": path for role, paths in roles.items() for part, path in zip(("cert", "key"), paths, strict=True)
    }
    security = Security(tls_ca_file=str(authority), require_encryption=True, **named)
    with LocalCluster(n_workers=2, security=security, **SMALL) as cluster, Client(cluster) as client:
        assert cluster.scheduler_address.startswith("tls://")
        assert client.gather(client.map(square, range(5))) == [0, 1, 4, 9, 16]
        for program, role in ((cluster.scheduler, "scheduler"), (cluster.workers[0], "worker")):
            assert set(roles[role]) <= set(program.command)


def test_certificates_may_be_texts(marked, tmp_path):
    certificate, key = (pathlib.Path(path).read_text() for path in make_certificate(tmp_path, "all"))
    parts = {"cert": certificate, "key": key}
    roles = {f"tls_{role}_{part}": text for role in ("scheduler", "worker", "client") for part, text in parts.items()}
    security = Security(tls_ca_file=certificate, require_encryption=True, **roles)
    with LocalCluster(n_workers=1, security=security, **SMALL) as cluster, Client(cluster) as client:
        key_file = cluster.workers[0].command[cluster.workers[0].command.index("--tls-key") + 1]
        assert os.stat(os.path.dirname(key_file)).st_mode & 0o077 == 0
        assert client.submit(square, 3).result() == 9
    assert not os.path.exists(key_file)

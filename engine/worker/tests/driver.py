"""Run by the tests with the name of a rule: starts a scheduler and two workers, and shows the rule with a stock client.

Arguments: the rule, the worker program, and our own `daskjob` program, whose scheduler it is then, or nothing for the stock one.
"""

import logging
import operator
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from distributed import Client, wait
from distributed.diagnostics.plugin import Environ, NannyPlugin, UploadDirectory
from distributed.scheduler import KilledWorker

PATIENCE = 60


def inc(number):
    return number + 1


def ones(count):
    import numpy

    return numpy.ones(count)


def total(array):
    return float(array.sum())


def values_move_between_workers(client, _):
    left = client.submit(inc, 1, workers=["first"], key="left")
    right = client.submit(inc, 10, workers=["second"], key="right")
    assert client.submit(operator.add, left, right, workers=["first"]).result(PATIENCE) == 13
    assert client.gather(client.map(inc, range(200))) == list(range(1, 201))


def large_arrays_arrive_whole(client, _):
    array = client.submit(ones, 12_500_000, workers=["first"], key="array")
    assert client.submit(total, array, workers=["second"]).result(PATIENCE) == 12_500_000
    assert client.gather(array).nbytes == 100_000_000
    [here] = client.scatter([ones(1_000_000)], workers=["second"])
    assert client.submit(total, here).result(PATIENCE) == 1_000_000


def an_error_reaches_whoever_waits(client, _):
    def fails():
        raise ValueError("no such luck")

    future = client.submit(fails)
    wait(future, PATIENCE)
    assert isinstance(future.exception(), ValueError) and str(future.exception()) == "no such luck"
    after = client.submit(inc, future)
    wait(after, PATIENCE)
    assert isinstance(after.exception(), ValueError)


def a_cancelled_task_that_ends_late_does_not_overwrite_what_has_its_name_by_then(client, workers):
    with tempfile.TemporaryDirectory() as name:
        begun, over = pathlib.Path(name, "begun"), pathlib.Path(name, "over")

        def late():
            begun.touch()
            while not over.exists():
                time.sleep(0.005)
            return "late"

        cancelled = client.submit(late, workers=["first"], key="shared")
        until(begun.exists)
        cancelled.cancel()
        until(lambda: not any(client.processing().values()))
        newer = client.scatter({"shared": "newer"}, workers=["first"])["shared"]
        over.touch()
        # On the same thread: behind the end of the other.
        after = client.submit(str.upper, newer, workers=["first"])
        assert after.result(PATIENCE) == "NEWER"


def until(reached):
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def functions_run_on_every_worker(client, _):
    assert set(client.run(lambda dask_worker: dask_worker.name).values()) == {"first", "second"}


def nannies_tell_what_the_log_says(client, _):
    logs = client.get_worker_logs(nanny=True)
    assert len(logs) == 2
    assert all(any(level == "INFO" and "worker registered" in line for level, line in lines) for lines in logs.values())
    [[*line], *_] = client.get_worker_logs(n=1, nanny=True).values()
    assert len(line) == 1


def workers_tell_what_they_and_their_tasks_log(client, _):
    def says():
        logging.getLogger("distributed.worker").info("said by a task")

    client.submit(says, workers=["first"]).result(PATIENCE)
    os.kill(client.run(os.getpid)[addresses(client)["second"]], signal.SIGKILL)
    until(lambda: client.get_events("worker-lost"))
    client.wait_for_workers(2, PATIENCE)
    logs = client.get_worker_logs()
    first, second = (logs[addresses(client)[name]] for name in ("first", "second"))
    texts = [text for _, text in reversed(first)]
    said = [next(number for number, text in enumerate(texts) if part in text) for part in ("registered", "said by a task")]
    assert said == sorted(said), texts
    assert any(level == "ERROR" and "the Python process is lost" in text for level, text in second), second
    assert all(len(lines) == 1 for lines in client.get_worker_logs(n=1).values())


def addresses(client):
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {worker["name"]: address for address, worker in workers.items()}


def what_plugins_and_functions_do_to_a_nanny_reaches_its_worker(client, _):
    found = client.run(lambda dask_worker: (type(dask_worker).__name__, dask_worker.worker_address), nanny=True)
    assert found == {address: ("Nanny", address) for address in addresses(client).values()}

    class Marks(NannyPlugin):
        def setup(self, nanny):
            nanny.mark = "set up"

        def teardown(self, nanny):
            nanny.mark = "torn down"

    marks = lambda: set(client.run(lambda dask_worker: dask_worker.mark, nanny=True).values())  # noqa: E731
    client.register_plugin(Marks(), name="marks")
    assert marks() == {"set up"}
    client.unregister_worker_plugin("marks", nanny=True)
    assert marks() == {"torn down"}
    executors = client.run(os.getpid)
    client.register_plugin(Environ({"OF_A_PLUGIN": "there"}), name="environ")
    assert set(client.run(lambda: os.environ["OF_A_PLUGIN"]).values()) == {"there"}
    assert not set(client.run(os.getpid).values()) & set(executors.values())
    with tempfile.TemporaryDirectory() as name:
        package = pathlib.Path(name, "uploaded")
        package.mkdir()
        (package / "only_uploaded.py").write_text("def answer():\n    return 42\n")
        # One nanny at a time: those of one directory would unpack into each other's work.
        address = addresses(client)["second"]
        client.retire_workers([address])
        until(lambda: len(addresses(client)) == 1)
        client.register_plugin(UploadDirectory(str(package), restart_workers=True, update_path=True))
    assert set(client.run(lambda: __import__("only_uploaded").answer()).values()) == {42}

    def fails(dask_worker):
        raise ValueError(dask_worker.address)

    try:
        client.run(fails, nanny=True)
    except ValueError as error:
        assert str(error).startswith("tcp://")
    else:
        raise AssertionError("an error in a nanny was lost")


def a_task_of_a_killed_executor_runs_again(client, _):
    executors = client.run(os.getpid)

    def slow():
        time.sleep(2)
        return "done"

    future = client.submit(slow)
    deadline = time.monotonic() + PATIENCE
    while not (busy := [worker for worker, keys in client.processing().items() if keys]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(executors[busy[0]], signal.SIGKILL)
    assert future.result(PATIENCE) == "done"
    client.wait_for_workers(2, PATIENCE)
    assert busy[0] not in client.scheduler_info(n_workers=-1)["workers"]
    [(_, event)] = client.get_events("worker-lost")
    assert "signal 9" in event["reason"] and list(event["tasks"]) == [future.key]


def a_task_that_kills_four_executors_is_given_up(client, _):
    future = client.submit(kill_own_process, pure=False)
    wait(future, 2 * PATIENCE)
    assert isinstance(future.exception(), KilledWorker)


def kill_own_process():
    os.kill(os.getpid(), signal.SIGKILL)


def restarting_leaves_workers_with_nothing(client, _):
    future = client.submit(inc, 1)
    wait(future, PATIENCE)
    before = set(client.scheduler_info(n_workers=-1)["workers"])
    client.restart(timeout=PATIENCE)
    after = set(client.scheduler_info(n_workers=-1)["workers"])
    assert len(after) == 2 and not before & after
    assert client.submit(inc, 2).result(PATIENCE) == 3


def values_beyond_the_limit_go_to_disk_and_come_back(client, _):
    arrays = client.map(lambda number: ones(2_500_000) * number, range(50), pure=False)
    wait(arrays, 2 * PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not any(
        worker["metrics"]["spilled_bytes"]["disk"]
        for worker in client.scheduler_info(n_workers=-1)["workers"].values()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    sums = client.gather(client.map(total, arrays))
    assert sums == [2_500_000.0 * number for number in range(50)]


def a_worker_that_is_told_to_end_hands_over_what_only_it_has(client, workers):
    future = client.submit(inc, 41, workers=["first"], key="only-here", allow_other_workers=True)
    wait(future, PATIENCE)
    workers[0].send_signal(signal.SIGTERM)
    assert workers[0].wait(PATIENCE) == 0
    assert list(client.who_has([future]).values())[0]
    assert future.result(PATIENCE) == 42


def start_scheduler(program, file, more=()):
    flags = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file), *more]
    if program:
        command = [program, "scheduler", *flags, "--python", sys.executable]
    else:
        code = "from distributed.cli.dask_scheduler import main; main()"
        command = [sys.executable, "-c", code, *flags, "--no-dashboard"]
    return subprocess.Popen(command)


def start_worker(program, name, file, directory):
    flags = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--nthreads", "1", "--name", name]
    flags += ["--memory-limit", "700MB", "--local-directory", str(directory), "--python", sys.executable]
    return subprocess.Popen([program, *flags, "--death-timeout", str(PATIENCE)])


def main(rule, worker_program, scheduler_program=""):
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        file = directory / "scheduler.json"
        scheduler = start_scheduler(scheduler_program, file)
        workers = []
        try:
            deadline = time.monotonic() + PATIENCE
            while not file.exists():
                assert scheduler.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            workers = [start_worker(worker_program, name, file, directory) for name in ("first", "second")]
            with Client(scheduler_file=str(file), timeout=PATIENCE) as client:
                client.wait_for_workers(2, PATIENCE)
                globals()[rule](client, workers)
        finally:
            for process in [*workers, scheduler]:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

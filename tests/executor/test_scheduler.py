"""What needs a scheduler: clients inside tasks, locks and variables, P2P, against a stock one with a stock worker beside it."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from distributed import Client, get_worker
from harness import WAIT_SECONDS, Executor


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a scheduler with one stock worker of one thread."""
    directory = tmp_path_factory.mktemp("stock")
    file = directory / "scheduler.json"
    environment = {**os.environ, "DASK_SCHEDULER__DASHBOARD__STATUS__TASK_STREAM_LENGTH": "10"}
    with contextlib.ExitStack() as stack:
        module = [sys.executable, "-m"]
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        start(stack, [*module, "distributed.cli.dask_scheduler", *options], directory, environment)
        until(lambda: file.exists() and file.read_text().endswith("}"))
        address = json.loads(file.read_text())["address"]
        worker = ["distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
        start(stack, [*module, *worker], directory, environment)
        with Client(address) as client:
            client.wait_for_workers(1)
        yield address


def start(stack, command, directory, environment) -> None:
    log = stack.enter_context(open(directory / f"{len(os.listdir(directory))}.log", "w"))
    process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)


def until(holds) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture(scope="module")
def executor(scheduler):
    with Executor(nthreads=2, scheduler=scheduler) as running:
        yield running


def test_get_client_is_one_client_of_the_worker(executor):
    def asks(number):
        from distributed import get_client

        client = get_client()
        return client.submit(lambda x: x + 1, number, pure=False).result(), client.id

    (one, first), (other, second) = executor.run(asks, 1), executor.run(asks, 2)
    assert (one, other) == (2, 3)
    assert first == second and first.startswith("Client-worker-")


def test_worker_client_leaves_the_slot_and_takes_it_again(executor):
    def asks():
        from distributed import worker_client

        pool = get_worker().executors["default"]
        with worker_client() as client:
            inside = threading.current_thread() in pool._threads
            futures = client.map(lambda x: x * 2, range(5))
            total = sum(client.gather(futures))
        return total, inside, threading.current_thread() in pool._threads

    assert executor.run(asks) == (20, False, True)
    executor.expect("seceded")
    assert executor.run(lambda: len(get_worker().executors["default"]._threads)) == 2


def test_worker_client_in_the_same_thread_stays_in_the_slot(executor):
    def asks():
        from distributed import worker_client

        with worker_client(separate_thread=False) as client:
            future = client.submit(lambda: 5, pure=False)
            return client.gather(future), threading.current_thread() in get_worker().executors["default"]._threads

    assert executor.run(asks) == (5, True)


def test_what_a_task_scatters_is_held_here_and_told(executor):
    def scatters():
        from distributed import get_client

        get_client().scatter({"scattered": [1, 2]}, direct=True)

    with pytest.raises(KeyError, match="127.0.0.1:1"):  # this scheduler does not know the worker that has it
        executor.run(scatters)
    assert executor.expect("hold")[1] == "scattered"
    assert executor.value("scattered") == [1, 2]


def test_coroutine_tasks_have_an_asynchronous_client(executor):
    async def asks():
        from distributed import get_client

        client = get_client()
        return await client.submit(lambda: 7, pure=False)

    assert executor.run(asks) == 7


def test_locks_variables_and_queues_work(executor):
    def uses():
        from distributed import Lock, Queue, Semaphore, Variable

        with Lock("a-lock"):
            Variable("a-variable").set(3)
        queue = Queue("a-queue")
        queue.put(4)
        semaphore = Semaphore(max_leases=1, name="a-semaphore")
        with semaphore:
            return Variable("a-variable").get() + queue.get()

    assert executor.run(uses) == 7


def test_the_scheduler_can_be_called_from_handlers(executor):
    async def asks(dask_worker):
        return (await dask_worker.scheduler.identity())["type"]

    assert executor.client_run(asks) == "Scheduler"


def test_the_client_of_the_worker_is_closed_with_it(scheduler):
    with Executor(scheduler=scheduler) as executor:

        def asks():
            from distributed import get_client

            return get_client().id

        name = executor.run(asks)
        with Client(scheduler, set_as_default=False) as client:
            clients = lambda: client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients))  # noqa: E731
            assert name in clients()
            executor.send(["close", "over"])
            assert executor.exit_code() == 0
            until(lambda: name not in clients())



"""What tasks may do with processes, threads and signals."""

import os
import threading

import pytest
from harness import Executor


def test_tasks_may_start_processes_with_spawn(executor):
    def spawns():
        import multiprocessing
        import operator

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.starmap(operator.add, [(1, 2), (3, 4)])

    assert executor.run(spawns) == [3, 7]


def test_tasks_may_use_a_pool_of_processes(executor):
    def uses():
        import multiprocessing
        import operator
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(operator.add, 1, 2).result()

    assert executor.run(uses) == 3


def test_a_pool_of_processes_can_be_a_named_executor():
    import operator

    with Executor() as executor:

        def add(dask_worker):
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context("spawn")
            dask_worker.executors["processes"] = ProcessPoolExecutor(1, mp_context=context)

        executor.client_run(add)
        options = {"annotations": {"executor": "processes"}}
        assert executor.run(os.getpid, options=options) != executor.process.pid
        assert executor.run(operator.add, 1, 2, options=options) == 3
        message = executor.outcome(executor.begin(operator.truediv, 1, 0, options=options))
        assert message[0] == "erred" and "division by zero" in message[4] and message[6] <= message[7]
        children = children_of(executor.process.pid)
        assert children
        executor.send(["close", "over"])
        assert executor.exit_code() == 0
        for child in children:
            while os.path.exists(f"/proc/{child}"):
                pass


def children_of(pid) -> list[int]:
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        found += map(int, open(f"/proc/{pid}/task/{thread}/children").read().split())
    return found


def test_what_tasks_print_is_written_line_by_line(executor):
    assert executor.run(lambda: __import__("sys").stdout.line_buffering) is True


def test_tasks_may_run_programs(executor):
    def runs():
        import subprocess

        return subprocess.run(["sh", "-c", "echo $0 $1; kill -INT $$; echo survived", "a", "b"], capture_output=True).stdout

    assert executor.run(runs) == b"a b\n"  # programs die of SIGINT as they should


@pytest.mark.filterwarnings("ignore")
def test_a_process_forked_by_a_task_does_not_hold_the_line():
    with Executor() as executor:

        def forks():
            import warnings

            warnings.simplefilter("ignore")
            child = os.fork()
            if child == 0:
                import time

                time.sleep(1000)
                os._exit(0)
            return child

        child = executor.run(forks)
        try:
            executor.process.kill()
            with executor.changed:
                while not executor.is_over:
                    assert executor.changed.wait(60)
            assert os.path.exists(f"/proc/{child}")
        finally:
            os.kill(child, 9)


def test_signal_handlers_cannot_be_set_by_tasks_but_by_client_run(executor):
    def sets():
        import signal

        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    with pytest.raises(ValueError, match="main thread"):
        executor.run(sets)
    executor.client_run(sets)


def test_exit_handlers_run_when_it_closes(tmp_path):
    path = str(tmp_path / "trace")
    with Executor() as executor:

        def registers(path):
            import atexit

            atexit.register(lambda: open(path, "w").write("ran"))

        executor.run(registers, path)
        executor.send(["close", "over"])
        assert executor.exit_code() == 0
    assert open(path).read() == "ran"


def test_threads_of_tasks_see_no_worker(executor):
    def looks():
        from distributed import get_worker

        found = []

        def look():
            try:
                found.append(get_worker().name)
            except ValueError as error:
                found.append(str(error))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found

    assert executor.run(looks) == ["No worker found"]

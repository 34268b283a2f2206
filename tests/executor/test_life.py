"""How the process begins and ends."""

import os
import signal
import time

import pytest
from distributed.protocol import loads
from harness import Ended, Executor, message_frames


def add(a, b):
    return a + b


def test_a_task_that_raises_system_exit_ends_the_worker():
    with Executor() as executor:
        executor.begin(exit, 3)
        assert executor.exit_code() == 3
        assert "SystemExit" in executor.said()


def test_close_takes_down_plugins_and_ends_with_0():
    with Executor() as executor:
        from distributed import WorkerPlugin

        class Says(WorkerPlugin):
            def teardown(self, worker):
                worker.log_event("down", "plugin")

        executor.call("plugin-add", plugin=pack_plugin(Says()), name="says")
        executor.send(["close", "over"])
        assert loads(executor.expect("send")[1])["topic"] == "down"
        assert executor.exit_code() == 0


def pack_plugin(plugin):
    import cloudpickle

    return cloudpickle.dumps(plugin)


def test_it_ends_when_the_line_closes():
    with Executor(lifeline=False) as executor:
        import socket

        executor.begin(time.sleep, 1000)
        executor.settled()
        executor.ours.shutdown(socket.SHUT_RDWR)
        assert executor.exit_code() == 0


def test_it_ends_when_the_lifeline_closes_though_a_task_holds_the_interpreter():
    with Executor() as executor:

        def holds():
            import ctypes

            ctypes.PyDLL(None).sleep(1000)

        executor.begin(holds)
        executor.send(["ping", 1])
        os.close(executor.lifeline)
        executor.lifeline = None
        assert executor.exit_code() == -signal.SIGKILL


def test_signals_of_the_terminal_are_the_workers_to_handle():
    with Executor() as executor:
        for number in (signal.SIGINT, signal.SIGTERM):
            executor.process.send_signal(number)
        assert executor.run(add, 1, 1) == 2
        assert executor.client_run(lambda: __import__("faulthandler").is_enabled())


def test_a_preload_that_cannot_be_imported_refuses_with_its_traceback(tmp_path):
    preload = tmp_path / "broken_preload.py"
    preload.write_text("raise RuntimeError('no such device')\n")
    with Executor(start=False, preload=[[str(preload), []]]) as executor:
        executor.send(["start", executor.settings])
        _, text, trace = executor.expect("refused")
        assert text == "RuntimeError: no such device" and "broken_preload" in trace
        assert executor.exit_code() == 70


def test_preloads_run_with_the_worker_and_their_arguments(tmp_path):
    preload = tmp_path / "good_preload.py"
    preload.write_text(
        "import click\n"
        "@click.command()\n@click.argument('word')\n"
        "def dask_setup(worker, word):\n    worker.word = word\n"
        "def dask_teardown(worker):\n    worker.log_event('down', worker.word)\n"
    )
    with Executor(preload=[[str(preload), ["hello"]]]) as executor:
        assert executor.client_run(lambda dask_worker: dask_worker.word) == "hello"
        executor.send(["close", "over"])
        assert loads(executor.expect("send")[1])["msg"] == "hello"


def test_an_interpreter_without_distributed_refuses_and_says_so(tmp_path):
    for module in ("distributed", "msgpack"):
        empty = tmp_path / module
        empty.mkdir()
        (empty / f"{module}.py").write_text(f'raise ModuleNotFoundError("it is not here", name="{module}")\n')
        with Executor(start=False, environment={"PYTHONPATH": str(empty)}) as executor:
            try:
                executor.send(["start", executor.settings])
            except OSError:
                pass  # it refused before it read
            text = executor.expect("refused")[1]
            assert "has no distributed" in text
            assert executor.exit_code() == 70


def test_an_executor_that_is_over_is_noticed_by_the_harness():
    with Executor() as executor:
        executor.process.kill()
        with pytest.raises(Ended):
            executor.expect("done", 1)


def test_one_that_hangs_tells_where_when_it_is_aborted(tmp_path):
    with Executor() as executor:
        begun = tmp_path / "begun"

        def hangs_here(path):
            import ctypes

            open(path, "w").close()
            ctypes.PyDLL(None).sleep(1000)

        executor.begin(hangs_here, str(begun))
        while not begun.exists():
            pass
        executor.process.send_signal(signal.SIGABRT)
        assert executor.exit_code() == -signal.SIGABRT
        assert "in hangs_here" in executor.said()


def test_what_is_asked_while_functions_at_exit_run_is_let_go(tmp_path):
    begun, ends = tmp_path / "begun", tmp_path / "ends"

    def stays(begun, ends):
        import atexit
        import pathlib
        import time

        def wait():
            pathlib.Path(begun).touch()
            while not pathlib.Path(ends).exists():
                time.sleep(0.01)

        atexit.register(wait)

    with Executor() as executor:
        executor.run(stays, str(begun), str(ends))
        executor.send(["close", "scheduler-close"])
        deadline = time.monotonic() + 30
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        executor.send(["call", 7001, "ping", message_frames({"op": "ping", "reply": True})], ["ping", 7002])
        executor.expect("pong", 7002)
        ends.touch()
        assert executor.exit_code() == 0
        assert "failed" not in executor.said()

"""Requests, stream messages and plugins: what Python serves for peers, clients and the scheduler."""

import threading

import pytest
from distributed import WorkerPlugin
from distributed.protocol import loads
from harness import Executor, exception_of, message_frames


def sent(executor):
    """The next message for the scheduler's stream."""
    return loads(executor.expect("send")[1])


def add_plugin(executor, plugin, name):
    import cloudpickle

    reply = executor.call("plugin-add", plugin=cloudpickle.dumps(plugin), name=name)
    assert reply["status"] == "OK", reply


def test_client_run_runs_on_the_main_thread_with_the_worker(executor):
    assert executor.client_run(lambda dask_worker: (dask_worker.address, threading.current_thread() is threading.main_thread())) == (
        "tcp://127.0.0.1:1",
        True,
    )


def test_client_run_awaits_coroutines_and_need_not_wait(executor):
    async def later(dask_worker):
        import asyncio

        await asyncio.sleep(0)
        return dask_worker.name

    assert executor.client_run(later) == "harness"

    async def tells(dask_worker):
        dask_worker.log_event("told", "done")

    assert executor.client_run(tells, wait=False) is None
    assert sent(executor)["topic"] == "told"


def test_an_error_of_client_run_is_the_reply_stock_gives(executor):
    with pytest.raises(ZeroDivisionError):
        executor.client_run(lambda: 1 / 0)


def test_an_unknown_op_is_answered_with_nothing(executor):
    assert executor.call("no_such_op", x=1) is None


def test_a_request_with_wrong_fields_is_answered_with_an_uncaught_error(executor):
    reply = executor.call("actor_execute", nonsense=1)
    assert reply["status"] == "uncaught-error" and "nonsense" in reply["exception_text"]


def test_a_request_that_cannot_be_read_is_answered_with_an_uncaught_error(executor):
    executor.send(["call", 7001, "echo", [b"\xc1"]])
    assert loads(executor.expect("answer", 7001)[2])["status"] == "uncaught-error"


def test_a_request_that_wants_no_reply_gets_none(executor):
    executor.send(["call", 7002, "ping", message_frames({"op": "ping", "reply": False})])
    assert executor.expect("answer", 7002)[2] == []


def test_uploaded_files_can_be_imported_by_tasks_and_replaced(executor):
    for number in (1, 2):
        source = f"number = {number}\n".encode()
        assert executor.call("upload_file", filename="uploaded.py", data=source)["status"] == "OK"
        assert executor.run(lambda: __import__("uploaded").number) == number


def test_call_stack_and_profile_show_running_tasks():
    with Executor(nthreads=1) as executor:

        def gate():
            import builtins

            builtins.gate = threading.Event()

        def spins():
            import builtins

            while not builtins.gate.is_set():
                pass

        executor.client_run(gate)
        run = executor.begin(spins, key="spins-1")
        while "spins-1" not in (stacks := executor.call("call_stack", keys=None)):
            pass
        assert any("spins" in frame for frame in stacks["spins-1"])
        assert executor.call("call_stack", keys=["other"]) == {}
        while not executor.call("profile", start=None, stop=None, key=None)["children"]:
            pass
        profile = str(executor.call("profile"))
        assert "spins" in profile and "executor/tasks.py" not in profile
        executor.client_run(lambda: __import__("builtins").gate.set())
        executor.outcome(run)


# -- plugins ------------------------------------------------------------------------------------------------------------


class Everything(WorkerPlugin):
    def setup(self, worker):
        worker.handlers["mine"] = self.mine
        worker.stream_handlers["mine-stream"] = self.heard
        worker.seen = []
        self.worker = worker

    async def mine(self, x):
        return {"x": x + 1}

    def heard(self, x):
        self.worker.log_event("heard", x)

    def transition(self, key, start, finish, **kwargs):
        self.worker.log_event("transition", [key, start, finish])

    async def teardown(self, worker):
        del worker.handlers["mine"]
        del worker.stream_handlers["mine-stream"]


def test_plugins_serve_handlers_streams_and_transitions():
    with Executor() as executor:
        add_plugin(executor, Everything(), "everything")
        assert executor.expect("handlers")[1] == ("mine",)
        assert executor.expect("handlers")[1] == ("mine", "mine-stream")
        assert executor.expect("transitions")[1] is True
        assert executor.call("mine", x=1) == {"x": 2}
        executor.send(["stream", "mine-stream", message_frames({"op": "mine-stream", "x": 5})])
        assert sent(executor)["msg"] == 5
        executor.send(["transition", [["k", "ready", "executing"], ["k", "executing", "memory"]]])
        assert sent(executor)["msg"] == ("k", "ready", "executing")
        assert sent(executor)["msg"] == ("k", "executing", "memory")
        assert executor.call("plugin-remove", name="everything") == {"status": "OK"}
        assert executor.expect("handlers")[1] == ("mine-stream",)
        assert executor.expect("handlers")[1] == ()
        assert executor.expect("transitions")[1] is False


def test_a_plugin_whose_setup_raises_is_answered_with_its_error(executor):
    class Bad(WorkerPlugin):
        def setup(self, worker):
            raise ValueError("cannot set up")

    reply = executor.call("plugin-add", plugin=__import__("cloudpickle").dumps(Bad()), name="bad")
    assert reply["status"] == "error" and "cannot set up" in reply["exception_text"]


def test_a_stream_message_nobody_serves_harms_nothing(executor):
    executor.send(["stream", "nobody", message_frames({"op": "nobody"})])
    executor.send(["stream", "shuffle-fail", [b"\xc1"]])
    assert executor.run(abs, -1) == 1


def test_the_p2p_plugin_is_served():
    import pickle

    from distributed.shuffle import ShuffleWorkerPlugin

    with Executor(environment={"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "100ms"}) as executor:
        executor.call("plugin-add", plugin=pickle.dumps(ShuffleWorkerPlugin()), name="shuffle")
        served = executor.client_run(lambda dask_worker: sorted(dask_worker.handlers.added() | dask_worker.stream_handlers.added()))
        assert served == ["shuffle-fail", "shuffle_inputs_done", "shuffle_receive"]
        beat = executor.call("heartbeat")
        assert beat["extensions"]["shuffle"] == {}
        fail = {"op": "shuffle-fail", "shuffle_id": "s", "run_id": 1, "message": "m"}
        executor.send(["stream", "shuffle-fail", message_frames(fail)])
        reply = executor.call("shuffle_receive", shuffle_id="s", run_id=1, data=[])
        assert reply["status"] == "uncaught-error"  # the scheduler of these tests cannot be reached
        assert "the listener to" not in executor.said()


def test_metrics_of_plugins_are_asked_for_with_heartbeat(executor):
    def add(dask_worker):
        dask_worker.metrics["mine"] = lambda worker: worker.name
        dask_worker.metrics["bad"] = lambda worker: 1 / 0

    executor.client_run(add)
    assert executor.call("heartbeat")["metrics"] == {"mine": "harness"}


def test_failures_are_logged_with_key_and_traceback(executor):
    def fails():
        raise ValueError("logged")

    message = executor.outcome(executor.begin(fails, key="logged-key"))
    assert isinstance(exception_of(message), ValueError)
    logs = executor.call("get_logs")
    assert any("logged-key" in text and "in fails" in text for _, text in logs)

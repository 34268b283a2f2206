"""What task code, plugins and clients find here, as they find it in a stock worker."""

import os
import threading
import time

import pytest
from dask._task_spec import TaskRef
from distributed import get_worker
from distributed.protocol import loads
from harness import Executor


def sent(executor):
    """The next message for the scheduler's stream."""
    return loads(executor.expect("send")[1])


# -- get_worker ---------------------------------------------------------------------------------------------------------


def test_get_worker_is_a_distributed_worker_with_its_settings():
    def look():
        import distributed

        worker = get_worker()
        assert isinstance(worker, distributed.Worker)
        return {
            "address": worker.address,
            "contact": worker.contact_address,
            "name": worker.name,
            "id": worker.id,
            "nthreads": worker.state.nthreads,
            "memory": worker.memory_manager.memory_limit,
            "resources": dict(worker.state.total_resources),
            "nanny": worker.nanny,
            "directory": worker.local_directory,
            "scheduler": worker.scheduler.address,
            "port": worker.port,
            "status": worker.status.name,
            "identity": worker.identity(),
            "path": worker.local_directory in __import__("sys").path,
            "main": threading.current_thread() is threading.main_thread(),
        }

    with Executor(nthreads=3, name="Bob", memory_limit=1 << 30, resources={"GPU": 2}, nanny="tcp://127.0.0.1:9") as executor:
        executor.send(["status", "running"])
        assert executor.run(look) == {
            "address": "tcp://127.0.0.1:1",
            "contact": "tcp://127.0.0.1:1",
            "name": "Bob",
            "id": "Worker-1",
            "nthreads": 3,
            "memory": 1 << 30,
            "resources": {"GPU": 2},
            "nanny": "tcp://127.0.0.1:9",
            "directory": executor.settings["local_directory"],
            "scheduler": "tcp://127.0.0.1:2",
            "port": 1,
            "status": "running",
            "identity": {
                "type": "Worker",
                "id": "Worker-1",
                "scheduler": "tcp://127.0.0.1:2",
                "nthreads": 3,
                "memory_limit": 1 << 30,
            },
            "path": True,
            "main": False,
        }


def test_the_worker_opens_no_port_and_takes_no_lock():
    with Executor() as executor:
        executor.run(abs, 1)
        sockets = set()
        for name in os.listdir(f"/proc/{executor.process.pid}/fd"):
            target = os.readlink(f"/proc/{executor.process.pid}/fd/{name}")
            if target.startswith("socket:"):
                sockets.add(target[8:-1])
        for table in ("tcp", "tcp6"):
            for line in open(f"/proc/net/{table}").readlines()[1:]:
                assert line.split()[9] not in sockets
        assert os.listdir(executor.settings["local_directory"]) == []


def test_state_of_a_task_is_seen_while_it_runs(executor):
    def look():
        from dask.context import thread_state

        worker = get_worker()
        key = worker.get_current_task()
        state = worker.state.tasks[key]
        return (key, thread_state.key, state.state, state.annotations, state.priority, thread_state.start_time <= time.time())

    options = {"annotations": {"color": "red"}, "priority": [1, 2, 3]}
    assert executor.run(look, key=("look", 1), options=options) == (
        ("look", 1),
        ("look", 1),
        "executing",
        {"color": "red"},
        (1, 2, 3),
        True,
    )


def test_data_of_the_worker_is_a_mapping_of_what_is_held(executor):
    executor.put("in-data", [1])

    def look():
        data = get_worker().data
        return "in-data" in data, data["in-data"], data.get("not there"), "in-data" in list(data), len(data) >= 1

    assert executor.run(look) == (True, [1], None, True, True)
    with pytest.raises(KeyError):
        executor.run(lambda: get_worker().data["not there"])


def test_what_python_puts_into_data_is_told(executor):
    def put():
        get_worker().data["mine"] = 12

    executor.run(put)
    assert executor.expect("hold") == ("hold", "mine", 28, "int")
    assert executor.value("mine") == 12


def test_context_variables_of_one_task_do_not_reach_the_next():
    with Executor(nthreads=1) as executor:

        def sets():
            import decimal

            decimal.getcontext().prec = 7

        executor.run(sets)
        assert executor.run(lambda: __import__("decimal").getcontext().prec) == 28


def test_a_tasks_span_is_an_annotation_of_what_it_submits(executor):
    def annotations():
        import dask

        return dask.get_annotations()

    options = {"annotations": {"span": {"name": ["a"], "ids": ["b"]}}}
    assert executor.run(annotations, options=options) == {"span": {"name": ("a",), "ids": ("b",)}}
    assert executor.run(annotations) == {}


# -- slots --------------------------------------------------------------------------------------------------------------


def test_secede_frees_the_slot_and_comes_before_done():
    with Executor(nthreads=1) as executor:

        def leaves():
            import builtins

            from distributed import secede

            builtins.event = threading.Event()
            secede()
            return builtins.event.wait(60)

        first = executor.begin(leaves)
        name, run, seconds = executor.expect("seceded")
        assert run == first and seconds >= 0
        executor.run(lambda: __import__("builtins").event.set())
        assert executor.outcome(first)[0] == "done"
        assert executor.run(lambda: len(get_worker().executors["default"]._threads)) == 1


def test_rejoin_waits_for_a_slot_and_takes_it():
    with Executor(nthreads=1) as executor:

        def leaves_and_comes_back():
            import builtins

            from distributed import rejoin, secede

            builtins.event = threading.Event()
            secede()
            builtins.event.wait(60)
            rejoin()
            pool = get_worker().executors["default"]
            return threading.current_thread() in pool._threads, len(pool._threads)

        first = executor.begin(leaves_and_comes_back, key="first")
        executor.expect("seceded", first)
        executor.run(lambda: __import__("builtins").event.set())
        assert executor.outcome(first)[0] == "done"
        assert executor.value("first") == (True, 1)
        assert executor.run(abs, -1) == 1


def test_a_hundred_tasks_may_secede_at_once():
    with Executor(nthreads=2) as executor:

        def leaves():
            import builtins

            from distributed import secede

            secede()
            return builtins.gate.wait(60)

        def gate():
            import builtins

            builtins.gate = threading.Event()

        executor.client_run(gate)
        runs = [executor.begin(leaves) for _ in range(100)]
        for run in runs:
            executor.expect("seceded", run)
        executor.client_run(lambda: __import__("builtins").gate.set())
        for run in runs:
            executor.outcome(run)
        assert executor.run(lambda: len(get_worker().executors["default"]._threads)) == 2


def test_coroutine_tasks_run_on_the_loop_with_the_worker(executor):
    async def look(number):
        import asyncio

        await asyncio.sleep(0)
        return get_worker().address, threading.current_thread() is threading.main_thread(), number + 1

    assert executor.run(look, 1) == ("tcp://127.0.0.1:1", True, 2)

    async def fails():
        raise ValueError("in a coroutine")

    message = executor.outcome(executor.begin(fails))
    assert "in a coroutine" in message[4] and "in fails" in message[5] and message[6] <= message[7]


def test_coroutine_tasks_run_side_by_side_in_their_slots(executor):
    async def meet():
        import asyncio
        import builtins

        builtins.met = getattr(builtins, "met", 0) + 1
        while builtins.met < 2:
            await asyncio.sleep(0.001)

    runs = [executor.begin(meet) for _ in range(2)]
    assert {executor.outcome(run)[0] for run in runs} == {"done"}


def test_named_executors_run_the_tasks_annotated_so(executor):
    def add(dask_worker):
        from concurrent.futures import ThreadPoolExecutor

        dask_worker.executors["mine"] = ThreadPoolExecutor(1, thread_name_prefix="mine")

    executor.client_run(add)

    def look():
        return threading.current_thread().name, get_worker().get_current_task(), get_worker().address

    options = {"annotations": {"executor": "mine"}}
    assert executor.run(look, key="named", options=options) == ("mine_0", "named", "tcp://127.0.0.1:1")
    offload = executor.run(lambda: threading.current_thread().name, options={"annotations": {"executor": "offload"}})
    assert "Offload" in offload
    message = executor.outcome(executor.begin(look, options={"annotations": {"executor": "none such"}}))
    assert "Invalid executor 'none such'" in message[4] and message[6] is None


def test_a_task_that_secedes_from_a_named_executor_frees_its_slot():
    with Executor(nthreads=1) as executor:

        def add(dask_worker):
            from distributed.threadpoolexecutor import ThreadPoolExecutor

            dask_worker.executors["mine"] = ThreadPoolExecutor(1, thread_name_prefix="mine")

        executor.client_run(add)

        def leaves():
            import builtins

            from distributed import secede

            builtins.event = threading.Event()
            secede()
            return builtins.event.wait(60)

        first = executor.begin(leaves, options={"annotations": {"executor": "mine"}})
        executor.expect("seceded", first)
        executor.run(lambda: __import__("builtins").event.set())
        assert executor.outcome(first)[0] == "done"
        assert executor.run(lambda: len(get_worker().executors["default"]._threads)) == 1


def test_the_default_executor_takes_functions_as_well(executor):
    def ask(dask_worker):
        return dask_worker.executor.submit(lambda: threading.current_thread().name).result()

    assert "Dask-Default-Threads" in executor.client_run(ask)


# -- actors -------------------------------------------------------------------------------------------------------------


class Counter:
    total = 0

    def add(self, number):
        self.total += number
        return self.total, get_worker().address

    async def add_later(self, number):
        self.total += number
        return self.total


def test_actors_live_here_and_are_called_and_looked_at():
    from distributed.protocol import to_serialize

    with Executor(nthreads=1) as executor:
        run = executor.begin(Counter, key="counter", options={"actor": True})
        assert executor.outcome(run)[0] == "done"

        def call(function, *arguments):
            reply = executor.call("actor_execute", actor="counter", function=function, args=[to_serialize(a) for a in arguments], kwargs={})
            assert reply["status"] == "OK", reply
            return reply["result"]

        assert call("add", 3) == (3, "tcp://127.0.0.1:1")
        assert call("add_later", 4) == 7
        assert executor.call("actor_attribute", actor="counter", attribute="total")["result"] == 7
        reply = executor.call("actor_attribute", actor="counter", attribute="nothing")
        assert reply["status"] == "error" and isinstance(reply["exception"], AttributeError)
        assert not executor.client_run(lambda dask_worker: "counter" in dask_worker.data)

        def look(proxy):
            return type(proxy).__name__, proxy.key, proxy._address

        assert executor.run(look, TaskRef("counter"), dependencies=["counter"]) == ("Actor", "counter", "tcp://127.0.0.1:1")
        found, failed = executor.fetch("counter")
        assert list(found) == ["counter"] and not failed
        executor.send(["drop", ["counter"]])
        executor.settled()
        assert executor.fetch("counter")[0] == {}


# -- events -------------------------------------------------------------------------------------------------------------


def test_print_warn_and_log_event_reach_the_scheduler(executor):
    def talks():
        import distributed

        distributed.print("hello", 3, sep="-")
        distributed.warn("careful", UserWarning)
        get_worker().log_event(["a", "b"], {"x": 1})

    executor.run(talks)
    first, second, third = sent(executor), sent(executor), sent(executor)
    assert first["op"] == "log-event" and first["topic"] == "print" and first["msg"]["args"] == ("hello", "3")
    assert second["topic"] == "warn"
    assert third == {"op": "log-event", "topic": ("a", "b"), "msg": {"x": 1}}
    with pytest.raises(TypeError, match="msgpack"):
        executor.run(lambda: get_worker().log_event("a", object()))


def test_what_a_plugin_sends_on_the_stream_is_forwarded(executor):
    executor.client_run(lambda dask_worker: dask_worker.batched_stream.send({"op": "mine", "x": 1}))
    assert sent(executor) == {"op": "mine", "x": 1}


@pytest.mark.parametrize(
    ("ask", "how"),
    [
        (lambda worker: worker.close(reason="r"), "close"),
        (lambda worker: worker.close(nanny=False, reason="r"), "restart"),
        (lambda worker: worker.close_gracefully(reason="r"), "close_gracefully"),
        (lambda worker: worker.close_gracefully(restart=True, reason="r"), "restart_gracefully"),
    ],
)
def test_closing_is_asked_of_the_worker(executor, ask, how):
    async def asks(ask, dask_worker):
        await ask(dask_worker)

    executor.client_run(asks, ask)
    assert executor.expect("leave") == ("leave", how, "r")

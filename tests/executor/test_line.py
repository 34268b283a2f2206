"""The line itself, and each message of the worker: what `docs/executor-protocol.md` says of them."""

import operator
import pickle
import re
import struct
import sys
import time
import traceback

import pytest
from dask._task_spec import TaskRef
from harness import Executor, exception_of, pack, pickled, spec, thing_of, value_of


def add(a, b):
    return a + b


def test_ready_tells_process_versions_and_handlers(executor):
    facts = executor.ready
    assert facts["pid"] == executor.process.pid
    assert facts["versions"]["packages"]["distributed"]
    assert facts["handlers"] == () and facts["startup_information"] == {}


def test_done_carries_size_type_times_and_thread(executor):
    before = time.time()
    run = executor.begin(add, 1, 2)
    name, number, nbytes, typename, kind, start, stop, thread = executor.outcome(run)
    assert (name, number, nbytes, typename, pickle.loads(kind)) == ("done", run, 28, "int", int)
    assert before <= start <= stop <= time.time() and isinstance(thread, int)


def test_a_result_is_held_under_the_tasks_key(executor):
    executor.outcome(executor.begin(add, 1, 2, key=("x", 0, ("y", 1.5))))
    assert executor.value(("x", 0, ("y", 1.5))) == 3


def test_dependencies_are_given_to_the_task_as_live_objects(executor):
    executor.outcome(executor.begin(lambda: [1, 2], key="list"))
    same = executor.begin(lambda one, other: one is other, TaskRef("list"), TaskRef("list"), dependencies=["list"], key="s")
    assert executor.outcome(same)[0] == "done"
    assert executor.value("s") is True


def test_a_put_value_is_opened_once_for_all_tasks(executor):
    executor.put("put", {"a": [1]})
    for number in range(2):
        executor.run(lambda v: v["a"].append(2), TaskRef("put"), dependencies=["put"], key=f"append-{number}")
    assert executor.run(lambda v: v["a"], TaskRef("put"), dependencies=["put"]) == [1, 2, 2]


def test_an_error_carries_exception_traceback_and_texts(executor):
    def fails():
        raise ValueError("so it is")

    message = executor.outcome(executor.begin(fails))
    assert repr(exception_of(message)) == "ValueError('so it is')"
    assert message[4] == "ValueError('so it is')"
    assert "in fails" in message[5] and "daskjob" not in message[5]
    assert pickle.loads(message[3]).tb_frame.f_code.co_name == "fails"
    assert message[6] <= message[7]


def test_endless_recursion_is_an_error_with_a_short_traceback(executor):
    def descends(level):
        return descends(level + 1)

    message = executor.outcome(executor.begin(descends, 0))
    error = exception_of(message)
    assert isinstance(error, RecursionError)
    if sys.version_info >= (3, 11):
        assert re.fullmatch(r"\d{3} calls between the first and the last are not shown", error.__notes__[0])
    frames = list(traceback.walk_tb(pickle.loads(message[3])))
    assert 2 <= len(frames) <= 40 and {frame.f_code.co_name for frame, _ in frames} >= {"descends"}


def test_a_traceback_that_cannot_be_pickled_is_none_and_never_a_text(executor):
    # As `error_message` leaves it, which clients take for the end of the connection.
    def fails():
        from distributed.protocol import pickle as stock

        plain = stock.dumps

        def dumps(value, *arguments, **named):
            if type(value).__name__ != "traceback":
                return plain(value, *arguments, **named)
            stock.dumps = plain
            raise TypeError("not this one")

        stock.dumps = dumps
        raise ValueError("so it is")

    message = executor.outcome(executor.begin(fails))
    assert repr(exception_of(message)) == "ValueError('so it is')"
    assert message[3] is None and "in fails" in message[5]


def test_a_long_exception_is_cut_as_in_stock(executor):
    def fails():
        raise ValueError("x" * 100_000)

    error = exception_of(executor.outcome(executor.begin(fails)))
    assert error.args[0] == "Long error message" and len(error.args[1]) == 10_000


def test_an_exception_that_cannot_be_pickled_arrives_as_its_repr(executor):
    def fails():
        import threading

        raise ValueError(threading.Lock())

    error = exception_of(executor.outcome(executor.begin(fails)))
    assert type(error) is Exception and "ValueError(<unlocked" in str(error)


def test_an_exception_whose_repr_raises_is_still_told(executor):
    def fails():
        class Bad(Exception):
            def __repr__(self):
                raise RuntimeError("no")

            __str__ = __repr__
            __reduce__ = __repr__

        raise Bad

    message = executor.outcome(executor.begin(fails))
    assert "Bad" in str(exception_of(message))


def test_a_spec_that_cannot_be_read_is_the_tasks_error(executor):
    executor.send(["execute", 90_001, "bad", [pack({"pickled-obj": b"\x80\x05nonsense", "num-sub-frames": 0}), []], [], {}])
    message = executor.outcome(90_001)
    assert message[0] == "erred" and isinstance(exception_of(message), pickle.UnpicklingError)
    assert message[6] is None and message[7] is None


def test_a_spec_whose_unpickling_raises_is_the_tasks_error(executor):
    class Refuses:
        def __reduce__(self):
            return (eval, ("1/0",))

    message = executor.outcome(executor.begin(add, 1, Refuses()))
    assert isinstance(exception_of(message), ZeroDivisionError)


def test_a_spec_may_be_a_serialised_value(executor):
    from dask._task_spec import Task

    executor.send(["execute", 90_002, "serialised", value_of(Task("serialised", operator.add, 1, 2)), [], {}])
    assert executor.outcome(90_002)[0] == "done"
    assert executor.value("serialised") == 3


def test_a_dependency_that_is_not_here_is_the_tasks_error(executor):
    message = executor.outcome(executor.begin(add, 1, TaskRef("nowhere"), dependencies=["nowhere"]))
    assert isinstance(exception_of(message), KeyError)


def test_data_and_alias_specs_run_like_tasks(executor):
    from dask._task_spec import Alias, DataNode

    executor.send(["execute", 90_003, "data", pickled(DataNode("data", 17)), [], {}])
    assert executor.outcome(90_003)[0] == "done"
    executor.send(["execute", 90_004, "alias", pickled(Alias("alias", "data")), ["data"], {}])
    assert executor.outcome(90_004)[0] == "done"
    assert executor.value("alias") == 17


def test_reschedule_is_told_and_holds_nothing(executor):
    def again():
        from distributed import Reschedule

        raise Reschedule

    message = executor.outcome(executor.begin(again, key="again"))
    assert message[0] == "rescheduled" and message[2] <= message[3]
    assert "again" in executor.fetch("again")[1]


def test_runs_that_have_not_begun_can_be_withdrawn():
    with Executor(nthreads=1) as executor:
        executor.client_run(gate)
        first = executor.begin(wait_for_gate)
        while not executor.client_run(lambda dask_worker: dask_worker.active_threads):
            pass
        others = [executor.begin(add, 1, number) for number in range(3)]
        executor.send(["withdraw", [first, others[0], others[2], 12_345]])
        assert executor.expect("withdrawn")[1] == (others[0], others[2])
        executor.client_run(open_gate)
        assert executor.outcome(others[1])[0] == "done"
        assert executor.outcome(first)[0] == "done"
        executor.settled()
        assert not [message for message in executor.messages if message[0] == "done"]


def test_what_a_cancelled_run_makes_does_not_take_the_place_of_what_came_meanwhile():
    with Executor(nthreads=1) as executor:
        executor.client_run(gate)
        begun = executor.begin(wait_for_gate, key="value")
        while not executor.client_run(lambda dask_worker: dask_worker.active_threads):
            pass
        waiting = executor.begin(add, 1, 2, key="never")
        executor.send(["cancel", [begun, waiting, 12_345]])
        assert executor.expect("withdrawn")[1] == (waiting,)
        executor.put("value", "newer")
        executor.client_run(open_gate)
        assert executor.expect("withdrawn")[1] == (begun,)
        assert executor.value("value") == "newer"
        assert "never" in executor.fetch("never")[1]
        assert executor.run(add, 1, 2) == 3


def test_a_run_that_ended_before_it_was_cancelled_is_answered_once():
    with Executor(nthreads=1) as executor:
        ended = executor.begin(add, 1, 2, key="ended")
        assert executor.outcome(ended)[0] == "done"
        executor.send(["cancel", [ended]])
        executor.settled()
        assert executor.value("ended") == 3
        assert not [message for message in executor.messages if message[0] == "withdrawn"]


def test_a_cancelled_coroutine_and_a_cancelled_actor_leave_nothing():
    with Executor(nthreads=2) as executor:
        executor.client_run(gate)
        coroutine = executor.begin(wait_for_gate_on_the_loop, key="coroutine")
        actor = executor.begin(wait_for_gate, key="actor", options={"actor": True})
        while len(executor.client_run(lambda dask_worker: list(dask_worker.state.tasks))) < 2:
            pass
        while not executor.client_run(lambda dask_worker: dask_worker.active_threads):
            pass
        executor.send(["cancel", [coroutine, actor]])
        executor.settled()
        executor.client_run(open_gate)
        answered = {executor.expect("withdrawn")[1] for _ in range(2)}
        assert answered == {(coroutine,), (actor,)}
        assert set(executor.fetch("coroutine", "actor")[1]) == {"coroutine", "actor"}


async def wait_for_gate_on_the_loop():
    import asyncio
    import builtins

    while not builtins.gate.is_set():
        await asyncio.sleep(0.001)


def gate():
    import builtins
    import threading

    builtins.gate = threading.Event()


def open_gate():
    import builtins

    builtins.gate.set()


def wait_for_gate():
    import builtins

    return builtins.gate.wait(60)


def test_no_more_than_nthreads_run_and_they_run_in_the_order_they_came():
    with Executor(nthreads=2) as executor:
        executor.client_run(gate)

        def note(number):
            import builtins

            builtins.order = getattr(builtins, "order", [])
            builtins.order.append(number)
            builtins.gate.wait(60)

        runs = [executor.begin(note, number) for number in range(5)]
        while len(executor.client_run(lambda dask_worker: dask_worker.active_threads)) < 2:
            pass
        assert sorted(executor.client_run(lambda: __import__("builtins").order)) == [0, 1]
        executor.client_run(open_gate)
        assert {executor.outcome(run)[0] for run in runs} == {"done"}
        order = executor.client_run(lambda: __import__("builtins").order)
        assert sorted(order) == list(range(5)) and sorted(order[:2]) == [0, 1]


def test_results_of_short_tasks_arrive_though_a_long_one_follows():
    with Executor(nthreads=1) as executor:
        executor.client_run(gate)
        short = {"duration": 0.0001}
        messages = [["execute", number, f"k{number}", spec(add, 1, number), [], short] for number in range(1, 4)]
        messages.append(["execute", 4, "long", spec(wait_for_gate), [], short])
        executor.send(*messages)
        for number in range(1, 4):
            assert executor.outcome(number)[0] == "done"
        executor.client_run(open_gate)
        executor.outcome(4)


def test_a_value_dropped_behind_an_execute_is_still_given_to_it():
    with Executor(nthreads=1) as executor:
        executor.put("kept", 20)
        executor.client_run(gate)
        executor.begin(wait_for_gate)
        run = executor.begin(add, TaskRef("kept"), 1, dependencies=["kept"], key="sum")
        executor.send(["drop", ["kept"]])
        executor.settled()
        executor.client_run(open_gate)
        assert executor.outcome(run)[0] == "done"
        assert executor.value("sum") == 21
        assert executor.fetch("kept") == ({}, {"kept": (None, "not held here")})


def test_dropping_ends_the_object(executor):
    def leaves_a_trace():
        import weakref

        class Thing:
            pass

        thing = Thing()
        import builtins

        builtins.trace = weakref.ref(thing)
        return thing

    executor.outcome(executor.begin(leaves_a_trace, key="thing"))
    assert executor.client_run(lambda: __import__("builtins").trace() is not None)
    executor.send(["drop", ["thing", "never there"]])
    executor.settled()
    while executor.client_run(lambda: __import__("builtins").trace() is not None):
        pass


def test_ten_thousand_tasks_in_batches_are_all_answered_once(executor):
    runs = range(100_001, 110_001)
    for first in range(0, len(runs), 500):
        part = runs[first : first + 500]
        executor.send(*(["execute", run, f"many-{run}", spec(add, run, 1), [], {"duration": 0.0001}] for run in part))
    for run in reversed(runs):
        executor.expect("done", run, remove=False)
        break
    with executor.changed:
        while sum(message[0] == "done" for message in executor.messages) < len(runs):
            assert executor.changed.wait(60)
        answered = [message[1] for message in executor.messages if message[0] == "done"]
        executor.messages.clear()
    assert sorted(answered) == list(runs)
    assert executor.value(f"many-{runs[-1]}") == runs[-1] + 1
    executor.send(["drop", [f"many-{run}" for run in runs]])


def test_ping_is_answered_while_tasks_run_and_after_one_that_holds_the_interpreter():
    with Executor(nthreads=1) as executor:
        executor.client_run(gate)
        run = executor.begin(wait_for_gate)
        executor.settled()
        executor.client_run(open_gate)
        executor.outcome(run)

        def holds():
            import ctypes

            ctypes.PyDLL(None).usleep(300_000)  # PyDLL keeps the GIL

        run = executor.begin(holds)
        executor.send(["ping", 77])
        assert executor.outcome(run)[0] == "done"
        executor.expect("pong", 77)


@pytest.mark.parametrize(
    "body",
    [
        pack([["no such message", 1]]),
        pack([["execute", 1]]),
        pack(["execute"]),
        pack([[]]),
        pack({"a": 1}),
        b"\xc1",
        pack([["put", "key", [b"\x80", [[3, 0, 10]]]]]),
        pack([["status", "no such status"]]),
    ],
    ids=["unknown", "too short", "not an array", "empty", "a map", "no msgpack", "no such descriptor", "no such status"],
)
def test_what_is_no_message_ends_it_with_70_and_words(body):
    with Executor() as executor:
        executor.ours.sendall(struct.pack("<II", len(body), 0) + body)
        assert executor.exit_code() == 70
        assert "error of the line" in executor.said()


@pytest.mark.parametrize("count", [1, 65, 2**32 - 1])
def test_descriptors_that_did_not_come_end_it_with_70(count):
    with Executor() as executor:
        body = pack([["ping", 1]])
        executor.ours.sendall(struct.pack("<II", len(body), count) + body)
        assert executor.exit_code() == 70


def test_a_first_message_that_is_not_start_ends_it_with_70():
    with Executor(start=False) as executor:
        executor.send(["ping", 1])
        assert executor.exit_code() == 70
        assert "not 'start'" in executor.said()


def test_packets_may_be_cut_anywhere(executor):
    body = pack([["ping", 4001], ["ping", 4002]])
    packet = struct.pack("<II", len(body), 0) + body
    for byte in packet + packet:
        executor.ours.sendall(bytes([byte]))
    for _ in range(2):
        executor.expect("pong", 4001)
        executor.expect("pong", 4002)


def test_common_starts_are_opened_once_and_give_what_whole_specs_give(executor):
    import measure

    specs = measure.specs_with_start(50)
    for number, one in enumerate(specs):
        executor.send(["execute", 200_000 + number, f"start-{number}", one, [], {}])
    for number in range(50):
        assert executor.outcome(200_000 + number)[0] == "done"
    assert [executor.value(f"start-{number}") for number in range(50)] == list(range(1, 51))
    assert thing_of(executor.fetch("start-3")[0]["start-3"]) == 4


def test_a_failing_task_whose_arguments_cannot_be_shown_is_still_told(executor):
    class Shy:
        def __repr__(self):
            raise RuntimeError("no")

        def fails(self):
            raise ValueError("told")

    run = executor.begin(lambda shy: shy.fails(), Shy())
    assert repr(exception_of(executor.outcome(run))) == "ValueError('told')"


def test_a_value_whose_size_raises_is_the_tasks_error_and_absurd_sizes_are_bounded(executor):
    class Sized:
        def __init__(self, size):
            self.size = size

        def __sizeof__(self):
            return self.size

    message = executor.outcome(executor.begin(Sized, -1))
    assert message[0] == "erred" and "__sizeof__" in message[4]
    assert executor.outcome(executor.begin(Sized, 1 << 40))[2] >= 1 << 40


def test_a_key_that_cannot_travel_is_refused_where_it_is_made(executor):
    def puts():
        from distributed import get_worker

        get_worker().data[object()] = 1

    with pytest.raises(TypeError, match="cannot be a key"):
        executor.run(puts)
    executor.settled()


def test_collect_ends_what_only_refers_to_itself(executor):
    def knots():
        import builtins
        import gc
        import weakref

        class Knot:
            pass

        gc.disable()
        knot = Knot()
        knot.self = knot
        builtins.knot = weakref.ref(knot)

    executor.run(knots)
    executor.send(["collect"])
    while executor.client_run(lambda: __import__("builtins").knot() is not None):
        pass
    executor.client_run(lambda: __import__("gc").enable())

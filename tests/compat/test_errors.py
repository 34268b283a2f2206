"""What the user sees when something fails."""

from __future__ import annotations

import traceback

import dask
import pytest
from distributed import CancelledError, wait

import tasks
from cluster import NANNIED
from differences import differs
from eventually import eventually

# A worker that its task ends is replaced; that it is not tried four times saves time.
CLUSTER = {"workers": NANNIED, "env": {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}}


def function_names(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_exception_and_traceback_are_those_of_the_task(client):
    def inner():
        raise KeyError("the", "args")

    def outer():
        return inner()

    future = client.submit(outer)
    with pytest.raises(KeyError) as info:
        future.result()
    assert info.value.args == ("the", "args")
    assert function_names(info.value)[-2:] == ["outer", "inner"]
    assert future.status == "error"
    assert isinstance(future.exception(), KeyError)
    names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(future.traceback())]
    assert names[-2:] == ["outer", "inner"]


def test_exception_of_the_users_own_class(client):
    def fail():
        raise tasks.Weird("message", extra=["e"])

    with pytest.raises(tasks.Weird) as info:
        client.submit(fail).result()
    assert info.value.extra == ["e"]


def test_exception_of_a_class_made_in_the_test(client):
    class Local(Exception):
        pass

    def fail():
        raise Local(5)

    error = client.submit(fail).exception()
    assert type(error).__name__ == "Local"
    assert error.args == (5,)


def test_cause_of_an_exception_is_kept(client):
    def fail():
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError("outer") from error

    error = client.submit(fail).exception()
    assert isinstance(error, ValueError)


def test_errors_pass_to_dependents(client):
    cause = client.submit(tasks.fail, "root cause", key="cause")
    middle = client.submit(tasks.increment, cause, key="middle")
    leaf = client.submit(tasks.increment, middle, key="leaf")
    with pytest.raises(ValueError, match="root cause"):
        leaf.result()
    assert [future.status for future in (cause, middle, leaf)] == ["error"] * 3
    assert "fail" in [frame.f_code.co_name for frame, _ in traceback.walk_tb(leaf.traceback())]


def test_dependent_of_a_failure_fails_at_once(client):
    cause = client.submit(tasks.fail, "early")
    wait(cause)
    with pytest.raises(ValueError, match="early"):
        client.submit(tasks.increment, cause).result(timeout=5)


def test_error_reaches_every_client(cluster, client):
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(tasks.fail, key="fails-for-all")
        theirs = other.submit(tasks.fail, key="fails-for-all")
        assert isinstance(mine.exception(), ValueError)
        assert isinstance(theirs.exception(), ValueError)


def test_one_failure_in_a_graph(client):
    values = [dask.delayed(tasks.increment)(i) for i in range(5)]
    with pytest.raises(ValueError, match="in the graph"):
        dask.delayed(tasks.total)([*values, dask.delayed(tasks.fail)("in the graph")]).compute()
    assert dask.delayed(tasks.total)(values).compute() == 15


def test_failures_do_not_hold_memory(client):
    future = client.submit(tasks.fail, key="dropped-failure")
    wait(future)
    future.release()
    eventually(lambda: "dropped-failure" not in client.who_has())


def test_base_exceptions(client):
    def leave():
        raise SystemExit(3)

    future = client.submit(leave)
    error = future.exception(timeout=20)
    assert error is not None
    assert client.submit(tasks.increment, 1, pure=False).result() == 2


def test_result_that_cannot_be_pickled(client):
    import threading

    future = client.submit(threading.Lock, pure=False)
    wait(future)
    assert future.status == "finished"
    with pytest.raises(TypeError, match="serialize|pickle"):
        future.result()


@differs(worker="stock", why="its message of a traceback that cannot be pickled ends the client's listening", runs=False)
def test_endless_recursion_is_told(client):
    def descends(level):
        return descends(level + 1)

    with pytest.raises(RecursionError):
        client.submit(descends, 0).result(timeout=60)
    assert client.submit(sum, [1, 2]).result(timeout=60) == 3


def test_result_that_cannot_be_unpickled(client):
    class Hostile:
        def __reduce__(self):
            return fail_to_load, ()

    def make():
        return Hostile()

    future = client.submit(make)
    wait(future)
    assert future.status == "finished"
    with pytest.raises(Exception, match="cannot be loaded"):
        future.result()
    assert client.submit(tasks.increment, 1).result() == 2


def fail_to_load():
    raise RuntimeError("cannot be loaded")


def test_function_that_cannot_be_pickled(client):
    import threading

    lock = threading.Lock()
    with pytest.raises(TypeError, match="serialize|pickle"):
        client.submit(lambda: lock).result()


def test_argument_that_cannot_be_pickled(client):
    import threading

    with pytest.raises(TypeError, match="serialize|pickle"):
        client.submit(id, threading.Lock()).result()


def test_exception_that_cannot_be_pickled(client):
    def fail():
        import threading

        error = ValueError("holds a lock")
        error.lock = threading.Lock()
        raise error

    error = client.submit(fail).exception(timeout=10)
    assert "holds a lock" in str(error)


def test_exception_that_cannot_be_unpickled(client):
    class Picky(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a}{b}")

    def fail():
        raise Picky("needs", "two")

    future = client.submit(fail)
    with pytest.raises(Exception):
        future.result(timeout=10)
    assert future.status == "error"
    assert client.submit(tasks.increment, 1).result() == 2


def test_very_long_error_is_cut(client):
    error = client.submit(tasks.fail, "x" * 1_000_000).exception()
    assert isinstance(error, ValueError)
    assert "xxxx" in str(error)
    assert len(str(error)) < 20_000


def test_missing_argument(client):
    with pytest.raises(TypeError, match="argument"):
        client.submit(tasks.add, 1).result()


def test_module_that_workers_do_not_have(cluster, client, tmp_path):
    (tmp_path / "only_here.py").write_text("def f():\n    return 1\n")
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        import only_here

        with pytest.raises(Exception, match="only_here|deserialization") as info:
            client.submit(only_here.f).result(timeout=15)
        assert isinstance(info.value, (ModuleNotFoundError, RuntimeError))
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("only_here", None)
    assert client.submit(tasks.increment, 1).result() == 2


def test_result_of_a_cancelled_dependency(client, gate):
    root = client.submit(tasks.wait_for_file, gate, key="to-be-cancelled")
    leaf = client.submit(tasks.increment, root)
    client.cancel(root, force=True)
    with pytest.raises(CancelledError):
        leaf.result(timeout=10)


def test_gather_of_a_key_that_was_forgotten(client):
    reply = client.sync(client.scheduler.gather, keys=["never-was"])
    assert reply["status"] == "error"
    assert list(reply["keys"]) == ["never-was"]


def test_dask_error_keeps_the_task_in_its_traceback(client):
    @dask.delayed
    def culprit(x):
        return x / 0

    with pytest.raises(ZeroDivisionError) as info:
        culprit(1).compute()
    assert "culprit" in function_names(info.value)

"""Single messages of the protocol, said and heard by hand: what no client or worker lets a test provoke.

A worker played by the test registers beside the real ones; `workers=["raw"]` sends it a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from distributed import wait

import tasks
import wire
from differences import differs
from eventually import eventually

ADDRESS = "tcp://127.0.0.1:1"
STIMULUS = {"stimulus_id": "by hand"}


class Stream:
    """An established stream: batches of messages both ways."""

    def __init__(self, connection):
        self.connection = connection
        self.heard = []

    def say(self, *messages):
        self.connection.sendall(wire.frames_of(list(messages)))

    def hear(self, op):
        """The next message of this kind; what comes before it is passed over."""
        while True:
            while self.heard:
                message = self.heard.pop(0)
                if message["op"] == op:
                    return message
            self.heard.extend(wire.read_message(self.connection))


@contextlib.contextmanager
def raw_worker(cluster, **changes):
    """A worker with one thread, as far as the scheduler knows; its stream, and what it was welcomed with."""
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        registration = wire.registration(**{"name": "raw", "address": ADDRESS, **changes})
        connection.sendall(wire.frames_of(registration))
        stream = Stream(connection)
        stream.welcome = wire.read_message(connection)
        assert stream.welcome["status"] == "OK"
        # A worker says that it runs once it has been welcomed.
        stream.say({"op": "worker-status-change", "status": "running", **STIMULUS})
        yield stream


@contextlib.contextmanager
def raw_client(cluster):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        message = {"op": "register-client", "client": "raw-client", "versions": {}, "reply": False}
        connection.sendall(wire.frames_of(message))
        stream = Stream(connection)
        assert stream.hear("stream-start")["error"] == ""
        yield stream


@pytest.fixture
def worker(cluster, client):
    with raw_worker(cluster) as worker:
        eventually(lambda: len(client.nthreads()) == 3)
        yield worker
    eventually(lambda: len(client.nthreads()) == 2)


def ask(cluster, **request):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        return wire.call(connection, reply=True, **request)


def finished(task, **changes):
    """The report that a task is done and its result in memory."""
    now = time.time()
    return {
        **{"op": "task-finished", "status": "OK", "key": task["key"], "run_id": task["run_id"], "nbytes": 1234},
        **{"type": b"\x80\x05N.", "typename": "NoneType", "thread": 1, "metadata": {}, **STIMULUS},
        **{"startstops": [{"action": "compute", "start": now - 0.1, "stop": now}]},
        **changes,
    }


def submit(client, key, **options):
    return client.submit(tasks.increment, 1, key=key, workers=["raw"], **options)


@contextlib.contextmanager
def worker_that_is_given_data(cluster, client):
    """The same with a server that takes scattered data: its stream, its address, and what it was given so far."""
    from distributed.core import Server

    given = []

    async def serve():
        server = Server({"update_data": take})
        await server.listen("tcp://127.0.0.1:0")
        return server

    def take(data):
        given.append(set(data))
        return {"nbytes": dict.fromkeys(data, 10), "status": "OK"}

    server = client.sync(serve)
    try:
        with raw_worker(cluster, address=server.address) as stream:
            eventually(lambda: len(client.nthreads()) == 3)
            yield stream, server.address, given
    finally:
        client.sync(server.close)
    eventually(lambda: len(client.nthreads()) == 2)


# -- workers ----------------------------------------------------------------------------------------------------------


def test_worker_is_welcomed(cluster, client, worker):
    assert abs(worker.welcome["time"] - time.time()) < 20
    assert 0 < worker.welcome["heartbeat-interval"] < 10
    assert isinstance(worker.welcome["worker-plugins"], dict)
    # It says that it runs on its stream, which nobody answers.
    eventually(lambda: client.scheduler_info(n_workers=-1)["workers"][ADDRESS]["status"] == "running")
    info = client.scheduler_info(n_workers=-1)["workers"][ADDRESS]
    assert (info["name"], info["nthreads"]) == ("raw", 1)


def test_worker_of_other_versions_is_warned(cluster):
    with raw_worker(cluster, versions={"host": {}, "packages": {"msgpack": "0.0.1"}}) as worker:
        assert "Mismatched versions found" in worker.welcome["warning"]
        assert "0.0.1" in worker.welcome["warning"]


def test_heartbeat_of_a_known_and_of_an_unknown_worker(cluster, client, worker):
    beat = {"op": "heartbeat_worker", "now": time.time(), "executing": {}, "extensions": {}}
    metrics = {**wire.METRICS, "memory": 77_000_000}
    answer = ask(cluster, **beat, address=ADDRESS, metrics=metrics)
    assert answer["status"] == "OK"
    assert answer["heartbeat-interval"] > 0
    assert client.scheduler_info(n_workers=-1)["workers"][ADDRESS]["metrics"]["memory"] == 77_000_000
    assert ask(cluster, **beat, address="tcp://127.0.0.1:2", metrics=metrics) == {"status": "missing"}


def test_task_goes_out_and_its_report_comes_in(client, worker):
    future = submit(client, "by-hand", priority=3)
    task = worker.hear("compute-task")
    assert task["key"] == "by-hand"
    assert task["priority"][0] == -3
    assert set(task) >= {"run_spec", "run_id", "stimulus_id", "nbytes", "who_has"}
    worker.say(finished(task))
    wait(future, timeout=10)
    assert future.status == "finished"
    assert client.who_has() == {"by-hand": (ADDRESS,)}
    assert client.nbytes(summary=False) == {"by-hand": 1234}
    future.release()
    assert worker.hear("free-keys")["keys"] == ("by-hand",)


def test_report_of_another_run_is_not_taken(client, worker):
    future = submit(client, "two-runs")
    task = worker.hear("compute-task")
    worker.say(finished(task, run_id=task["run_id"] + 1000))
    with pytest.raises(TimeoutError):
        wait(future, timeout=0.3)
    assert client.who_has()["two-runs"] == ()


def test_rescheduled_task_goes_out_again(client, worker):
    future = submit(client, "put-back")
    first = worker.hear("compute-task")
    worker.say({"op": "reschedule", "key": "put-back", **STIMULUS})
    again = worker.hear("compute-task")
    assert again["run_id"] > first["run_id"]
    worker.say(finished(again))
    wait(future, timeout=10)


def test_result_that_a_worker_dropped_is_computed_again(client, worker):
    future = submit(client, "dropped")
    worker.say(finished(worker.hear("compute-task")))
    wait(future, timeout=10)
    worker.say({"op": "release-worker-data", "key": "dropped", **STIMULUS})
    worker.say(finished(worker.hear("compute-task"), nbytes=5))
    eventually(lambda: client.nbytes(summary=False) == {"dropped": 5})


def test_result_lost_with_its_worker_is_lost_to_its_client(cluster, client):
    with raw_worker(cluster) as worker:
        future = submit(client, "lost")
        worker.say(finished(worker.hear("compute-task")))
        wait(future, timeout=10)
    eventually(lambda: future.status == "lost")
    with raw_worker(cluster) as worker:
        worker.say(finished(worker.hear("compute-task")))
        eventually(lambda: future.status == "finished")
        future.release()
        worker.hear("free-keys")


@pytest.mark.parametrize("by", ["stream", "request"])
def test_replicas_are_added_and_those_nobody_knows_are_refused(cluster, client, worker, by):
    future = client.submit(tasks.increment, 1, key="known", workers=["alice"])
    wait(future)
    if by == "stream":
        worker.say({"op": "add-keys", "keys": ["known", "unknown"], **STIMULUS})
    else:
        assert ask(cluster, op="add_keys", worker=ADDRESS, keys=["known", "unknown"], **STIMULUS) == "OK"
        assert ask(cluster, op="add_keys", worker="tcp://127.0.0.1:2", keys=["known"]) == "not found"
    assert worker.hear("remove-replicas")["keys"] == ("unknown",)
    assert set(client.who_has()["known"]) == {ADDRESS, cluster.addresses(client)["alice"]}


def test_worker_asks_who_has_what(cluster, client, worker):
    future = client.submit(tasks.increment, 1, key="held", workers=["bob"])
    wait(future)
    worker.say({"op": "request-refresh-who-has", "keys": ["held", "never-was"], **STIMULUS})
    refreshed, unknown = worker.hear("refresh-who-has"), worker.hear("free-keys")
    assert refreshed["who_has"] == {"held": (cluster.addresses(client)["bob"],)}
    assert unknown["keys"] == ("never-was",)


def test_paused_worker_gets_nothing_until_it_runs_again(client, worker):
    worker.say({"op": "worker-status-change", "status": "paused", **STIMULUS})
    eventually(lambda: client.scheduler_info(n_workers=-1)["workers"][ADDRESS]["status"] == "paused")
    assert ADDRESS not in client.sync(client.scheduler.ncores_running)
    assert ADDRESS in client.nthreads()
    future = submit(client, "held-back")
    eventually(
        lambda: client.sync(client.scheduler.get_task_status, keys=["held-back"]) == {"held-back": "no-worker"}
    )
    worker.say({"op": "worker-status-change", "status": "running", **STIMULUS})
    worker.say(finished(worker.hear("compute-task")))
    wait(future, timeout=10)


def test_worker_says_which_resources_it_has(cluster, client, worker):
    assert ask(cluster, op="set_resources", worker=ADDRESS, resources={"TPU": 3.0}) == "OK"
    assert client.scheduler_info(n_workers=-1)["workers"][ADDRESS]["resources"] == {"TPU": 3.0}
    future = submit(client, "needs-more", resources={"TPU": 2})
    worker.say(finished(worker.hear("compute-task")))
    wait(future, timeout=10)


def test_worker_is_unregistered_once(cluster, client):
    with raw_worker(cluster) as worker:
        request = {"op": "unregister", "address": ADDRESS, **STIMULUS}
        assert ask(cluster, **request) == "OK"
        assert ADDRESS not in client.nthreads()
        assert ask(cluster, **request) == "already-removed"
        assert worker.hear("close")


def test_retired_worker_is_told_to_close(client, worker):
    retired = client.retire_workers(workers=[ADDRESS], close_workers=True)
    assert set(retired) == {ADDRESS}
    assert worker.hear("close")


def test_worker_hears_that_another_has_left(cluster, client, worker):
    with raw_worker(cluster, name="leaves", address="tcp://127.0.0.1:2"):
        eventually(lambda: len(client.nthreads()) == 4)
    assert worker.hear("remove-worker")["worker"] == "tcp://127.0.0.1:2"


def test_signs_of_life_change_nothing(client, worker):
    worker.say({"op": "keep-alive"}, {"op": "keep-alive"})
    future = submit(client, "after-signs-of-life")
    worker.say(finished(worker.hear("compute-task")))
    wait(future, timeout=10)


def test_restrictions_can_be_changed_while_a_task_waits(cluster, client, gate):
    """What a shuffle does to its output tasks."""
    addresses = cluster.addresses(client)
    first = client.submit(tasks.wait_for_file, gate)
    second = client.submit(lambda _: tasks.here(), first, key="restricted-later", workers=["alice"])
    eventually(
        lambda: client.sync(client.scheduler.get_task_status, keys=["restricted-later"])
        == {"restricted-later": "waiting"}
    )
    client.sync(client.scheduler.set_restrictions, worker={"restricted-later": addresses["bob"]})
    open(gate, "w").close()
    assert second.result(timeout=10) == addresses["bob"]


# -- clients ----------------------------------------------------------------------------------------------------------


def test_client_is_told_how_often_to_show_life(cluster):
    with raw_client(cluster) as raw:
        raw.say({"op": "heartbeat-client"})
        assert raw.hear("adjust-heartbeat-interval")["interval"] > 0


def test_client_asks_for_the_state_of_a_key(cluster, client):
    done, failed = client.submit(tasks.increment, 1, key="is-done"), client.submit(tasks.fail, key="has-failed")
    wait([done, failed])
    with raw_client(cluster) as raw:
        raw.say({"op": "report-key", "key": "is-done"})
        assert raw.hear("key-in-memory")["key"] == "is-done"
        raw.say({"op": "report-key", "key": "has-failed"})
        assert raw.hear("task-erred")["key"] == "has-failed"
        raw.say({"op": "report-key", "key": "never-was"})
        assert raw.hear("cancelled-keys")["keys"] == ("never-was",)


@differs("stock", why="it tells once: a client that reads the answer to its retry later waits for ever", runs=False)
def test_result_of_a_retry_is_told_again_after_the_answer(cluster, client, tmp_path):
    future = client.submit(tasks.fail_until, str(tmp_path / "calls"), 1, key="tried-again")
    wait(future)
    with raw_client(cluster) as raw:
        raw.say({"op": "client-desires-keys", "keys": ["tried-again"]})
        assert raw.hear("task-erred")["key"] == "tried-again"
        assert ask(cluster, op="retry", keys=["tried-again"], client="raw-client") == ("tried-again",)
        for _ in range(2):
            assert raw.hear("key-in-memory")["key"] == "tried-again"


def test_wish_for_a_result_is_answered_and_keeps_it(cluster, client):
    done = client.submit(tasks.increment, 1, key="wished-for")
    wait(done)
    with raw_client(cluster) as raw:
        raw.say({"op": "client-desires-keys", "keys": ["wished-for"]})
        assert raw.hear("key-in-memory")["key"] == "wished-for"
        done.release()
        with cluster.client(set_as_default=False) as other:
            assert other.submit(tasks.increment, 5, pure=False).result() == 6
        assert len(client.who_has()["wished-for"]) == 1
        raw.say({"op": "client-releases-keys", "keys": ["wished-for"]})
        eventually(lambda: "wished-for" not in client.who_has())


@pytest.mark.parametrize("by", ["stream", "request"])
def test_client_says_where_it_has_put_data(cluster, client, worker, by):
    put = {"who_has": {"put": [ADDRESS]}, "nbytes": {"put": 99}}
    with raw_client(cluster) as raw:
        if by == "stream":
            raw.say({"op": "update-data", **put})
        else:
            ask(cluster, op="update_data", client="raw-client", **put)
        eventually(lambda: client.who_has() == {"put": (ADDRESS,)})
        assert client.nbytes(summary=False) == {"put": 99}
    eventually(lambda: client.who_has() == {})


@differs("stock", why="what was scattered again is lost when the worker's word about its last copy comes late", runs=False)
def test_data_is_scattered_again_only_after_its_last_copy_is_gone(cluster, client):
    with worker_that_is_given_data(cluster, client) as (worker, address, given):

        def scatter():
            return client.scatter({"again": 1}, workers=[address], direct=False, asynchronous=True)

        async def within(seconds, task):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), seconds)

        first = client.sync(scatter)
        first["again"].release()
        order = worker.hear("free-keys")
        assert (order["keys"], given) == (("again",), [{"again"}])

        async def begin():
            task = asyncio.ensure_future(scatter())
            # Long enough for what must not happen before the worker has answered.
            await within(0.3, task)
            return task

        async def end(task):
            return await task

        second = client.sync(begin)
        assert len(given) == 1
        worker.say({"op": "release-worker-data", "key": "again", "stimulus_id": order["stimulus_id"]})
        again = client.sync(end, second)
        assert len(given) == 2
        assert client.who_has() == {"again": (address,)}
        again["again"].release()
        assert worker.hear("free-keys")["keys"] == ("again",)

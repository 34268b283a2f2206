"""Questions about tasks, workers and data."""

from __future__ import annotations

import contextlib
import os

import pytest
from distributed import wait

import tasks
from differences import differs
from eventually import eventually


def test_who_has_and_has_what(cluster, client):
    addresses = cluster.addresses(client)
    futures = client.map(lambda i: i, range(4), workers=["bob"], key="q")
    wait(futures)
    keys = [future.key for future in futures]
    assert client.who_has() == {key: (addresses["bob"],) for key in keys}
    assert client.who_has(futures[:1]) == {keys[0]: (addresses["bob"],)}
    assert client.who_has([]) == {}
    assert client.has_what() == {addresses["alice"]: (), addresses["bob"]: tuple(keys)}
    assert client.has_what(workers=[addresses["alice"]]) == {addresses["alice"]: ()}


def test_who_has_of_an_unknown_key(client):
    assert client.sync(client.scheduler.who_has, keys=["nowhere"]) == {"nowhere": ()}


def test_processing(cluster, client, gate):
    addresses = cluster.addresses(client)
    future = client.submit(tasks.wait_for_file, gate, key="under-way", workers=["alice"])
    eventually(lambda: client.processing()[addresses["alice"]] == ("under-way",))
    assert client.processing()[addresses["bob"]] == ()
    assert client.processing(workers=[addresses["bob"]]) == {addresses["bob"]: ()}
    open(gate, "w").close()
    wait(future)
    eventually(lambda: client.processing()[addresses["alice"]] == ())


def test_nbytes(client):
    big = client.submit(bytes, 1_000_000, key=("payload", 1))
    wait(big)
    assert client.nbytes(summary=False) == {("payload", 1): 1_000_000}
    assert client.nbytes(summary=True) == {"payload": 1_000_000}
    assert client.nbytes([("payload", 1)], summary=False) == {("payload", 1): 1_000_000}


def test_call_stack(cluster, client, gate):
    future = client.submit(tasks.wait_for_file, gate, key="stacked")

    def stacks():
        """Empty until the task has reached its worker, which answers KeyError before."""
        with contextlib.suppress(KeyError):
            return found()

    def found():
        return [stack["stacked"] for stack in client.call_stack([future]).values() if "stacked" in stack]

    (stack,) = eventually(stacks)
    assert any("wait_for_file" in line for line in stack)
    assert client.call_stack(keys=["stacked"])
    everything = client.call_stack()
    assert any("stacked" in keys for keys in everything.values())
    open(gate, "w").close()


def test_call_stack_of_a_waiting_task_is_that_of_what_it_waits_for(client, gate):
    running = client.submit(tasks.wait_for_file, gate, key="waited-for")
    waiting = client.submit(tasks.increment, running, key="waits")

    def stacks():
        with contextlib.suppress(KeyError):
            return [stack for stack in client.call_stack([waiting]).values() if "waited-for" in stack]

    (stack,) = eventually(stacks)
    assert any("wait_for_file" in line for line in stack["waited-for"])
    assert "waits" not in stack


def test_failed_task_is_run_again_at_home(client):
    """By the specification of the task that is to blame, which the scheduler gives out."""
    cause = client.submit(tasks.fail, "at home too")
    dependent = client.submit(tasks.increment, cause)
    wait(dependent)
    with pytest.raises(ValueError, match="at home too"):
        client.recreate_error_locally(dependent)


def test_finished_task_is_run_again_at_home(client):
    inputs = client.map(tasks.increment, range(3))
    future = client.submit(lambda xs: (os.getpid(), sum(xs)), inputs)
    assert future.result()[0] != os.getpid()
    assert client.recreate_task_locally(future) == (os.getpid(), 6)


def test_task_status(client, gate):
    done = client.submit(tasks.increment, 1, key="done")
    failed = client.submit(tasks.fail, key="failed")
    running = client.submit(tasks.wait_for_file, gate, key="running")
    after = client.submit(tasks.increment, running, key="after")
    wait([done, failed])
    status = client.sync(client.scheduler.get_task_status, keys=["done", "failed", "running", "after", "none"])
    assert status == {"done": "memory", "failed": "erred", "running": "processing", "after": "waiting", "none": None}
    del after


def test_task_prefix_states(client, gate):
    futures = client.map(tasks.increment, range(5))
    wait(futures)
    failed = client.submit(tasks.fail)
    wait(failed)
    states = client.sync(client.scheduler.get_task_prefix_states)
    assert states["increment"] == {"memory": 5, "erred": 0, "released": 0, "processing": 0, "waiting": 0}
    assert states["fail"]["erred"] == 1


def test_story(client):
    future = client.submit(tasks.increment, 1, key="told")
    wait(future)
    on_scheduler = [event[1:4] for event in client.story("told") if event[0] == "scheduler"]
    assert on_scheduler == [
        ("told", "released", "waiting"),
        ("told", "waiting", "processing"),
        ("told", "processing", "memory"),
    ]
    assert client.story("never-heard-of") == []
    del future


@differs(worker="native", why="it keeps no log of the states a task went through")
def test_story_of_the_worker(client):
    future = client.submit(tasks.increment, 1, key="told by a worker")
    wait(future)
    assert [event for event in client.story("told by a worker") if event[0] != "scheduler"]


def test_metadata(client):
    client.set_metadata("plain", 1)
    assert client.get_metadata("plain") == 1
    client.set_metadata(["outer", "inner"], {"a": [1, 2]})
    assert client.get_metadata(["outer", "inner"]) == {"a": (1, 2)}
    assert set(client.get_metadata("outer")) == {"inner"}
    client.set_metadata(["outer", "other"], "ü")
    assert client.get_metadata(["outer", "other"]) == "ü"
    assert client.get_metadata(["outer", "none"], default=None) is None
    assert client.get_metadata("none", 5) == 5
    with pytest.raises(KeyError):
        client.get_metadata("none")
    with pytest.raises(KeyError):
        client.get_metadata(["outer", "none"])


def test_metadata_is_shared(cluster, client):
    with cluster.client(set_as_default=False) as other:
        client.set_metadata("shared", "yes")
        assert other.get_metadata("shared") == "yes"


def test_metadata_of_types_that_need_pickling(client):
    import numpy as np

    client.set_metadata("numpy", np.float64(1.5))
    assert client.get_metadata("numpy") == 1.5


def test_task_metadata(client):
    from distributed import get_task_metadata

    with get_task_metadata() as collected:
        future = client.submit(tasks.increment, 1, key="measured")
        future.result()
    assert collected.state == {"measured": "memory"}
    assert "measured" in collected.metadata


def test_tasks_count_in_heartbeats(cluster, client):
    """What a worker reports reaches the identity of the worker."""
    futures = client.map(tasks.increment, range(10), workers=["alice"])
    wait(futures)
    address = cluster.addresses(client)["alice"]

    def in_memory():
        metrics = client.scheduler_info(n_workers=-1)["workers"][address]["metrics"]
        return metrics["task_counts"].get("memory") == 10

    eventually(in_memory)


def test_ncores_of_running_workers(cluster, client):
    addresses = cluster.addresses(client)
    assert client.sync(client.scheduler.ncores_running) == {address: 2 for address in addresses.values()}


def test_echo(client):
    assert client.sync(client.scheduler.echo, data={"a": [1, None, "x"]}) == {"a": (1, None, "x")}


def test_versions_of_the_scheduler_over_rpc(client):
    versions = client.sync(client.scheduler.versions)
    assert set(versions) >= {"host", "packages"}


@differs("native", why="not there yet; see test_not_yet.py for what is said instead", runs=False)
def test_feed_goes_on_until_its_reader_leaves(client):
    from distributed.comm import connect
    from distributed.protocol.pickle import dumps

    async def read():
        comm = await connect(client.scheduler.address)
        functions = {"setup": begin_count, "function": count_up, "teardown": note_end}
        await comm.write({"op": "feed", "interval": "10ms", **{name: dumps(own) for name, own in functions.items()}})
        values = [await comm.read() for _ in range(3)]
        await comm.close()
        return values

    assert client.sync(read) == [(1, 2), (2, 2), (3, 2)]
    eventually(lambda: client.run_on_scheduler(lambda dask_scheduler: getattr(dask_scheduler, "counted", 0) >= 3))


def begin_count(scheduler):
    return [0]


def count_up(scheduler, count):
    count[0] += 1
    return [count[0], len(scheduler.workers)]


def note_end(scheduler, count):
    scheduler.counted = count[0]


def test_hardware_is_measured_by_the_workers(cluster, client):
    """The workers measure what they are told to here, so that means and pairs can be told from one another."""
    addresses = cluster.addresses(client)
    cluster.suspect = "its workers no longer measure anything"
    client.run(measure_as_told)
    measured = client.benchmark_hardware()
    network = measured.pop("network")
    assert measured == {"disk": {"1 kiB": 2.0, "only bob": 3.0}, "memory": {"2 kiB": 20.0}}
    # One of the two talks to the other.
    assert network in [
        {"1 MiB": 100.0, f"to {addresses['bob']}": 100.0},
        {"1 MiB": 300.0, f"to {addresses['alice']}": 300.0},
    ]


def measure_as_told(dask_worker):
    import distributed.worker as module

    speed = {"alice": 1.0, "bob": 3.0}[dask_worker.name]

    async def between(address, rpc):
        return {"1 MiB": 100 * speed, f"to {address}": 100 * speed}

    module.benchmark_disk = lambda directory: {"1 kiB": speed, **({"only bob": speed} if speed > 1 else {})}
    module.benchmark_memory = lambda: {"2 kiB": 10 * speed}
    module.benchmark_network = between


@differs("native", why="of the memory manager only what retires workers is there yet")
def test_amm_is_running(client):
    assert client.amm.running() is True
    client.amm.stop()
    assert client.amm.running() is False
    client.amm.run_once()
    client.amm.start()
    assert client.amm.running() is True


@differs("native", why="of the memory manager only what retires workers is there yet")
def test_extra_replicas_are_dropped_in_time(client):
    """The active memory manager runs every two seconds and leaves one copy of what nobody needs twice."""
    future = client.submit(bytes, 1000)
    client.amm.stop()
    client.replicate([future], n=2)
    assert len(client.who_has([future])[future.key]) == 2
    client.amm.start()
    eventually(lambda: len(client.who_has([future])[future.key]) == 1, timeout_s=10)
    assert len(future.result()) == 1000

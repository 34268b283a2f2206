"""What stock Dask has and the native scheduler has not yet: an error that names it, never silence.

Each row works in stock; there it is only shown not to be refused.
"""

from __future__ import annotations

import dask
import dask.dataframe as dd
import pandas as pd
import pytest
from distributed import Event, Lock, MultiLock, Queue, Semaphore, Variable
from distributed.core import rpc
from distributed.protocol import pickle

import tasks
import wire
from cluster import NANNIED
from differences import differs

CLUSTER = {"workers": NANNIED}


def use_lock(client):
    lock = Lock("lock")
    assert lock.acquire(timeout=2)
    lock.release()


def use_semaphore(client):
    semaphore = Semaphore(max_leases=1, name="semaphore")
    assert semaphore.acquire(timeout=2)
    semaphore.release()


def use_event(client):
    event = Event("event", client=client)
    event.set()
    assert event.is_set()


def use_multi_lock(client):
    with MultiLock(["a", "b"], client=client):
        pass


def use_variable(client):
    variable = Variable("variable", client=client)
    variable.set(3)
    assert variable.get(timeout=2) == 3


def use_queue(client):
    queue = Queue("queue", client=client)
    queue.put(3)
    assert queue.get(timeout=2) == 3


def use_publish(client):
    client.publish_dataset(5, name="name")
    assert client.get_dataset("name") == 5
    client.unpublish_dataset("name")


def use_list_datasets(client):
    client.list_datasets()


def use_profile(client):
    assert "children" in client.profile()


def use_task_stream(client):
    client.submit(tasks.increment, 1).result()
    client.get_task_stream()


def use_dump(client):
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        client.dump_cluster_state(f"{directory}/dump")


def count_workers(scheduler):
    return len(scheduler.workers)


def use_feed(client):
    async def read_once():
        # Not the client's connections: this one is fed for as long as it is open.
        async with rpc(client.scheduler.address) as scheduler:
            return await scheduler.feed(function=pickle.dumps(count_workers), interval="10ms")

    assert client.sync(read_once) == 2


NOT_YET = {
    "amm_handler: run_once": lambda client: client.amm.run_once(),
    "amm_handler: start": lambda client: client.amm.start(),
    "event_set": use_event,
    "feed": use_feed,
    "get_cluster_state": use_dump,
    "get_task_stream": use_task_stream,
    "multi_lock_acquire": use_multi_lock,
    "profile": use_profile,
    "publish_list": use_list_datasets,
    "publish_put": use_publish,
    "queue_create": use_queue,
    "semaphore_register": use_semaphore,
    "variable_set": use_variable,
}


@pytest.mark.parametrize("name", NOT_YET)
@differs("stock", why="it has the feature")
def test_missing_operation_is_named(client, name):
    with pytest.raises(Exception) as info:
        NOT_YET[name](client)
    assert name in str(info.value)
    # What to do instead, in a job and in Python.
    assert "`engine: dask`" in str(info.value) and "distributed.LocalCluster" in str(info.value)
    assert client.submit(tasks.increment, 1, pure=False).result() == 2


@pytest.mark.parametrize("name", NOT_YET)
@differs("native", why="not there yet; see the test above for what is said instead")
def test_operation_works(client, name):
    NOT_YET[name](client)


@differs("stock", why="it has the feature")
def test_lock_is_named(client):
    with pytest.raises(Exception, match="semaphore_register"):
        use_lock(client)


def shuffle(client):
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        frame = dd.from_pandas(pd.DataFrame({"x": range(40), "y": range(40)}), npartitions=4)
        return len(client.compute(frame.shuffle("x")).result(timeout=25))


@differs("stock", why="it has P2P")
def test_p2p_names_the_setting_that_avoids_it(client):
    with pytest.raises(Exception) as info:
        shuffle(client)
    assert "dataframe.shuffle.method" in str(info.value)
    assert client.submit(tasks.increment, 1, pure=False).result() == 2


@differs("native", why="P2P is not there yet")
def test_p2p_works(client):
    assert shuffle(client) == 40


@differs("stock", why="it has P2P")
def test_p2p_rechunk_names_the_setting_that_avoids_it(client):
    import dask.array as da

    with dask.config.set({"array.rechunk.method": "p2p"}):
        array = da.ones((20, 20), chunks=(20, 1)).rechunk((1, 20))
        with pytest.raises(Exception) as info:
            client.compute(array).result(timeout=25)
    assert "array.rechunk.method" in str(info.value)


# Keep the connection for themselves, wait, or end what they are asked of.
NOT_ASKED = {
    *("connection_stream", "feed", "register-client", "register-worker", "register_nanny", "restart"),
    *("subscribe_worker_status", "terminate", "event_wait", "queue_get", "variable_get", "benchmark_hardware"),
}
# Answer null when nothing is asked of them.
QUIET = {
    *("add_keys", "amm_handler", "check_idle", "echo", "get_error_cause", "log_event", "set_metadata"),
}


def stock_operations():
    import asyncio

    from distributed import Scheduler

    async def handlers():
        async with Scheduler(port=0, host="127.0.0.1", dashboard=False) as scheduler:
            return sorted(scheduler.handlers)

    return asyncio.run(handlers())


@pytest.mark.limit(60)
@differs("stock", why="some of its operations answer null when nothing is asked of them")
def test_every_operation_of_stock_is_served_or_refused_by_name(cluster):
    """Unknown operations answer null, so that null tells a forgotten one."""
    silent = []
    for operation in stock_operations():
        if operation in NOT_ASKED | QUIET:
            continue
        with wire.connect_and_greet(cluster.host_and_port, timeout_s=8) as connection:
            if wire.call(connection, op=operation, reply=True) is None:
                silent.append(operation)
    assert silent == []

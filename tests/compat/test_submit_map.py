"""submit and map: values, purity, priorities, batches, empty input."""

from __future__ import annotations

import operator
import time

import pytest
from distributed import Future, wait

import tasks
from eventually import eventually


def test_submit_returns_the_value(client):
    assert client.submit(tasks.increment, 10).result() == 11


def test_submit_of_a_local_function(client):
    offset = 5

    def shift(x):
        return x + offset

    assert client.submit(shift, 1).result() == 6


def test_submit_with_keywords(client):
    assert client.submit(tasks.add, x=1, y=2).result() == 3


def test_submit_of_a_named_key(client):
    future = client.submit(tasks.increment, 1, key="chosen")
    assert future.key == "chosen"
    assert future.result() == 2


def test_futures_as_arguments(client):
    a = client.submit(tasks.increment, 1)
    b = client.submit(tasks.add, a, y=a)
    c = client.submit(tasks.total, [a, b, 10])
    d = client.submit(lambda d: d["x"] + 1, {"x": c})
    assert [b.result(), c.result(), d.result()] == [4, 16, 17]


def test_long_chain(client):
    future = client.submit(tasks.increment, 0)
    for _ in range(200):
        future = client.submit(tasks.increment, future)
    assert future.result() == 201


def test_status_and_type(client):
    future = client.submit(dict, a=1)
    assert future.result() == {"a": 1}
    assert future.status == "finished"
    assert future.done()
    assert future.type is dict
    assert future.exception() is None
    assert future.traceback() is None
    assert not future.cancelled()


def test_result_timeout(client):
    future = client.submit(time.sleep, 5)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.2)
    future.cancel()


def test_pure_calls_share_a_key_and_impure_do_not(client):
    assert client.submit(tasks.add, 1, 2).key == client.submit(tasks.add, 1, 2).key
    one, two = (client.submit(tasks.add, 1, 2, pure=False) for _ in range(2))
    assert one.key != two.key
    assert one.result() == two.result() == 3


def test_pure_result_is_reused(client, tmp_path):
    path = str(tmp_path / "calls")
    first = client.submit(tasks.fail_until, path, 0)
    assert first.result() == 1
    assert client.submit(tasks.fail_until, path, 0).result() == 1
    del first


def test_map_of_several_iterables(client):
    futures = client.map(operator.add, range(10), range(10, 20))
    assert client.gather(futures) == [10 + 2 * i for i in range(10)]


def test_map_with_constant_keyword(client):
    assert client.gather(client.map(tasks.add, range(3), y=10)) == [10, 11, 12]


def test_map_over_futures(client):
    first = client.map(tasks.increment, range(5))
    assert client.gather(client.map(tasks.increment, first)) == [2, 3, 4, 5, 6]


def test_map_of_named_keys(client):
    futures = client.map(tasks.increment, range(3), key=["p", "q", "r"])
    assert [future.key for future in futures] == ["p", "q", "r"]
    assert client.gather(futures) == [1, 2, 3]
    prefixed = client.map(tasks.increment, range(3), key="prefix")
    assert all(future.key.startswith("prefix-") for future in prefixed)


def test_map_in_batches(client):
    futures = client.map(tasks.increment, range(250), batch_size=50)
    assert len(futures) == 250
    assert client.gather(futures) == list(range(1, 251))


def test_map_of_nothing(client):
    assert client.map(tasks.increment, []) == []


def test_map_impure_runs_every_time(client):
    futures = client.map(tasks.increment, [1, 1, 1], pure=False)
    assert len({future.key for future in futures}) == 3
    assert client.gather(futures) == [2, 2, 2]


def test_map_with_equal_arguments_shares_keys(client):
    futures = client.map(tasks.increment, [1, 1, 1])
    assert len({future.key for future in futures}) == 1
    assert client.gather(futures) == [2, 2, 2]


def test_map_of_two_thousand(client):
    futures = client.map(tasks.increment, range(2000))
    assert client.submit(tasks.total, futures).result() == sum(range(1, 2001))


def test_done_callback(client):
    called = []
    future = client.submit(tasks.increment, 1)
    future.add_done_callback(lambda done: called.append(done.key))
    wait(future)
    deadline = time.monotonic() + 5
    while not called and time.monotonic() < deadline:
        time.sleep(0.01)
    assert called == [future.key]


def test_executor_interface(client):
    with client.get_executor() as executor:
        assert executor.submit(pow, 2, 5).result() == 32
        assert list(executor.map(tasks.increment, range(4))) == [1, 2, 3, 4]


def test_coroutine_function_is_a_task(client):
    async def later(x):
        import asyncio

        await asyncio.sleep(0.01)
        return x * 2

    assert client.submit(later, 21).result() == 42


def test_large_arguments(client):
    data = b"x" * 3_000_000
    future = client.submit(len, data)
    assert future.result() == 3_000_000


def test_future_made_from_a_key(client):
    original = client.submit(tasks.increment, 41, key="by-key")
    original.result()
    assert Future("by-key", client=client).result() == 42


def test_higher_priority_runs_first(client, gate):
    # Every thread is busy until all the others are there, so that the order is the scheduler's to choose. Each worker
    # may already have been handed one task beyond its threads, and a thread that found no high one left goes on to a low one
    # while others still begin theirs.
    blockers = client.map(tasks.wait_for_file, [gate] * 4, pure=False)

    def started(_):
        now = time.time()
        time.sleep(0.01)
        return now

    low = client.map(started, range(20), priority=-10, key="low")
    high = client.map(started, range(20), priority=10, key="high")
    eventually(lambda: None not in client.sync(client.scheduler.get_task_status, keys=[high[-1].key]).values())
    open(gate, "w").close()
    last_high = max(client.gather(high))
    assert sum(start < last_high for start in client.gather(low)) <= 8
    client.gather(blockers)

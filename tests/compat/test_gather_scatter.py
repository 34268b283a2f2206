"""Bringing data to the caller and to the workers."""

from __future__ import annotations

import os

import numpy as np
import pytest
from distributed import Future

import tasks
from differences import differs
from eventually import eventually

# Which would take away copies while they are counted.
CLUSTER = {"env": {"DASK_DISTRIBUTED__SCHEDULER__ACTIVE_MEMORY_MANAGER__START": "False"}}


@pytest.mark.parametrize("direct", [True, False, None])
def test_gather_keeps_the_shape(client, direct):
    futures = client.map(tasks.increment, range(4))
    nested = {"list": futures[:2], "tuple": (futures[2], [futures[3]]), "plain": "text"}
    gathered = client.gather(nested, direct=direct)
    assert gathered == {"list": [1, 2], "tuple": (3, [4]), "plain": "text"}


def test_gather_of_nothing(client):
    assert client.gather([]) == []
    assert client.gather({}) == {}


def test_gather_of_one_future(client):
    assert client.gather(client.submit(tasks.increment, 1)) == 2


def test_gather_raises_what_the_task_raised(client):
    futures = [client.submit(tasks.increment, 1), client.submit(tasks.fail, "gathered")]
    with pytest.raises(ValueError, match="gathered"):
        client.gather(futures)


def test_gather_skips_errors_when_asked(client):
    futures = [client.submit(tasks.increment, 1), client.submit(tasks.fail), client.submit(tasks.increment, 2)]
    assert client.gather(futures, errors="skip") == [2, 3]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("hash", [True, False])
def test_scatter_of_a_list(client, direct, hash):
    # Of its own in each case: what clients put on workers themselves may be dropped by orders about its last copy.
    values = [1, f"two {direct} {hash}", {"direct": direct, "hash": hash}]
    values[0] += 2 * direct + hash
    futures = client.scatter(values, direct=direct, hash=hash)
    assert all(isinstance(future, Future) for future in futures)
    assert client.gather(futures) == values
    assert [future.status for future in futures] == ["finished"] * 3


@pytest.mark.parametrize("direct", [True, False])
def test_scatter_of_a_dict_names_the_keys(client, direct):
    first, second = f"first-{direct}", (f"second-{direct}", 2)
    futures = client.scatter({first: 10, second: 20}, direct=direct)
    assert futures[first].key == first
    assert futures[second].key == second
    assert client.gather(futures) == {first: 10, second: 20}


def test_scatter_of_one_object(client):
    assert client.scatter("one thing").result() == "one thing"


def test_scatter_of_other_collections(client):
    assert client.gather(client.scatter((1, 2))) == (1, 2)
    assert client.gather(client.scatter({3})) == {3}


def test_scatter_hash_decides_about_sharing(client):
    assert client.scatter(5).key == client.scatter(5).key
    assert client.scatter(5, hash=False).key != client.scatter(5, hash=False).key


@pytest.mark.parametrize("direct", [True, False])
def test_scatter_to_a_worker(cluster, client, direct):
    bob = cluster.addresses(client)["bob"]
    future = client.scatter(f"for bob {direct}", workers=[bob], direct=direct)
    assert client.who_has([future]) == {future.key: (bob,)}
    assert client.submit(tasks.here, workers=[bob]).result() == bob


def test_scatter_to_a_worker_by_name(cluster, client):
    future = client.scatter("for alice", workers=["alice"], direct=False)
    assert client.who_has([future])[future.key] == (cluster.addresses(client)["alice"],)


@pytest.mark.parametrize("direct", [True, False])
def test_scatter_broadcast_reaches_every_worker(cluster, client, direct):
    future = client.scatter({f"everywhere-{direct}": list(range(100))}, broadcast=True, direct=direct)[f"everywhere-{direct}"]
    assert sorted(client.who_has([future])[future.key]) == sorted(cluster.addresses(client).values())
    assert future.result() == list(range(100))


def test_scatter_broadcast_to_a_number_of_workers(client):
    one, all_of_them = (client.scatter({f"to-{n}": n}, broadcast=n, direct=False)[f"to-{n}"] for n in (1, 2))
    assert len(client.who_has([one])["to-1"]) == 1
    assert len(client.who_has([all_of_them])["to-2"]) == 2
    assert client.gather([one, all_of_them]) == [1, 2]


ROUNDS = 60


def keep_the_interpreter_busy(gate):
    while not os.path.exists(gate):
        sum(range(10_000))


@differs("stock", why="a worker's late word that it dropped a value costs the next one of that name", runs=False)
def test_scatter_of_what_was_just_let_go(client, gate):
    """The same keys again and again, on workers that are slow to answer: nothing is lost, whichever overtakes which."""
    busy = [client.submit(keep_the_interpreter_busy, gate, workers=[name], pure=False) for name in ["alice", "bob"]]
    for number in range(ROUNDS):
        futures = client.scatter({f"again-{at}": (number, at) for at in range(3)}, direct=False)
        assert client.gather(list(futures.values())) == [(number, at) for at in range(3)]
        for future in futures.values():
            future.release()
        # Until the scheduler has heard of it: what it knows then says nothing about the workers.
        keys = list(futures)
        eventually(lambda: not any(client.sync(client.scheduler.who_has, keys=keys).values()), pause_s=0)
    assert [future.status for future in busy] == ["pending", "pending"]


def test_scattered_data_feed_tasks(client):
    data = client.scatter(list(range(1000)))
    futures = client.map(lambda i, xs: xs[i], range(10), xs=data)
    assert client.gather(futures) == list(range(10))


def test_numpy_arrays_travel_whole(client):
    array = np.arange(500_000, dtype="f8").reshape(500, 1000)
    future = client.scatter(array)
    np.testing.assert_array_equal(future.result(), array)
    doubled = client.submit(lambda a: a * 2, future)
    for direct in [True, False]:
        np.testing.assert_array_equal(client.gather(doubled, direct=direct), array * 2)


def test_gathered_array_is_writeable_as_in_stock(client):
    array = client.submit(np.zeros, 100_000).result()
    array[0] = 1
    assert array[0] == 1


def test_unicode_survives(client):
    text = "Grüße, 世界 🌍 \u0000 \ud83d".encode("utf-8", "surrogatepass").decode("utf-8", "ignore") + "ñandú"
    assert client.submit(lambda x: x + "é", text, key="schlüssel-世界-🌍").result() == text + "é"
    assert client.scatter({"ключ": text})["ключ"].result() == text


@pytest.mark.parametrize("value", [b"", "", [], {}, (), None, 0, float("inf"), b"\x00" * 10, set(), 10**40])
def test_edge_values_round_trip(client, value):
    assert client.submit(lambda x: x, value, pure=False).result() == value
    assert client.gather(client.scatter([value], hash=False)) == [value]


def test_gather_of_many_small_results(client):
    futures = client.map(lambda i: "v" * i, range(500))
    assert [len(value) for value in client.gather(futures)] == list(range(500))


def test_zero_length_array(client):
    result = client.submit(np.empty, (0, 3)).result()
    assert result.shape == (0, 3)

"""What a client says after a graph takes effect after it, however long the graph takes to open.

Every test sends a graph that takes a while to open, then something that would do harm if it overtook that graph.
"""

from __future__ import annotations

import pytest
from distributed import CancelledError, Future, fire_and_forget, wait

import tasks
from eventually import eventually
from hostile import Hostile, take

A_WHILE_S = 0.4


def slow_to_open():
    return Hostile(take, A_WHILE_S)


def second(_, value):
    return value


def known_keys(client):
    return set(client.who_has())


def pass_the_graph(client):
    """Returns when everything this client has said before has taken effect."""
    assert client.submit(tasks.increment, 1, pure=False).result() == 2


def test_release_follows_the_graph(client):
    """Overtaking, it would release what is not there yet, and the result would be kept for ever."""
    future = client.submit(second, slow_to_open(), "unwanted", key="released-behind-its-graph")
    future.release()
    pass_the_graph(client)
    eventually(lambda: "released-behind-its-graph" not in known_keys(client))


def test_cancel_follows_the_graph(client):
    future = client.submit(second, slow_to_open(), "unwanted", key="cancelled-behind-its-graph")
    future.cancel()
    with pytest.raises(CancelledError):
        future.result(timeout=5)
    pass_the_graph(client)
    eventually(lambda: "cancelled-behind-its-graph" not in known_keys(client))


def test_forced_cancel_follows_the_graph(cluster, client):
    """Another client wants the key too: only a cancel that finds the task there reaches it."""
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(second, slow_to_open(), 1, key="cancelled-for-all", workers=["nobody"])
        client.cancel(mine, force=True)
        pass_the_graph(client)
        status = client.sync(client.scheduler.get_task_status, keys=["cancelled-for-all"])
        assert status == {"cancelled-for-all": None}
        theirs = other.submit(second, None, 2, key="cancelled-for-all")
        assert theirs.result() == 2


def test_inputs_are_released_behind_the_graph_that_uses_them(client):
    """Overtaking, the release would lose scattered data, which nobody can compute again."""
    data = client.scatter("scattered", hash=False)
    future = client.submit(second, slow_to_open(), data)
    data.release()
    assert future.result(timeout=20) == "scattered"


def test_result_is_wanted_again_behind_the_graph(client):
    """A second future of the key, and the release of the first: the result stays."""
    first = client.submit(second, slow_to_open(), "kept", key="wanted-twice")
    again = Future("wanted-twice", client=client)
    first.release()
    pass_the_graph(client)
    assert again.result(timeout=10) == "kept"
    assert known_keys(client) >= {"wanted-twice"}


def test_graph_that_needs_a_slow_one_follows_it(client):
    slow = client.submit(second, slow_to_open(), 1)
    futures = client.map(tasks.add, range(10), y=slow)
    data = client.scatter(100)
    total = client.submit(tasks.total, [*futures, data])
    assert total.result(timeout=20) == sum(range(10)) + 10 + 100


def test_farewell_follows_the_graph(cluster, tmp_path):
    """A client that asks for something, does not wait for it and leaves at once: it is done all the same."""
    path = tmp_path / "ran"
    with cluster.client(set_as_default=False) as client:
        fire_and_forget(client.submit(lambda _, p: open(p, "w").close(), slow_to_open(), str(path)))
    eventually(path.exists)


def test_death_follows_the_graph(cluster, client):
    """What a client that left at once has asked for is forgotten, not kept for nobody."""
    with cluster.client(set_as_default=False) as other:
        other.submit(second, slow_to_open(), 1, key="asked-for-by-the-dead")
    eventually(lambda: cluster.http("/json/counts.json").json()["clients"] == 2)
    wait(client.submit(tasks.increment, 1))
    eventually(lambda: "asked-for-by-the-dead" not in known_keys(client))


def test_slow_graphs_take_effect_in_their_order(client, tmp_path):
    """One worker may run them, one at a time: the first to take effect runs first, the slow one where both do at once."""
    order = tmp_path / "order"

    def note(_, name):
        with open(order, "a") as file:
            file.write(f"{name} ")

    slow = client.submit(note, slow_to_open(), "slow", resources={"GPU": 2})
    quick = client.submit(note, None, "quick", resources={"GPU": 2}, priority=-1)
    wait([slow, quick])
    assert order.read_text().split() == ["slow", "quick"]

"""Keys of every type, as users see them in replies."""

from __future__ import annotations

import pytest
from distributed import Future

import tasks
from eventually import eventually

KEYS = ["text", "schlüssel-世", ("x", 1), ("x", 1.5, ("nested", "y")), 7, 2.5, -3, 2**40, ("", 0)]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_submit_with_key(client, key):
    future = client.submit(tasks.increment, 1, key=key)
    assert future.key == key
    assert type(future.key) is type(key)
    assert future.result() == 2
    assert client.gather([future], direct=False) == [2]
    assert set(client.who_has([future])) == {key}
    assert len(client.who_has([future])[key]) == 1
    assert client.nbytes([key], summary=False) == {key: 28}
    future.release()
    eventually(lambda: key not in client.who_has())


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_graph_with_key(client, key):
    graph = {key: (tasks.increment, 1), "next": (tasks.increment, key)}
    assert client.get(graph, "next") == 3
    assert client.get(graph, [key, "next"]) == [2, 3]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_scatter_with_key(client, key):
    futures = client.scatter({key: "value"}, direct=False)
    assert client.gather(futures) == {key: "value"}
    assert key in {key for keys in client.has_what().values() for key in keys}


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_error_with_key(client, key):
    future = client.submit(tasks.fail, key=key)
    assert isinstance(future.exception(), ValueError)


def test_equal_numbers_are_one_key(client):
    one = client.submit(tasks.increment, 1, key=5)
    assert one.result() == 2
    assert Future(5.0, client=client).result(timeout=5) == 2


def test_keys_that_look_alike_are_different(client):
    futures = [client.submit(tasks.increment, i, key=key) for i, key in enumerate(["1", 1, ("1",), (1,)])]
    assert client.gather(futures) == [1, 2, 3, 4]


def test_bytes_are_refused_by_the_client(client):
    with pytest.raises(TypeError):
        client.submit(tasks.increment, 1, key=b"bytes").result()


def test_nested_keys_in_a_graph(client):
    graph = {("a", 0): 1, ("a", 1): (tasks.increment, ("a", 0)), ("b", ("a", 1)): (tasks.add, ("a", 0), ("a", 1))}
    assert client.get(graph, [("a", 1), [("b", ("a", 1))]]) == [2, [3]]


def test_very_long_key(client):
    key = "k" * 20_000
    assert client.submit(tasks.increment, 1, key=key).result() == 2

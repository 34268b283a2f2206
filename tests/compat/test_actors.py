"""Objects that live on one worker and answer calls."""

from __future__ import annotations

import pytest

import tasks


class Counter:
    """Counts on its worker."""

    n = 0

    def __init__(self):
        self.n = 0

    def increment(self):
        self.n += 1
        return self.n

    def fail(self):
        raise ValueError("in the actor")

    def where(self):
        return tasks.here()


def test_actor_keeps_its_state(client):
    counter = client.submit(Counter, actor=True).result()
    assert [counter.increment().result() for _ in range(3)] == [1, 2, 3]
    assert counter.n == 3


def test_actor_raises_what_its_method_raised(client):
    counter = client.submit(Counter, actor=True, pure=False).result()
    with pytest.raises(ValueError, match="in the actor"):
        counter.fail().result()
    assert counter.increment().result() == 1


def test_actor_lives_where_it_was_asked_to(cluster, client):
    counter = client.submit(Counter, actor=True, workers=["bob"], pure=False).result()
    assert counter.where().result() == cluster.addresses(client)["bob"]


def test_actor_in_tasks(client):
    counter = client.submit(Counter, actor=True, pure=False)

    def use(counter, i):
        return counter.increment().result()

    assert sorted(client.gather([client.submit(use, counter, i) for i in range(6)])) == [1, 2, 3, 4, 5, 6]


def test_many_actors(client):
    counters = client.gather([client.submit(Counter, actor=True, pure=False) for _ in range(5)])
    assert [counter.increment().result() for counter in counters] == [1] * 5

"""Events, topics, and what workers print or warn."""

from __future__ import annotations

import time
import warnings

import pytest
from distributed import get_worker
from distributed import print as distributed_print
from distributed import warn as distributed_warn

import tasks
from eventually import eventually


def subscribe(client, topic, handler):
    """Subscribes and gives the message, which travels on the client's stream with its own timer, time to arrive."""
    client.subscribe_topic(topic, handler)
    time.sleep(0.2)


def test_logged_events_are_kept(client):
    client.log_event("a topic", {"x": 1})
    client.log_event("a topic", "second")
    events = client.get_events("a topic")
    assert [event for _, event in events] == [{"x": 1}, "second"]
    assert all(abs(when - time.time()) < 60 for when, _ in events)
    assert "a topic" in client.get_events()


def test_event_of_several_topics(client):
    client.log_event(["one", "two"], "both")
    assert client.get_events("one")[-1][1] == "both"
    assert client.get_events("two")[-1][1] == "both"


def test_events_of_an_unknown_topic(client):
    assert client.get_events("never used") == ()


def test_workers_log_events(cluster, client):
    def log():
        worker = get_worker()
        worker.log_event("from-worker", {"n": 1})
        return worker.address

    address = client.submit(log, pure=False).result()
    (event,) = eventually(lambda: client.get_events("from-worker"))
    assert event[1] == {"n": 1, "worker": address}


def test_subscribers_hear_of_events(client):
    heard = []
    subscribe(client, "heard", heard.append)
    client.log_event("heard", "first")
    eventually(lambda: [event for _, event in heard] == ["first"])
    client.unsubscribe_topic("heard")
    time.sleep(0.2)
    client.log_event("heard", "second")
    client.log_event("other", "third")
    time.sleep(0.2)
    assert [event for _, event in heard] == ["first"]


def test_subscription_tells_what_was_before(cluster, client):
    client.log_event("earlier", "before")
    heard = []
    subscribe(client, "earlier", heard.append)
    client.log_event("earlier", "after")
    eventually(lambda: any(event == "after" for _, event in heard))


def test_unsubscribing_what_was_not_subscribed_is_an_error(client):
    with pytest.raises(ValueError):
        client.unsubscribe_topic("not subscribed")


def test_every_subscriber_hears(cluster, client):
    heard = {"one": [], "two": []}
    with cluster.client(set_as_default=False) as other:
        subscribe(client, "many", heard["one"].append)
        subscribe(other, "many", heard["two"].append)
        client.log_event("many", 5)
        eventually(lambda: heard["one"] and heard["two"])
        assert heard["one"][0][1] == heard["two"][0][1] == 5


def test_print_reaches_the_client(client, capsys):
    client.submit(lambda: distributed_print("hello", "from", "a worker", sep="-"), pure=False).result()
    out = []

    def printed():
        out.append(capsys.readouterr().out)
        return "hello-from-a worker\n" in "".join(out)

    eventually(printed)


def test_warnings_reach_the_client(client):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client.submit(lambda: distributed_warn("careful", UserWarning), pure=False).result()
        eventually(lambda: any("careful" in str(warning.message) for warning in caught))


def test_logging_is_forwarded(client, caplog):
    def log():
        import logging

        logging.getLogger("compat.forwarded").warning("logged on a worker")

    client.forward_logging("compat.forwarded", level="WARNING")
    client.submit(log, pure=False).result()
    eventually(lambda: "logged on a worker" in caplog.text)
    client.unforward_logging("compat.forwarded")


def test_joining_and_leaving_workers_are_events(client):
    events = client.get_events("all")
    actions = {event.get("action") for _, event in events if isinstance(event, dict)}
    assert "add-worker" in actions


def test_error_of_a_handler_does_not_harm(client):
    def handler(event):
        raise RuntimeError("handler")

    subscribe(client, "broken-handler", handler)
    client.log_event("broken-handler", 1)
    assert client.submit(tasks.increment, 1).result() == 2

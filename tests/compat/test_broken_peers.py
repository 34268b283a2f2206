"""Peers that break the protocol: they lose their connection, nobody else loses anything, memory stays bounded."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time

import msgpack
import pytest

import tasks
import wire
from differences import differs
from eventually import eventually

MEMORY_ALLOWANCE = 150 * 2**20


@pytest.fixture(scope="module")
def before(module_cluster):
    """A client that is there before everything, holds a result, and outlives all that is done to its scheduler."""
    with module_cluster.client(set_as_default=False) as before:
        before.held = before.submit(tasks.increment, 1)
        assert before.held.result() == 2
        yield before


@pytest.fixture(autouse=True)
def others_are_unharmed(module_cluster, before):
    """Around every test: the client that was there before works, a new one too, and memory has not grown."""
    starts, resident = module_cluster.starts, module_cluster.scheduler.resident_bytes()
    yield
    assert module_cluster.scheduler.alive()
    assert module_cluster.starts == starts == 1
    assert before.submit(tasks.increment, before.held, pure=False).result(timeout=10) == 3
    with module_cluster.client(set_as_default=False) as after:
        assert after.submit(tasks.increment, 5, pure=False).result(timeout=10) == 6
    assert module_cluster.scheduler.resident_bytes() - resident < MEMORY_ALLOWANCE
    assert len(before.nthreads()) == 2


def closed(connection, timeout_s=10.0):
    """Whether the peer ends the connection in time, whatever it says before."""
    connection.settimeout(timeout_s)
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: scheduler\r\n\r\n" * 3,
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "random": os.urandom(4096),
    "tls hello": bytes.fromhex("16030100c8010000c40303") + os.urandom(200),
    "not msgpack": struct.pack("<QQQ", 16 + 4, 1, 4) + b"\xc1\xc1\xc1\xc1",
    "length of the first frame is short": struct.pack("<QQQ", 16 + 4, 1, 2) + b"\x80\x80\x80\x80",
    "message is a number": wire.frames_of(5),
    "message is an array": wire.frames_of([1, 2]),
    "handshake without its fields": wire.frames_of({}),
    "handshake of wrong types": wire.frames_of({"compression": 5, "python": "x", "pickle-protocol": [1]}),
    "deep nesting": struct.pack("<QQQ", 16 + 100_000, 1, 100_000) + b"\x91" * 100_000,
    "no frames": struct.pack("<QQ", 8, 0),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_instead_of_a_handshake(cluster, name):
    with wire.connect(cluster.host_and_port) as connection:
        # It may have hung up before all is said.
        with contextlib.suppress(OSError):
            connection.sendall(GARBAGE[name])
            connection.shutdown(socket.SHUT_WR)
        assert closed(connection)


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_after_the_handshake(cluster, name):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        # It may have hung up before all is said.
        with contextlib.suppress(OSError):
            connection.sendall(GARBAGE[name])
            connection.shutdown(socket.SHUT_WR)
        assert closed(connection)


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.parametrize("length", [2**33, 2**40, 2**62, 2**64 - 1])
def test_oversized_lengths(cluster, greeted, length):
    """A length is a claim; only what arrives may cost memory."""
    preludes = [
        struct.pack("<Q", length),
        struct.pack("<QQ", 8, length),
        struct.pack("<QQQ", 16, 1, length),
        struct.pack("<QQQQ", 32, 2, 1, length) + b"\x80",
    ]
    connect = wire.connect_and_greet if greeted else wire.connect
    connections = []
    try:
        for prelude in preludes:
            connection = connect(cluster.host_and_port)
            connections.append(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(prelude + b"x" * 1000)
        time.sleep(0.2)
    finally:
        for connection in connections:
            connection.close()


def test_handshake_that_never_ends(cluster):
    """Many peers that send one byte now and then."""
    connections = [wire.connect(cluster.host_and_port) for _ in range(50)]
    try:
        for byte in wire.frames_of(wire.HANDSHAKE)[:5]:
            for connection in connections:
                with contextlib.suppress(ConnectionError):
                    connection.send(bytes([byte]))
            time.sleep(0.05)
        with cluster.client(set_as_default=False) as client:
            assert client.submit(tasks.increment, 1, pure=False).result() == 2
    finally:
        for connection in connections:
            connection.close()


@differs("stock", why="it takes as much of a handshake as comes")
def test_large_handshake_is_refused(cluster):
    with wire.connect(cluster.host_and_port) as connection:
        size = 64 * 2**20
        connection.sendall(struct.pack("<QQQ", 16 + size, 1, size))
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < size:
                sent += connection.send(bytes(65536))
                time.sleep(0.001)


def test_connection_closed_in_the_middle_of_a_message(cluster):
    message = wire.frames_of({"op": "identity"})
    for cut in (3, 12, 20, len(message) - 1):
        with wire.connect_and_greet(cluster.host_and_port) as connection:
            connection.sendall(message[:cut])


def test_message_in_single_bytes(cluster):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in wire.frames_of({"op": "echo", "data": "slow"}):
            connection.send(bytes([byte]))
        assert wire.read_message(connection) == "slow"


def test_several_messages_in_one_write(cluster):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        connection.sendall(b"".join(wire.frames_of({"op": "echo", "data": i}) for i in range(50)))
        assert [wire.read_message(connection) for _ in range(50)] == list(range(50))


def test_unknown_operation_answers_null_and_keeps_the_connection(cluster):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        assert wire.call(connection, op="no-such-operation", x=1) is None
        assert wire.call(connection, op="echo", data=1) == 1


def test_message_without_an_operation(cluster):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        connection.sendall(wire.frames_of({"reply": True}))
        with contextlib.suppress(EOFError, ConnectionError):
            reply = wire.read_message(connection)
            assert reply is None or reply["status"] in ("error", "uncaught-error")


WRONG_TYPES = [
    {"op": "who_has", "keys": 5},
    {"op": "ncores", "workers": {"a": 1}},
    {"op": "gather", "keys": "text"},
    {"op": "gather"},
    {"op": "scatter", "data": [1], "workers": 5, "client": 3},
    {"op": "get_task_status", "keys": None},
    {"op": "retire_workers", "workers": 5},
    {"op": "heartbeat_worker", "address": 5, "metrics": "none", "now": "late"},
    {"op": "register_nanny", "address": 5},
    {"op": "set_metadata", "keys": 5, "value": 1},
    {"op": "events", "topic": [1, 2]},
    {"op": "broadcast", "msg": 5},
    {"op": "replicate", "keys": 1},
    {"op": "update_data", "who_has": 1, "nbytes": 2, "client": 3},
    {"op": 5},
    {"op": None},
    {"op": ["identity"]},
    {"op": "adaptive_target", "target_duration": "nonsense"},
    {"op": "workers_to_close", "n": "many"},
]


@pytest.mark.parametrize("message", WRONG_TYPES, ids=lambda message: f"{message['op']}")
def test_wrong_types_are_answered_or_end_the_connection(cluster, message):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        connection.sendall(wire.frames_of({**message, "reply": True}))
        with contextlib.suppress(EOFError, ConnectionError):
            wire.read_message(connection)


def register_client(cluster, name):
    connection = wire.connect_and_greet(cluster.host_and_port)
    connection.sendall(wire.frames_of({"op": "register-client", "client": name, "versions": {}, "reply": False}))
    (start,) = wire.read_message(connection)
    assert start["op"] == "stream-start"
    return connection


BAD_STREAM = [
    [5],
    ["text", None],
    [{"no": "op"}],
    [{"op": "unknown-stream-op"}],
    [{"op": "client-releases-keys", "keys": 5}],
    [{"op": "client-desires-keys"}],
    [{"op": "update-graph"}],
    [{"op": "update-graph", "expr_ser": 5, "keys": "x"}],
    [{"op": "cancel-keys", "keys": {"a": 1}}],
    [{"op": "heartbeat-client", "extra": 1}],
    {"op": "close-client", "extra": [1]},
]


@pytest.mark.parametrize("batch", BAD_STREAM, ids=repr)
def test_bad_messages_on_a_client_stream(cluster, batch):
    with register_client(cluster, "broken-client") as connection:
        connection.sendall(wire.frames_of(batch))
        time.sleep(0.1)
    # Whoever is left: the scheduler's own "fire-and-forget" and the client of the fixture.
    eventually(lambda: cluster.http("/json/counts.json").json()["clients"] == 2)


def register_worker(cluster, **changes):
    connection = wire.connect_and_greet(cluster.host_and_port)
    connection.sendall(wire.frames_of(wire.registration(**changes)))
    return connection


@pytest.mark.parametrize(
    "changes",
    [
        {"nthreads": "many"},
        {"address": 5},
        {"address": "nonsense"},
        {"resources": 5},
        {"metrics": 7},
        {"status": "odd"},
    ],
    ids=repr,
)
@differs("stock", why="it takes the worker in before it looks at the fields, and keeps it", runs=False)
def test_worker_that_registers_wrongly(cluster, changes):
    with register_worker(cluster, **changes) as connection:
        connection.settimeout(5)
        with contextlib.suppress(EOFError, ConnectionError, TimeoutError, msgpack.UnpackException):
            wire.read_message(connection)
    with cluster.client(set_as_default=False) as client:
        eventually(lambda: len(client.nthreads()) == 2)


BAD_WORKER_STREAM = [
    [{"op": "task-finished", "key": "never-heard-of", "nbytes": 1, "run_id": 5, "status": "OK", "stimulus_id": "s"}],
    [{"op": "task-finished"}],
    [{"op": "task-erred", "key": 5}],
    [{"op": "add-keys", "keys": ["unknown"], "stimulus_id": "s"}],
    [{"op": "release-worker-data", "key": "unknown", "stimulus_id": "s"}],
    [{"op": "long-running", "key": "unknown", "compute_duration": 1, "run_id": 1, "stimulus_id": "s"}],
    [{"op": "worker-status-change", "status": "nonsense", "stimulus_id": "s"}],
    [{"op": "unknown-op"}],
    [7],
]


@pytest.mark.parametrize("batch", BAD_WORKER_STREAM, ids=repr)
def test_bad_messages_on_a_worker_stream(cluster, batch):
    with register_worker(cluster) as connection:
        reply = wire.read_message(connection)
        assert reply["status"] == "OK"
        connection.sendall(wire.frames_of(batch))
        time.sleep(0.1)
    with cluster.client(set_as_default=False) as client:
        eventually(lambda: len(client.nthreads()) == 2)


@pytest.mark.limit(90)
@differs("stock", why="what a client does not read piles up in its memory without bound", runs=False)
def test_client_that_never_reads(cluster):
    """Subscribes to a topic that fills faster than it reads: it is cut off, and memory stays bounded."""
    with register_client(cluster, "never-reads") as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(wire.frames_of([{"op": "subscribe-topic", "topic": "flood"}]))
        time.sleep(0.2)
        resident = cluster.scheduler.resident_bytes()
        with cluster.client(set_as_default=False) as client:
            for _ in range(100):
                client.log_event("flood", "x" * 1_000_000)
            assert client.submit(tasks.increment, 1, pure=False).result() == 2
        assert cluster.scheduler.resident_bytes() - resident < 400 * 2**20


def test_replies_nobody_reads(cluster):
    with wire.connect_and_greet(cluster.host_and_port) as connection:
        connection.settimeout(1)
        message = wire.frames_of({"op": "echo", "data": "x" * 100_000})
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(500):
                connection.sendall(message)
        with cluster.client(set_as_default=False) as client:
            assert client.submit(tasks.increment, 1, pure=False).result() == 2


def test_many_connections_come_and_go(cluster):
    for _ in range(200):
        with wire.connect_and_greet(cluster.host_and_port) as connection:
            assert wire.call(connection, op="echo", data=1) == 1

"""The wire format by hand, for tests that break it and for questions that need no client.

Needs no part of distributed.
"""

from __future__ import annotations

import socket
import struct
import time

import msgpack

HANDSHAKE = {"compression": None, "python": [3, 11, 0], "pickle-protocol": 5}


def frames_of(message) -> bytes:
    """A message of one frame."""
    body = msgpack.packb(message)
    prelude = struct.pack("<QQ", 1, len(body))
    return struct.pack("<Q", len(prelude) + len(body)) + prelude + body


def read_message(connection: socket.socket):
    """The first frame of the next message; EOFError if the peer is gone."""
    (size,) = struct.unpack("<Q", read_exactly(connection, 8))
    data = read_exactly(connection, size)
    (count,) = struct.unpack_from("<Q", data)
    lengths = struct.unpack_from(f"<{count}Q", data, 8)
    start = 8 * (1 + count)
    first = data[start : start + lengths[0]]
    missing = start + sum(lengths) - len(data)
    if missing > 0:
        read_exactly(connection, missing)
    return msgpack.unpackb(first, use_list=False, strict_map_key=False)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError("the peer closed the connection")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def connect(address: tuple[str, int], timeout_s: float = 10) -> socket.socket:
    """A connection on which nothing has been said."""
    return socket.create_connection(address, timeout=timeout_s)


def connect_and_greet(address: tuple[str, int], timeout_s: float = 10) -> socket.socket:
    """A connection past its handshake."""
    connection = connect(address, timeout_s)
    connection.sendall(frames_of(HANDSHAKE))
    read_message(connection)
    return connection


def call(connection: socket.socket, **message):
    """One request, one reply."""
    connection.sendall(frames_of(message))
    return read_message(connection)


METRICS = {
    "task_counts": {},
    "bandwidth": {"total": 100_000_000, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "managed_bytes": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "transfer": {
        **{"incoming_bytes": 0, "incoming_count": 0, "incoming_count_total": 0},
        **{"outgoing_bytes": 0, "outgoing_count": 0, "outgoing_count_total": 0},
    },
    "event_loop_interval": 0.02,
    "cpu": 0.0,
    "memory": 100_000_000,
    "time": 0.0,
    "host_net_io": {"read_bps": 0.0, "write_bps": 0.0},
    "host_disk_io": {"read_bps": 0.0, "write_bps": 0.0},
    "num_fds": 10,
}


def registration(**changes) -> dict:
    """What a worker says first, with the given fields changed."""
    return {
        **{"op": "register-worker", "reply": False, "address": "tcp://127.0.0.1:1", "status": "init", "nthreads": 1},
        **{"name": "broken", "now": time.time(), "resources": {}, "memory_limit": None, "local_directory": "/tmp"},
        **{"services": {}, "nanny": None, "pid": 1, "versions": {}, "metrics": METRICS, "extra": {}},
        **{"stimulus_id": "broken", "server_id": "broken"},
        **changes,
    }

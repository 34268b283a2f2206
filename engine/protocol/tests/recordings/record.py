"""Records one message of every kind that stock peers exchange, byte for byte as it is written to the socket.

    python engine/protocol/tests/recordings/record.py

Run it with the interpreter of an environment that has the release of `distributed` to record; it rewrites the
`*.bin` files beside it. Names of this machine are replaced by others of the same length, which changes no frame.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
from pathlib import Path

import dask
import distributed.comm.tcp
from distributed import Client, Scheduler, Worker, get_worker, secede
from distributed.protocol import loads

HERE = Path(__file__).parent
LONGEST_BYTES = 20_000

messages: dict[str, bytes] = {}
original_header = distributed.comm.tcp._add_frames_header


def record(frames):
    pieces, lengths, total = original_header(frames)
    name = name_of(loads([bytes(frame) for frame in frames], deserialize=False))
    if name and name not in messages and total < LONGEST_BYTES:
        messages[name] = b"".join(bytes(piece) for piece in pieces)
    return pieces, lengths, total


def name_of(message) -> str | None:
    if isinstance(message, (list, tuple)) and message and isinstance(message[0], dict):
        names = {element.get("op") for element in message}
        return names.pop() if len(names) == 1 else "mixed-batch"
    if not isinstance(message, dict):
        return None
    if "pickle-protocol" in message:
        return "handshake"
    if "op" in message:
        return f"call-{message['op']}"
    if message.get("type") == "Scheduler":
        return "reply-identity"
    if "worker-plugins" in message:
        return "reply-register-worker"
    if "data" in message and "status" in message:
        return "reply-data"
    return None


def increment(number):
    return number + 1


def fail(number):
    raise ValueError(f"no {number}")


def slow(seconds):
    import time

    secede()
    time.sleep(seconds)
    return get_worker().address


class Counter:
    def __init__(self):
        self.count = 0

    def increment(self):
        self.count += 1
        return self.count


async def scenario():
    config = {"distributed.scheduler.work-stealing-interval": "50ms", "distributed.comm.compression": False}
    with dask.config.set(config):
        async with Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler:
            first = Worker(scheduler.address, nthreads=1, name=0, host="127.0.0.1", resources={"GPU": 1})
            second = Worker(scheduler.address, nthreads=1, name="second", host="127.0.0.1")
            async with first, second, Client(scheduler.address, asynchronous=True) as client:
                await use(client, first, second)


async def use(client, first, second):
    await client.submit(increment, 1, key="increment-1", priority=3, retries=1)
    mapped = client.map(increment, range(20), key=[("mapped", number) for number in range(20)])
    await client.gather(mapped)
    failed = client.submit(fail, 7, key="fail-7")
    await client.submit(increment, failed, key="increment-failed").exception()
    await client.submit(slow, 0.2, key="slow-1", workers=[second.address])
    await client.submit(increment, 2, key=("tuple", 1.5, ("nested", -1)), resources={"GPU": 1})
    scattered = await client.scatter({"scattered": b"x" * 300}, direct=False)
    await client.scatter([1, 2], direct=True)
    total = client.submit(sum, mapped, key="total", workers=[first.address])
    await client.gather([total, scattered["scattered"]], direct=True)
    counter = await client.submit(Counter, actor=True, key="counter")
    await counter.increment()
    await client.compute(dask.delayed(increment)(dask.delayed(increment)(1)))
    client.log_event("topic", {"x": 1})
    client.subscribe_topic("topic", lambda event: None)
    client.unsubscribe_topic("topic")
    await client.cancel([mapped[0]], reason="no need")
    await client.retry([failed])
    await client.replicate(mapped[1:3], n=2)
    await client.rebalance()
    await client.who_has(mapped[1:3])
    await client.set_metadata(["a", 1], {"b": 2})
    await client.get_metadata(["a", 1], default=None)
    await client.publish_dataset(scattered["scattered"], name="published")
    await client.run(os.getpid)
    first.log_event("topic", "from a worker")
    await client.retire_workers([second.address])
    del mapped, total, counter
    await asyncio.sleep(1.5)


def anonymous(data: bytes) -> bytes:
    private = {sys.prefix, sys.base_prefix, os.getcwd(), str(HERE.parents[3]), socket.gethostname(), platform.node()}
    private |= {str(Path(sys.prefix).resolve()), platform.release(), os.path.expanduser("~"), dask.config.get("temporary-directory") or ""}
    for name in sorted(filter(lambda name: len(name) > 1, private), key=len, reverse=True):
        data = data.replace(name.encode(), (b"/" + b"n" * len(name))[: len(name)])
    return data


if __name__ == "__main__":
    distributed.comm.tcp._add_frames_header = record
    asyncio.run(scenario())
    for old in HERE.glob("*.bin"):
        old.unlink()
    for name, data in messages.items():
        (HERE / f"{name}.bin").write_bytes(anonymous(data))
    print(f"{len(messages)} messages of distributed {distributed.__version__}: {', '.join(sorted(messages))}")

"""The Python side of stock_peer.rs: `listen tcp|tls` echoes messages, `connect ADDRESS` sends some and checks the echo."""

import asyncio
import os
import sys

import numpy
from distributed.comm import CommClosedError, connect, listen
from distributed.protocol import to_serialize
from distributed.security import Security


def connection_args(role):
    if "PEER_CA" not in os.environ:
        return {}
    names = {f"tls_{role}_{part}": os.environ[f"PEER_{part.upper()}"] for part in ("cert", "key")}
    security = Security(tls_ca_file=os.environ["PEER_CA"], require_encryption=True, **names)
    return security.get_listen_args(role) if role == "scheduler" else security.get_connection_args(role)


async def echo(comm):
    try:
        while (message := await comm.read()) != "bye":
            await comm.write(message)
        await comm.close()
    except CommClosedError:
        pass


async def serve(protocol):
    args = connection_args("scheduler")
    # As a scheduler does: payloads are forwarded, not opened.
    async with listen(f"{protocol}://127.0.0.1:0", echo, deserialize=False, **args) as listener:
        print(listener.contact_address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def call(address):
    comm = await connect(address, timeout=20, **connection_args("client"))
    array = numpy.random.default_rng(1).random(1_000_000)
    for size in (0, 1, 100_000, 1_000_000):
        await comm.write({"op": "x", "data": {("x", 1): to_serialize(array[:size]), 2.5: to_serialize(b"y" * size)}})
        back = await comm.read()
        assert numpy.array_equal(back["data"][("x", 1)], array[:size]) and back["data"][2.5] == b"y" * size
    for number in range(200):
        await comm.write([number] * number)
    for number in range(200):
        assert list(await comm.read()) == [number] * number
    await comm.close()
    print("fine", flush=True)


asyncio.run(serve(sys.argv[2]) if sys.argv[1] == "listen" else call(sys.argv[2]))

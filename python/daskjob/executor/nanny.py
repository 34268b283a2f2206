"""The nanny's Python, where plugins, preloads or functions of users want one: a `distributed.Nanny` whose worker lives in Rust.

A process of its own, which keeps a few messages of the line only: `call`, `ping`, `stream` and `close`. It is a real Nanny, made
but never started, so what users bring finds what it knows. What they change for the worker's process (variables, where modules
are found) is told to the worker program, which starts its Python with it; so is the wish to start it anew.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback

from distributed import nanny as stock
from distributed.core import Status
from distributed.proctitle import setproctitle
from distributed.protocol import loads

from . import memory, requests
from .line import LINE_ERROR, Broken, Gone, end
from .worker import security


class Nanny(stock.Nanny):
    """See the module."""

    def __init__(self, settings: dict, line):
        self.line = line
        preloads = settings.get("preload_nanny") or []
        super().__init__(
            settings["scheduler"],
            nthreads=settings["nthreads"],
            local_directory=settings["local_directory"],
            name=settings.get("name"),
            memory_limit=settings.get("memory_limit") or 0,
            resources=dict(settings.get("resources") or {}),
            preload=[name for name, _ in settings.get("preload") or []],
            preload_nanny=[name for name, _ in preloads],
            preload_nanny_argv=[list(arguments) for _, arguments in preloads],
            silence_logs=settings.get("silence_logs"),
            security=security(settings.get("tls")),
        )
        self._address = settings["address"]  # where Rust listens for it
        self.worker_is: dict = {}
        self.before = (dict(os.environ), dict(self.env), list(sys.path))
        self.told: dict = {}

    async def begin(self) -> None:
        self.status = Status.running
        await self.rpc.start()
        await self.preloads.start()
        setproctitle(f"dask nanny [{self.address}]")
        self.tell_environment()

    async def take_down(self) -> None:
        await self.preloads.teardown()
        for name in list(self.plugins):
            await self.plugin_remove(name)
        await self.rpc.close()

    def tell_environment(self) -> None:
        """What the worker's process would have been started with by a stock nanny, as far as it was changed here."""
        variables, env, path = self.before
        changed = {name: value for name, value in os.environ.items() if variables.get(name) != value}
        changed.update({name: str(value) for name, value in self.env.items() if env.get(name) != value})
        added = [place for place in sys.path if place and place not in path]
        if added:
            given = changed.get("PYTHONPATH", os.environ.get("PYTHONPATH"))
            changed["PYTHONPATH"] = os.pathsep.join([*added, *([given] if given else [])])
        if changed != self.told:
            self.told = changed
            self.line.post(["environment", [[name, value] for name, value in changed.items()]])

    # -- the worker's life is Rust's -------------------------------------------------------------------------------------

    @property
    def worker_address(self):
        return self.worker_is.get("address")

    @property
    def worker_dir(self):
        return self.worker_is.get("local_directory")

    @property
    def pid(self):
        return self.worker_is.get("pid")

    def is_alive(self) -> bool:
        return bool(self.worker_is)

    async def instantiate(self) -> Status:
        return Status.running

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
        self.line.post(["leave", "restart", str(reason)])

    async def restart(self, timeout: float = 30, reason: str = "nanny-restart") -> str:
        self.line.post(["leave", "restart", str(reason)])
        return "OK"

    async def close(self, timeout: float = 5, reason: str = "nanny-close") -> str:
        self.line.post(["leave", "close", str(reason)])
        return "OK"

    def close_gracefully(self, reason: str = "nanny-close-gracefully") -> None:
        self.line.post(["leave", "close_gracefully", str(reason)])


async def live(line, settings: dict, messages, descriptors, refuse) -> None:
    try:
        memory.Open.raise_limit()
        memory.Receipt.begin(line.post)
        nanny = Nanny(settings, line)
        await nanny.begin()
    except Exception as error:
        refuse(error)
    loop = asyncio.get_running_loop()
    closing = loop.create_future()
    line.post(["ready", {}])
    reader = Reader(line, nanny, loop, closing)
    threading.Thread(target=reader.run, args=(messages, descriptors), name="daskjob-control", daemon=True).start()
    await closing
    try:
        await nanny.take_down()
    except Exception:
        traceback.print_exc()


class Reader:
    """The reading thread, as `control.Control` is that of an executor. Calls are answered one after the other, in order."""

    def __init__(self, line, nanny, loop, closing):
        self.line, self.nanny, self.loop, self.closing = line, nanny, loop, closing
        self.begun: set = set()

    def run(self, messages, descriptors) -> None:
        try:
            while True:
                self.take(messages, memory.Arrivals(descriptors) if descriptors else memory.NO_ARRIVALS)
                messages, descriptors = self.line.receive()
        except Gone:
            end(0)
        except Broken as error:
            end(LINE_ERROR, f"error of the line: {error}")
        except BaseException:
            traceback.print_exc()
            end(LINE_ERROR, "the control thread failed")

    def take(self, messages, arrivals) -> None:
        for name, *parts in messages:
            if name == "call":
                request, op, frames = parts
                frames = memory.Parcel(b"", arrivals.frames(frames)).buffers()
                self.loop.call_soon_threadsafe(self.begin, self.answer(request, op, frames))
            elif name == "stream":
                _, frames = parts
                frames = memory.Parcel(b"", arrivals.frames(frames)).buffers()
                self.loop.call_soon_threadsafe(setattr, self.nanny, "worker_is", loads(frames))
            elif name == "ping":
                self.line.post(["pong", *parts])
            elif name == "close":
                self.loop.call_soon_threadsafe(self.closing.set_result, None)
            else:
                raise Broken(f"message {name!r} is none of a nanny")

    def begin(self, coroutine) -> None:
        task = self.loop.create_task(coroutine)
        self.begun.add(task)
        task.add_done_callback(self.begun.discard)

    async def answer(self, request, op: str, frames: list) -> None:
        await requests.answer(self.nanny, self, request, op, frames)

    def post(self, message) -> None:
        """An answer: whoever reads it finds its consequences in place."""
        self.nanny.tell_environment()
        self.line.post(message)

    def post_with(self, message, descriptors) -> None:
        self.nanny.tell_environment()
        self.line.post_with(message, descriptors)

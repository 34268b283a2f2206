"""The reading thread: what each message of the worker does.

Nothing here may wait: what takes time is handed to the thread that has it. The end of the line is the end of the process.
"""

from __future__ import annotations

import asyncio
import traceback

from distributed.core import Status

from . import requests
from .line import LINE_ERROR, Broken, Gone, end
from .memory import NO_ARRIVALS, Arrivals, Parcel
from .tasks import Run
from .values import MISSING

#: Requests after which the same bytes may mean another function.
CHANGES_MODULES = frozenset(["upload_file", "plugin-add", "run", "run_coroutine"])


class Control:
    def __init__(self, line, values, tasks, worker, clockwork, loop, closing):
        self.line, self.values, self.tasks, self.worker = line, values, tasks, worker
        self.clockwork, self.loop, self.closing = clockwork, loop, closing
        self.arrivals = NO_ARRIVALS
        self.stream: asyncio.Queue = asyncio.Queue()
        self.begun: set = set()
        self.does = {
            "execute": self.execute,
            "withdraw": tasks.withdraw,
            "cancel": tasks.cancel,
            "put": self.put,
            "drop": self.drop,
            "fetch": self.fetch,
            "call": self.call,
            "stream": self.hear,
            "transition": self.transition,
            "status": self.set_status,
            "ping": self.ping,
            "collect": values.collect,
            "lend": values.lend,
            "returned": values.returned,
            "close": self.close,
        }

    def run(self, messages, descriptors) -> None:
        """Begins with what came together with `start`."""
        try:
            while True:
                self.take(messages, descriptors)
                self.clockwork.wake()
                messages, descriptors = self.line.receive()
        except Gone:
            end(0)
        except Broken as error:
            end(LINE_ERROR, f"error of the line: {error}")
        except BaseException:
            traceback.print_exc()
            end(LINE_ERROR, "the control thread failed")

    def take(self, messages, descriptors) -> None:
        self.arrivals = Arrivals(descriptors) if descriptors else NO_ARRIVALS
        does = self.does
        for message in messages:
            try:
                does[message[0]](*message[1:])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                name = message[0] if isinstance(message, tuple) and message else message
                raise Broken(f"message {name!r} of the worker: {type(error).__name__}: {error}") from error
        if descriptors:
            self.arrivals.close_others()
            self.arrivals = NO_ARRIVALS

    # -- one method for each message -----------------------------------------------------------------------------------

    def execute(self, number, key, spec, names, options) -> None:
        header, frames = spec
        if frames:
            frames = self.arrivals.frames(frames)
        held, tasks = self.values.held, self.tasks
        dependencies = [(name, held.get(name, MISSING)) for name in names]
        tasks.add(Run(number, key, Parcel(header, frames), dependencies, options))

    def put(self, key, value) -> None:
        self.values.put(key, self.arrivals.parcel(value))

    def drop(self, keys) -> None:
        self.values.drop(keys)
        actors = self.worker.state.actors
        if actors:
            for key in keys:
                actors.pop(key, None)

    def fetch(self, request, keys, pipe=None) -> None:
        self.values.fetch(request, keys, None if pipe is None else self.arrivals.pipe(pipe))

    def call(self, request, op, frames) -> None:
        if op in CHANGES_MODULES:
            self.tasks.starts.forget()
        frames = self.opened(frames)
        self.on_loop(requests.answer(self.worker, self.line, request, op, frames))

    def hear(self, op, frames) -> None:
        self.soon(self.stream.put_nowait, (op, self.opened(frames)))

    def opened(self, frames) -> list:
        return Parcel(b"", self.arrivals.frames(frames)).buffers()

    def transition(self, changes) -> None:
        self.soon(self.worker.transition, changes)

    def set_status(self, text) -> None:
        self.worker._status = Status.lookup[text]

    def ping(self, number) -> None:
        self.line.post(["pong", number])

    def close(self, reason) -> None:
        self.soon(self.closing.set_result, reason)

    def on_loop(self, coroutine) -> None:
        if not self.soon(self.begin, coroutine):
            coroutine.close()

    def soon(self, function, argument) -> bool:
        """False where the loop has closed: the process ends, maybe slowly, and who asks hears of that instead."""
        try:
            self.loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            if not self.loop.is_closed():
                raise
            return False
        return True

    def begin(self, coroutine) -> None:
        task = self.loop.create_task(coroutine)
        self.begun.add(task)
        task.add_done_callback(self.begun.discard)

    async def hear_in_order(self) -> None:
        while True:
            op, frames = await self.stream.get()
            await requests.hear(self.worker, op, frames)

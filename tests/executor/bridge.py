"""A worker of two halves: the server and state machine of stock, the executor of ours. Only for tests.

What Rust will be, as little Python as does it: tasks are sent down the line, values stay there, requests for Python are
forwarded. It lets real clients and a real scheduler meet the executor.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
from distributed import Worker
from distributed.core import Status
from distributed.protocol import Serialized, to_serialize
from distributed.worker_state_machine import ExecuteFailureEvent, ExecuteSuccessEvent, RescheduleEvent, SecedeEvent
from harness import Executor, msgpack, pack, unpack

FORWARDED = ["actor_execute", "actor_attribute", "shuffle_receive", "shuffle_inputs_done", "run", "call_stack", "upload_file"]


class Remote:
    """Stands for a value that the executor holds."""


REMOTE = Remote()


class Held(dict):
    executor = None

    def __delitem__(self, key):
        if super().pop(key) is REMOTE:
            self.executor.send(["drop", [key]])

    def pop(self, key, *default):
        if key in self:
            del self[key]


class Bridge(Worker):
    def __init__(self, *arguments, settings=None, **more):
        self.half = None
        self.half_settings = settings or {}
        self.held = Held()
        self.runs = itertools.count(1_000_000)
        self.keys: dict[int, object] = {}
        self.pool = ThreadPoolExecutor(100)
        super().__init__(*arguments, data=self.held, dashboard=False, **more)
        for op in FORWARDED:
            self.handlers[op] = self.forwarding(op)
        self.stream_handlers["shuffle-fail"] = self.stream_on

    async def _register_with_scheduler(self):
        settings = {
            "address": self.address,
            "scheduler": self.scheduler.address,
            "id": self.id,
            "name": self.name,
            "nthreads": self.state.nthreads,
            "resources": dict(self.state.total_resources),
            "environment": {"PYTHONPATH": os.path.dirname(__file__)},
            **self.half_settings,
        }
        self.half = await self.away(lambda: Executor(takes=self.take, **settings))
        self.held.executor = self.half
        await super()._register_with_scheduler()

    async def close(self, *arguments, **more):
        half, self.half = self.half, None
        if half is not None:
            half.send(["close", "over"])
            await self.away(half.exit_code)
            self.said = half.said()
            half.end()
        return await super().close(*arguments, executor_wait=False)

    def away(self, function, *arguments):
        return asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    # -- what the executor says of its own accord ----------------------------------------------------------------------

    def take(self, message) -> bool:
        name = message[0]
        if name == "send":
            from distributed.protocol import loads

            self.loop.add_callback(self.batched_send, loads(message[1]))
        elif name == "seceded" and message[1] in self.keys:
            event = SecedeEvent(key=self.keys[message[1]], compute_duration=message[2], stimulus_id=f"secede-{time.time()}")
            self.loop.add_callback(self.handle_stimulus, event)
        elif name == "hold":
            self.loop.add_callback(super().update_data, {message[1]: REMOTE})
        else:
            return name in ("handlers", "transitions")
        return True

    # -- requests ------------------------------------------------------------------------------------------------------

    def forwarding(self, op):
        async def forward(**message):
            for name in ("data", "args"):
                if name in message and op in ("shuffle_receive", "actor_execute"):
                    value = message[name]
                    message[name] = to_serialize(value) if name == "data" else [to_serialize(item) for item in value]
            return await self.away(lambda: self.half.call(op, **message))

        return forward

    def stream_on(self, **message):
        from harness import message_frames

        self.half.send(["stream", "shuffle-fail", message_frames({"op": "shuffle-fail", **message})])

    async def plugin_add(self, plugin, name=None, catch_errors=True):
        return await self.away(lambda: self.half.call("plugin-add", plugin=plugin, name=name))

    async def get_data(self, comm, keys, who=None, serializers=None):
        for key in keys:
            self.put_down(key)
        found, _ = await self.away(self.half.fetch, *keys)
        data = {}
        for key, (header, frames) in found.items():
            data[key] = Serialized(unpack(header), list(frames))
        await comm.write({"status": "OK", "data": data}, serializers=serializers)
        await comm.read()
        return Status.dont_reply

    def update_data(self, data, stimulus_id=None):
        return super().update_data(data, stimulus_id=stimulus_id)

    def put_down(self, key) -> None:
        """What was fetched or scattered, once somebody needs it."""
        if self.held.get(key, REMOTE) is not REMOTE:
            self.half.put(key, self.held[key])
            dict.__setitem__(self.held, key, REMOTE)

    # -- tasks ---------------------------------------------------------------------------------------------------------

    async def execute(self, key, *, stimulus_id):
        state, run = self.state.tasks[key], next(self.runs)
        run_id, self.keys[run] = state.run_id, key
        for dependency in state.dependencies:
            self.put_down(dependency.key)
        spec = [pack({"pickled-obj": cloudpickle.dumps(state.run_spec), "num-sub-frames": 0}), []]
        options = {"annotations": msgpack_only(state.annotations), "priority": list(state.priority)}
        if key in self.state.actors:
            options["actor"] = True
        self.half.send(["execute", run, key, spec, [dependency.key for dependency in state.dependencies], options])
        outcome = await self.away(self.half.outcome, run)
        stimulus = f"{outcome[0]}-{time.time()}"
        if outcome[0] == "done":
            _, _, nbytes, _, kind, start, stop, _ = outcome
            return ExecuteSuccessEvent(
                key=key,
                run_id=run_id,
                value=REMOTE,
                start=start,
                stop=stop,
                nbytes=nbytes,
                type=pickle.loads(kind),
                stimulus_id=stimulus,
            )
        if outcome[0] == "rescheduled":
            return RescheduleEvent(key=key, stimulus_id=stimulus)
        _, _, exception, traceback, exception_text, traceback_text, start, stop, _ = outcome
        return ExecuteFailureEvent(
            key=key,
            run_id=run_id,
            start=start,
            stop=stop,
            exception=to_serialize(exception),
            traceback=traceback and to_serialize(traceback),
            exception_text=exception_text,
            traceback_text=traceback_text,
            stimulus_id=stimulus,
        )


def msgpack_only(annotations) -> dict:
    try:
        msgpack.packb(annotations)
        return annotations or {}
    except TypeError:
        return {}

"""What `get_worker()` gives: a `distributed.Worker` whose server, state machine and memory manager live in Rust.

It is a real one, made but never started, so plugins, preloads and user code find what they know. What would go to a
stock worker's state machine or to the scheduler becomes a message on the line. It opens no port and takes no lock.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping

import dask
from distributed import profile
from distributed import worker as stock
from distributed.actor import Actor
from distributed.comm import get_address_host
from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.proctitle import setproctitle
from distributed.protocol import dumps
from distributed.security import Security
from distributed.utils import key_split
from distributed.worker_state_machine import SecedeEvent, TaskState, UpdateDataEvent

from . import memory
from .values import Data

#: Frames of this file and below it are ours, not the task's.
TASKS_FILE = "daskjob/executor/tasks.py"


class Stream:
    """Stands for the connection to the scheduler."""

    comm = None

    def __init__(self, send):
        self.send = send

    async def close(self, timeout=None) -> None:
        pass


class Handlers(dict):
    """Names of ops to functions; tells of what plugins add and take away."""

    def __init__(self, handlers, changed):
        super().__init__(handlers)
        self.stock = frozenset(handlers)
        self.changed = changed

    def added(self) -> set:
        return {name for name in self if name not in self.stock}

    def __setitem__(self, name, handler):
        super().__setitem__(name, handler)
        self.changed()

    def __delitem__(self, name):
        super().__delitem__(name)
        self.changed()

    def pop(self, *arguments):
        handler = super().pop(*arguments)
        self.changed()
        return handler

    def update(self, *arguments, **handlers):
        super().update(*arguments, **handlers)
        self.changed()


class States(Mapping):
    """`worker.state.tasks`: tasks that wait or run here and values held, described when somebody looks."""

    def __init__(self, tasks, values):
        self.tasks, self.values_held = tasks, values

    def __getitem__(self, key):
        run = self.tasks.run_with(key)
        if run is not None:
            return self.of_run(run)
        entry = self.values_held.held[key]
        return TaskState(key=key, state="memory", type=type(entry), annotations={})

    def of_run(self, run):
        state = run.shown
        if state is None:
            state = run.shown = TaskState(key=run.key, run_id=run.number, annotations=dict(run.annotations))
            state.priority = tuple(run.options.get("priority") or ())
            state.resource_restrictions = dict(run.options.get("resources") or {})
        state.run_spec, state.start_time = run.task, run.start
        state.state = "long-running" if run.seceded else "executing" if run.start else "ready"
        return state

    def __iter__(self):
        keys = {run.key: None for run in list(self.tasks.runs.values()) if not run.cancelled}
        keys.update(dict.fromkeys(list(self.values_held.held)))
        return iter(keys)

    def __len__(self):
        return sum(1 for _ in self)


def security(tls: dict | None) -> Security:
    if not tls:
        return Security()
    roles = {f"tls_{role}_{part}": tls.get(part) for role in ("worker", "client") for part in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=tls.get("ca_file"), **roles)


class Worker(stock.Worker):
    """See the module."""

    def __init__(self, settings: dict, line, values, tasks):
        self.line, self.tasks_here = line, tasks
        self.is_ready = False
        self.profiling = threading.Lock()
        preloads = settings.get("preload") or []
        super().__init__(
            settings["scheduler"],
            nthreads=settings["nthreads"],
            local_directory=settings["local_directory"],
            name=settings.get("name"),
            executor=tasks.pool,
            resources=dict(settings.get("resources") or {}),
            preload=[name for name, _ in preloads],
            preload_argv=[list(arguments) for _, arguments in preloads],
            security=security(settings.get("tls")),
            contact_address=settings["address"],
            nanny=settings.get("nanny"),
            silence_logs=settings.get("silence_logs"),
            memory_limit=settings.get("memory_limit") or 0,
            data=Data(values),
            validate=False,
            lifetime=0,
            needs_workdir=False,
        )
        self.id = settings["id"]
        self.ip = get_address_host(self.address)
        if self.name is None:
            self.name = self.address
        self.state.address = self.address
        self.state.tasks = States(tasks, values)
        self.batched_stream = Stream(self.batched_send)
        self.handlers = Handlers(self.handlers, self.tell_handlers)
        self.stream_handlers = Handlers(self.stream_handlers, self.tell_handlers)
        self.wants_transitions = False
        self.told_handlers: list = []

    # -- life ----------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        await self.rpc.start()
        await self.preloads.start()
        setproctitle(f"dask worker [{self.address}]")

    async def take_down(self) -> None:
        self._status = Status.closing
        for name in list(self.plugins):
            await self.plugin_remove(name)
        for extension in self.extensions.values():
            if hasattr(extension, "close") and (closing := extension.close()) is not None:
                await closing
        await self.preloads.teardown()
        if self._client is not None:
            self._client._asynchronous = True
            if (closing := self._client.close()) is not None:
                await closing
        await self.rpc.close()
        self._status = Status.closed
        self._event_finished.set()

    @property
    def status(self) -> Status:
        return getattr(self, "_status", Status.undefined)

    @status.setter
    def status(self, value: Status) -> None:
        self._status = value

    async def close(self, timeout=30, executor_wait=True, nanny=True, reason="worker-close"):
        self.line.post(["leave", "close" if nanny else "restart", str(reason)])
        return "OK"

    async def close_gracefully(self, restart=None, reason="worker-close-gracefully"):
        restart = self.lifetime_restart if restart is None else restart
        self.line.post(["leave", "restart_gracefully" if restart else "close_gracefully", str(reason)])

    # -- to the scheduler ----------------------------------------------------------------------------------------------

    def batched_send(self, msg) -> None:
        frames = memory.shared(dumps(msg, context=memory.UNCOMPRESSED))
        departures = memory.Departures()
        self.line.post_with(["send", departures.frames(frames)], departures.descriptors)

    def log_event(self, topic, msg) -> None:
        if not stock._is_dumpable(msg):
            raise TypeError(f"an event must be what msgpack can carry, not {type(msg).__name__}")
        self.batched_send({"op": "log-event", "topic": topic, "msg": msg})

    def log_failure(self, run, exception_text: str, traceback_text: str) -> None:
        try:
            task = repr(run.task)[:1000]
        except Exception as error:  # arguments are the user's
            task = f"cannot be shown: {type(error).__name__}"
        words = "Compute Failed\nKey:       %s\nTask:      %s\nException: %s\nTraceback: %s\n"
        stock.logger.error(words, run.key, task, exception_text, traceback_text)

    # -- to the state machine ------------------------------------------------------------------------------------------

    def handle_stimulus(self, *stims) -> None:
        for event in stims:
            if isinstance(event, SecedeEvent):
                self.tasks_here.seceded_elsewhere(event.key)
            elif isinstance(event, UpdateDataEvent):
                for key, value in event.data.items():
                    self.data[key] = value

    def proxy_of_actor(self, key):
        actor = self.state.actors.get(key, self)
        return None if actor is self else Actor(type(actor), self.address, key, worker=self)

    # -- plugins -------------------------------------------------------------------------------------------------------

    async def plugin_add(self, plugin, name=None, catch_errors=True):
        try:
            return await super().plugin_add(plugin=plugin, name=name, catch_errors=catch_errors)
        finally:
            self.tell_transitions()

    async def plugin_remove(self, name):
        try:
            return await super().plugin_remove(name)
        finally:
            self.tell_transitions()

    def tell_transitions(self) -> None:
        wanted = any(has_hook(plugin) for plugin in self.plugins.values())
        if wanted != self.wants_transitions:
            self.wants_transitions = wanted
            self.line.post(["transitions", wanted])

    def transition(self, changes) -> None:
        for plugin in list(self.plugins.values()):
            if has_hook(plugin):
                for key, start, finish in changes:
                    try:
                        plugin.transition(key, start, finish)
                    except Exception:
                        stock.logger.info("the transition hook of plugin %s failed", plugin, exc_info=True)

    def added_handlers(self) -> list:
        return sorted(self.handlers.added() | self.stream_handlers.added())

    def tell_handlers(self) -> None:
        if self.is_ready and (names := self.added_handlers()) != self.told_handlers:
            self.told_handlers = names
            self.line.post(["handlers", names])

    def heartbeat_parts(self) -> dict:
        metrics, extensions = {}, {}
        for part, givers, give in (
            (metrics, self.metrics, lambda metric: metric(self)),
            (extensions, self.extensions, lambda extension: extension.heartbeat()),
        ):
            for name, giver in givers.items():
                if part is metrics or hasattr(giver, "heartbeat"):
                    try:
                        part[name] = give(giver)
                    except Exception:
                        stock.logger.debug("%s has nothing for the heartbeat", name, exc_info=True)
        return {"metrics": metrics, "extensions": extensions}

    # -- profiles ------------------------------------------------------------------------------------------------------

    def trigger_profile(self) -> None:
        active = self.active_threads.copy()
        frames = frames_of(active)
        with self.profiling:
            for ident, key in active.items():
                if (frame := frames.get(ident)) is not None:
                    profile.process(frame, True, self.profile_recent, stop=TASKS_FILE)
                    profile.process(frame, True, self.profile_keys[key_split(key)], stop=TASKS_FILE)

    def cycle_profile(self) -> None:
        with self.profiling:
            super().cycle_profile()

    async def get_profile(self, *arguments, **named):
        with self.profiling:
            return await super().get_profile(*arguments, **named)

    async def get_profile_metadata(self, *arguments, **named):
        with self.profiling:
            return await super().get_profile_metadata(*arguments, **named)

    def get_call_stack(self, keys=None):
        active = self.active_threads.copy()
        frames = frames_of(active)
        stacks = {}
        for ident, key in active.items():
            if ident in frames and (keys is None or key in keys):
                stacks[key] = profile.call_stack(frames[ident])
        return stacks


def frames_of(threads) -> dict:
    """What these threads do. Not the caller's own frame: it would refer to itself, and all the others' values live until a
    collection of garbage."""
    return {ident: frame for ident, frame in sys._current_frames().items() if ident in threads}


def has_hook(plugin) -> bool:
    hook = getattr(plugin, "transition", None)
    return hook is not None and getattr(hook, "__func__", None) is not WorkerPlugin.transition


def profile_seconds() -> tuple[float, float] | None:
    """(interval, cycle) in seconds, None where profiles are not wanted."""
    if not dask.config.get("distributed.worker.profile.enabled"):
        return None
    wanted = (dask.config.get(f"distributed.worker.profile.{name}") for name in ("interval", "cycle"))
    interval, cycle = (dask.utils.parse_timedelta(value, default="ms") for value in wanted)
    return interval, cycle

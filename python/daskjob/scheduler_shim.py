"""Runs the Python that users send to the scheduler itself: functions, plugins and preloaded modules.

The scheduler is not Python, so what users get as ``dask_scheduler`` is a `SchedulerShim`: its attributes are read from a
snapshot that the scheduler sends on demand, its methods are the scheduler's own remote operations. Nothing here changes
the scheduler other than through those. One process for all of this, apart from the helpers that open graphs, so that
what a function leaves behind is there for the next one.

User code runs in the main thread inside an asyncio loop, as in a stock scheduler; a second thread reads the channel.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import itertools
import logging
import os
import threading
import time
import types

logger = logging.getLogger("distributed.scheduler")

#: Hooks of a scheduler plugin that are called here; the others are refused when a plugin overrides them.
SUPPORTED_HOOKS = {
    "start", "before_close", "close", "add_worker", "remove_worker", "add_client", "remove_client", "restart"
}  # fmt: skip
OTHER_HOOKS = {"transition", "update_graph", "valid_workers_downscaling", "log_event"}
KNOWN_HOOKS = SUPPORTED_HOOKS | OTHER_HOOKS

#: How old the newest measurement of the scheduler's process may be when somebody looks at it.
MONITOR_SECONDS = 0.5
#: How long a plugin may take to hear of one event before the next plugin is told.
HOOK_LIMIT_SECONDS = 30


class Record(types.SimpleNamespace):
    """State of something in the scheduler at one moment. Identified by its first field, as in stock."""

    def __init__(self, identity, **fields):
        super().__init__(**fields)
        self._identity = identity

    def __hash__(self):
        return hash(self._identity)

    def __eq__(self, other):
        return type(other) is type(self) and other._identity == self._identity

    def __repr__(self):
        return f"<{type(self).__name__} {self._identity!r}>"


class TaskState(Record):
    pass


class WorkerState(Record):
    def identity(self):
        return self._known


class ClientState(Record):
    pass


class TaskGroup(Record):
    pass


class TaskPrefix(Record):
    pass


class Snapshot:
    """The tables of the scheduler as linked objects."""

    def __init__(self, raw: dict):
        self.facts = raw["facts"]
        self.workers = {worker["address"]: self.worker(worker) for worker in raw["workers"]}
        self.clients = {
            client["client_key"]: ClientState(client["client_key"], wants_what=set(), **client) for client in raw["clients"]
        }
        self.task_prefixes = {p["name"]: TaskPrefix(p["name"], groups=[], **p) for p in raw["prefixes"]}
        self.task_groups = {g["name"]: self.group(g) for g in raw["groups"]}
        self.tasks = {task["key"]: self.task(task) for task in raw["tasks"]}
        for task in raw["tasks"]:
            self.link(self.tasks[task["key"]], task)

    @staticmethod
    def worker(raw: dict) -> WorkerState:
        known = dict(raw["identity"])
        fields = {**known, **{name: value for name, value in raw.items() if name != "identity"}}
        return WorkerState(
            raw["address"], _known=known, processing={}, _has_what={}, has_what={}, executing={}, actors=set(), **fields
        )

    def group(self, raw: dict) -> TaskGroup:
        prefix = self.task_prefixes.get(raw.pop("prefix"))
        group = TaskGroup(raw["name"], prefix=prefix, **raw)
        if prefix is not None:
            prefix.groups.append(group)
        return group

    def task(self, raw: dict) -> TaskState:
        group = self.task_groups.get(raw["group"])
        fields = {name: value for name, value in raw.items() if name not in LINKS}
        fields["group"] = group
        fields["group_key"] = raw["group"]
        fields["prefix"] = group and group.prefix
        sets = {name: set() for name in ("dependencies", "dependents", "waiting_on", "waiters", "who_has", "who_wants")}
        return TaskState(raw["key"], processing_on=None, exception_blame=None, **sets, **fields)

    def link(self, task: TaskState, raw: dict) -> None:
        for key in raw["dependencies"]:
            below = self.tasks[key]
            task.dependencies.add(below)
            below.dependents.add(task)
            if task.state == "waiting" and below.state != "memory":
                task.waiting_on.add(below)
            if task.state in ("waiting", "processing", "queued", "no-worker"):
                below.waiters.add(task)
        for address in raw["who_has"]:
            worker = self.workers.get(address)
            if worker is not None:
                task.who_has.add(worker)
                worker.has_what[task] = worker._has_what[task] = None
        for name in raw["who_wants"]:
            client = self.clients.get(name)
            if client is not None:
                task.who_wants.add(client)
                client.wants_what.add(task)
        if raw["processing_on"] in self.workers:
            task.processing_on = self.workers[raw["processing_on"]]
            task.processing_on.processing[task] = None
        if raw["blame"] is not None:
            task.exception_blame = self.tasks.get(raw["blame"])


#: Fields of a task that name other things.
LINKS = {"dependencies", "who_has", "who_wants", "processing_on", "blame", "group"}


class Queries:
    """Asks the scheduler. Answers come through the reading thread, so a synchronous caller may wait here."""

    def __init__(self, helper):
        self.helper = helper
        self.numbers = itertools.count(1)
        self.pending: dict[int, concurrent.futures.Future] = {}

    def send(self, op: str, arguments: dict) -> concurrent.futures.Future:
        from _daskjob_graph_helper import QUERY, value_frames

        number = next(self.numbers)
        future = self.pending[number] = concurrent.futures.Future()
        self.helper.send(QUERY, number, {"op": op}, value_frames(arguments))
        return future

    def ask(self, op: str, **arguments):
        return self.send(op, arguments).result()

    async def ask_async(self, op: str, **arguments):
        return await asyncio.wrap_future(self.send(op, arguments))

    def answered(self, number: int, header: dict, blobs: list) -> None:
        from _daskjob_graph_helper import frames_value
        from distributed.protocol import pickle

        future = self.pending.pop(number, None)
        if future is None:
            return
        try:
            if header["ok"]:
                future.set_result(frames_value(blobs))
            else:
                future.set_exception(pickle.loads(bytes(blobs[0])))
        except BaseException as error:
            future.set_exception(error)


#: Operations by the name of the method that stock's scheduler has for them: plain calls and coroutines.
PLAIN = {
    "identity": "identity",
    "versions": "versions",
    "adaptive_target": "adaptive_target",
    "workers_to_close": "workers_to_close",
    "check_idle": "check_idle",
    "get_who_has": "who_has",
    "get_has_what": "has_what",
    "get_ncores": "ncores",
    "get_ncores_running": "ncores_running",
    "get_nbytes": "nbytes",
    "get_processing": "processing",
    "get_task_status": "get_task_status",
    "get_task_prefix_states": "get_task_prefix_states",
}
COROUTINES = {
    "retire_workers": "retire_workers",
    "remove_worker": "unregister",
    "restart": "restart",
    "restart_workers": "restart_workers",
    "replicate": "replicate",
    "rebalance": "rebalance",
    "gather": "gather",
    "scatter": "scatter",
    "get_call_stack": "call_stack",
}
#: Of a plugin's or function's point of view part of the scheduler, but not to be had from outside of its process.
REFUSED = {
    "transition", "transitions", "stream_comms", "client_comms", "worker_send", "client_send", "send_all", "report",
    "client_desires_keys", "client_releases_keys", "stimulus_task_finished", "handle_worker", "set_restrictions",
    "stream_handlers", "rpc", "http_server", "http_application", "listen",
}  # fmt: skip


class SchedulerShim:
    """What user code gets as the scheduler."""

    def __init__(self, queries: Queries, local_directory: str):
        self._queries = queries
        self._snapshot: Snapshot | None = None
        self.local_directory = local_directory
        self.plugins: dict[str, object] = {}
        self.extensions: dict[str, object] = {}
        #: Whatever plugins and functions put here; the scheduler's own timers are not Python's.
        self.periodic_callbacks: dict[str, object] = {}
        self._monitor = None
        self.loop = self.io_loop = None
        self.status = status_running()

    def _current(self) -> Snapshot:
        """One snapshot for as long as user code runs without giving way."""
        if self._snapshot is not None:
            return self._snapshot
        snapshot = Snapshot(self._queries.ask("scheduler_snapshot"))
        try:
            asyncio.get_running_loop().call_soon(self._forget)
        except RuntimeError:
            return snapshot  # another thread: it never gives way, so nothing is kept for it
        self._snapshot = snapshot
        return snapshot

    def _forget(self) -> None:
        self._snapshot = None

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        if name in PLAIN:
            return plain_call(self._queries, PLAIN[name])
        if name in COROUTINES:
            return coroutine_call(self._queries, COROUTINES[name])
        if name in REFUSED:
            raise AttributeError(
                f"dask_scheduler.{name} is not available: the daskjob scheduler is no Python program. Functions and plugins "
                "can read tasks, workers and clients and call its remote operations."
            )
        snapshot = self._current()
        if name in TABLES:
            return getattr(snapshot, name)
        if name in snapshot.facts:
            return snapshot.facts[name]
        raise AttributeError(f"dask_scheduler.{name} is not available in the daskjob scheduler")

    def __repr__(self):
        return f"<Scheduler {self.address!r}, workers: {len(self.workers)}, tasks: {len(self.tasks)}>"

    # What needs more than a table.

    @property
    def task_metadata(self):
        return self._queries.ask("get_metadata", keys=[])

    @property
    def idle(self):
        workers = self._current().workers
        return {address: workers[address] for address in self._current().facts["idle_workers"] if address in workers}

    @property
    def saturated(self):
        workers = self._current().workers
        return {workers[address] for address in self._current().facts["saturated_workers"] if address in workers}

    @property
    def running(self):
        return {worker for worker in self._current().workers.values() if worker.status == "running"}

    @property
    def total_nthreads(self):
        return sum(worker.nthreads for worker in self._current().workers.values())

    @property
    def total_memory(self):
        return sum(worker.memory_limit or 0 for worker in self._current().workers.values())

    @property
    def monitor(self):
        """As stock's, about the scheduler's process; it measures when somebody looks."""
        if self._monitor is None:
            self._monitor = monitor_of_scheduler()
        if not self._monitor.count or time.monotonic() - self._monitor.last_time >= MONITOR_SECONDS:
            self._monitor.update()
        return self._monitor

    @property
    def handlers(self):
        """Remote operations by name, as far as they can be called from here."""
        plain = {op: plain_call(self._queries, op) for op in PLAIN.values()}
        return {**plain, **{op: coroutine_call(self._queries, op) for op in COROUTINES.values()}}

    @property
    def events(self):
        return self._queries.ask("events")

    def get_events(self, topic=None):
        return self._queries.ask("events", topic=topic)

    def log_event(self, topic, msg):
        self._queries.ask("log_event", topic=topic, msg=msg)

    def get_metadata(self, keys, default=None):
        return self._queries.ask("get_metadata", keys=keys, default=default)

    def set_metadata(self, keys, value):
        self._queries.ask("set_metadata", keys=keys, value=value)

    async def broadcast(self, *, msg, **arguments):
        return await self._queries.ask_async("broadcast", msg=msg, **arguments)

    async def close(self, *_args, **_arguments):
        return await self._queries.ask_async("terminate")

    async def upload_file(self, filename, data, load=True):
        from _daskjob_graph_helper import place_file

        data = data.encode() if isinstance(data, str) else data
        place_file(self.local_directory, filename, data, load)
        await self._queries.ask_async("upload_file_to_helpers", filename=filename, data=data, load=load)
        return {"status": "OK", "nbytes": len(data)}

    async def register_worker_plugin(self, comm=None, plugin=None, name=None, idempotent=False):
        return await self._register("register_worker_plugin", plugin, name, idempotent)

    async def register_nanny_plugin(self, comm=None, plugin=None, name=None, idempotent=False):
        return await self._register("register_nanny_plugin", plugin, name, idempotent)

    async def unregister_worker_plugin(self, comm=None, name=None):
        return await self._queries.ask_async("unregister_worker_plugin", name=name)

    async def unregister_nanny_plugin(self, comm=None, name=None):
        return await self._queries.ask_async("unregister_nanny_plugin", name=name)

    async def _register(self, op, plugin, name, idempotent):
        return await self._queries.ask_async(op, plugin=plugin, name=name, idempotent=idempotent)

    def add_plugin(self, plugin, *, idempotent=False, name=None, **_arguments):
        name = name or plugin_name(plugin)
        if name in self.plugins and idempotent:
            return
        refuse_hooks(plugin)
        self.plugins[name] = plugin

    def remove_plugin(self, name=None):
        try:
            del self.plugins[name]
        except KeyError:
            raise ValueError(f"Could not find plugin {name!r} among the current scheduler plugins") from None


TABLES = {"tasks", "workers", "clients", "task_groups", "task_prefixes"}


def plain_call(queries: Queries, op: str):
    def call(**arguments):
        return queries.ask(op, **arguments)

    return call


def coroutine_call(queries: Queries, op: str):
    async def call(*positional, **arguments):
        if positional:
            raise TypeError(f"{op} takes keyword arguments only in the daskjob scheduler")
        return await queries.ask_async(op, **arguments)

    return call


def monitor_of_scheduler():
    import psutil
    from distributed.system_monitor import SystemMonitor

    monitor = SystemMonitor(monitor_gil_contention=False)
    # The scheduler has started this process.
    monitor.proc = psutil.Process(os.getppid())
    return monitor


def status_running():
    from distributed.core import Status

    return Status.running


def plugin_name(plugin) -> str:
    from distributed.diagnostics.plugin import _get_plugin_name

    return _get_plugin_name(plugin)


def overridden_hooks(plugin) -> set:
    from distributed.diagnostics.plugin import SchedulerPlugin

    def own(hook):
        function = getattr(type(plugin), hook, None)
        return hook in vars(plugin) or (function is not None and function is not getattr(SchedulerPlugin, hook, None))

    return {hook for hook in KNOWN_HOOKS if own(hook)}


def refuse_hooks(plugin) -> None:
    unsupported = sorted(overridden_hooks(plugin) - SUPPORTED_HOOKS)
    if unsupported:
        raise NotImplementedError(
            f"the scheduler plugin {type(plugin).__name__} overrides {', '.join(unsupported)}, which the daskjob scheduler "
            f"does not call; it calls {', '.join(sorted(SUPPORTED_HOOKS))}. `engine: dask` in a job, or "
            "distributed.LocalCluster in Python, does"
        )


class Functions:
    """Serves the functions' side of the channel."""

    def __init__(self, helper):
        self.helper = helper
        self.queries = Queries(helper)
        self.shim = SchedulerShim(self.queries, helper.options["local_directory"])
        self.background: set = set()
        self.preloads = None
        self.hooks_lock = asyncio.Lock()

    async def run(self, header: dict, blobs: list):
        """As `distributed.worker.run`: the reply to `run_function`."""
        from distributed.core import error_message
        from distributed.protocol import pickle, to_serialize
        from distributed.utils import has_arg, iscoroutinefunction

        pickles = dict(zip(header["fields"], map(bytes, blobs)))
        function = pickle.loads(pickles["function"])
        args = pickle.loads(pickles["args"]) if pickles.get("args") else ()
        kwargs = pickle.loads(pickles["kwargs"]) if pickles.get("kwargs") else {}
        is_coroutine = iscoroutinefunction(function)
        assert header["wait"] or is_coroutine, "Combination not supported"
        if has_arg(function, "dask_scheduler"):
            kwargs["dask_scheduler"] = self.shim
        try:
            if not is_coroutine:
                result = function(*args, **kwargs)
            elif header["wait"]:
                result = await function(*args, **kwargs)
            else:
                task = asyncio.ensure_future(function(*args, **kwargs))
                self.background.add(task)
                task.add_done_callback(self.background.discard)
                result = None
        except Exception as error:
            logger.warning("Run Failed\nFunction: %r", function, exc_info=True)
            return error_message(error)
        return {"status": "OK", "result": to_serialize(result)}

    def group_workers(self, blobs: list) -> dict:
        """Workers for which the user's function is equal get the same number."""
        from distributed.protocol import pickle

        function = pickle.loads(bytes(blobs[0]))
        numbers: dict = {}
        return {
            address: numbers.setdefault(function(worker), len(numbers)) for address, worker in self.shim.workers.items()
        }

    async def add_plugin(self, header: dict, blobs: list):
        from distributed.diagnostics.plugin import SchedulerPlugin
        from distributed.protocol import pickle

        plugin = pickle.loads(bytes(blobs[0]))
        assert isinstance(plugin, SchedulerPlugin), f"{plugin!r} is no SchedulerPlugin"
        name = header["name"] or plugin_name(plugin)
        if name in self.shim.plugins and header["idempotent"]:
            return None
        refuse_hooks(plugin)
        result = plugin.start(self.shim)
        if inspect.isawaitable(result):
            await result
        self.shim.add_plugin(plugin, name=name, idempotent=header["idempotent"])
        return {"name": name, "hooks": sorted(overridden_hooks(plugin))}

    async def remove_plugin(self, header: dict):
        self.shim.remove_plugin(header["name"])

    async def hook(self, header: dict, blobs: list):
        """Calls a hook of all plugins, one event after the other; what one raises is logged, as in stock."""
        from _daskjob_graph_helper import frames_value

        arguments = frames_value(blobs)
        async with self.hooks_lock:
            for plugin in list(self.shim.plugins.values()):
                try:
                    before = (self.shim,) if header["scheduler"] else ()
                    result = getattr(plugin, header["name"])(*before, **arguments)
                    if inspect.isawaitable(result):
                        await asyncio.wait_for(result, HOOK_LIMIT_SECONDS)
                except Exception:
                    logger.exception("Plugin call failed during scheduler.%s", header["name"])

    async def close(self) -> None:
        """The scheduler ends: preloaded modules and plugins hear of it, in stock's order."""
        if self.preloads is not None:
            await self.preloads.teardown()
        for hook in ("before_close", "close"):
            for plugin in list(self.shim.plugins.values()):
                try:
                    result = getattr(plugin, hook)()
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    logger.exception("Plugin call failed during scheduler.%s", hook)

    async def handle(self, kind: int, header: dict, blobs: list):
        import _daskjob_graph_helper as wire

        if kind == wire.RUN:
            return await self.run(header, blobs)
        if kind == wire.PLUGIN_ADD:
            return await self.add_plugin(header, blobs)
        if kind == wire.PLUGIN_REMOVE:
            return await self.remove_plugin(header)
        if kind == wire.HOOK:
            return await self.hook(header, blobs)
        if kind == wire.UPLOAD:
            return wire.place_file(header["directory"], header["name"], bytes(blobs[0]), header["load"])
        if kind == wire.CLOSE:
            return await self.close()
        if kind == wire.GROUP_WORKERS:
            return self.group_workers(blobs)
        raise NotImplementedError(f"the functions' helper does not know message {kind}")

    async def answer(self, kind: int, request: int, header: dict, blobs: list) -> None:
        from _daskjob_graph_helper import TAKEN, VALUE, value_frames

        # As long as this is not said, the thread that runs user code is in somebody's hands.
        self.helper.channel.send(TAKEN, request, b"\x80")
        try:
            frames = value_frames(await self.handle(kind, header, blobs))
            self.helper.send(VALUE, request, {}, frames)
        except BaseException as error:
            self.helper.send_error(request, error)

    def read(self, loop: asyncio.AbstractEventLoop) -> None:
        """The reading thread: answers go to whoever waits, requests into the loop."""
        from _daskjob_graph_helper import ANSWER

        try:
            while True:
                kind, request, header, blobs = self.helper.channel.receive()
                if kind == ANSWER:
                    self.queries.answered(request, header, blobs)
                else:
                    loop.call_soon_threadsafe(self.start, kind, request, header, blobs)
        except BaseException:
            # The scheduler is gone.
            os._exit(0)

    def start(self, kind: int, request: int, header: dict, blobs: list) -> None:
        task = asyncio.ensure_future(self.answer(kind, request, header, blobs))
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def serve(self) -> None:
        from distributed.preloading import process_preloads
        from tornado.ioloop import IOLoop

        self.shim.loop = self.shim.io_loop = IOLoop.current()
        threading.Thread(target=self.read, args=(asyncio.get_running_loop(),), daemon=True).start()
        options = self.helper.options
        if options["preload"]:
            directory = options["local_directory"]
            os.makedirs(directory, exist_ok=True)
            argv = options["preload_argv"]
            self.preloads = process_preloads(self.shim, options["preload"], argv, file_dir=directory)
            await self.preloads.start()
        from _daskjob_graph_helper import TAKEN

        self.helper.channel.send(TAKEN, 0, b"\x80")
        await asyncio.Event().wait()


async def main(helper) -> None:
    await Functions(helper).serve()


def serve(helper) -> None:
    import gc

    gc.enable()  # user code may run here for as long as the scheduler lives
    asyncio.run(main(helper))

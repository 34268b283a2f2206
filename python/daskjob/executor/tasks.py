"""The task threads: `nthreads` that take what the control thread queued, run it and post what became of it.

Owns which runs wait and which run, and the slots. Must not know the line's format nor the state machine. Invariants: a
run is claimed once (`waiting.pop`), by a thread or by a withdrawal; what a run says, it says in order, from one thread at
a time. Threads are those of a pool that `distributed` could have made: `secede`, `rejoin` and `submit` work on it.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import queue
import threading
import time
import traceback

import dask
from dask.context import thread_state
from distributed import Reschedule
from distributed.threadpoolexecutor import ThreadPoolExecutor
from distributed.threadpoolexecutor import thread_state as pool_state
from distributed.worker import _worker_cvar

from . import outcomes, specs
from .line import LINE_ERROR, end
from .values import MISSING

SHORT_SECONDS = 0.001


class Run:
    """One execution of a task, asked for and not yet answered."""

    __slots__ = ("number", "key", "spec", "dependencies", "options", "task", "start", "seceded", "thread", "shown", "cancelled")

    def __init__(self, number, key, spec, dependencies, options):
        self.number, self.key, self.spec = number, key, spec
        #: [(key, what was held under it)]
        self.dependencies = dependencies
        self.options = options
        #: `shown` is what `worker.state.tasks` gave for it.
        self.task = self.start = self.thread = self.shown = None
        #: Cancelled: what it makes must not be held. Read and written with the lock of the values.
        self.seceded = self.cancelled = False

    @property
    def annotations(self) -> dict:
        return self.options.get("annotations") or {}


class TaskPool(ThreadPoolExecutor):
    """A pool whose queue holds runs beside the work items that others submit."""

    def __init__(self, tasks: Tasks, nthreads: int, prefix: str):
        super().__init__(nthreads, thread_name_prefix=prefix)
        self.tasks = tasks
        self._work_queue = queue.SimpleQueue()
        self.numbers = itertools.count()

    def start(self) -> None:
        while len(self._threads) < self._max_workers:
            self.add_thread()

    def add_thread(self) -> None:
        name = f"{self._thread_name_prefix}-{os.getpid()}-{next(self.numbers)}"
        thread = threading.Thread(target=self.tasks.work, args=(self,), name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _adjust_thread_count(self) -> None:
        """`secede` calls it from the task's thread when that has just left."""
        if len(self._threads) < self._max_workers:
            self.add_thread()
        run = thread_state.__dict__.get("daskjob_run")
        if run is not None and not run.seceded and threading.current_thread() not in self._threads:
            self.tasks.secede(run)

    def replace(self, thread) -> None:
        """A thread that waits for a run elsewhere has lost its slot."""
        self._threads.discard(thread)
        if len(self._threads) < self._max_workers:
            self.add_thread()

    def has_left_for_another(self) -> bool:
        """Whether this thread gives its place to one that wants to rejoin."""
        with self._rejoin_lock:
            if not self._rejoin_list:
                return False
            thread, event = self._rejoin_list.pop()
            self._threads.add(thread)
            self._threads.discard(threading.current_thread())
            event.set()
            return True


class Tasks:
    """What is to run, what runs, and how."""

    def __init__(self, line, values, nthreads: int, prefix: str):
        self.line, self.values = line, values
        #: Those that nobody has claimed, and all that are not answered.
        self.waiting: dict[int, Run] = {}
        self.runs: dict[int, Run] = {}
        self.starts = specs.SharedStarts()
        self.types = outcomes.Types()
        self.pool = TaskPool(self, nthreads, prefix)
        self.worker = None
        self.loop = None
        #: When results were last sent; a task's short delay is bounded by it and by the clockwork.
        self.sent = 0.0

    # -- from the worker -----------------------------------------------------------------------------------------------

    def add(self, run: Run) -> None:
        self.runs[run.number] = self.waiting[run.number] = run
        self.pool._work_queue.put(run.number)

    def withdraw(self, numbers) -> None:
        self.line.post(["withdrawn", self.unclaimed(numbers)])

    def unclaimed(self, numbers) -> list[int]:
        """Those of them that have not begun, and now never will."""
        given_back = [number for number in numbers if self.waiting.pop(number, None) is not None]
        for number in given_back:
            del self.runs[number]
        return given_back

    def cancel(self, numbers) -> None:
        """What has begun goes on and is answered when it ends, but leaves no value behind."""
        given_back = self.unclaimed(numbers)
        with self.values.lock:
            for number in numbers:
                if (run := self.runs.get(number)) is not None:
                    run.cancelled = True
        if given_back:
            self.line.post(["withdrawn", given_back])

    def run_with(self, key) -> Run | None:
        """The run of a key, waiting or running."""
        return next((run for run in list(self.runs.values()) if run.key == key and not run.cancelled), None)

    # -- a thread of the pool ------------------------------------------------------------------------------------------

    def work(self, pool: TaskPool) -> None:
        try:
            self.take_turns(pool)
        except BaseException:  # ours, not a task's: a slot would be lost and its run never answered
            traceback.print_exc()
            end(LINE_ERROR, "a task thread failed")

    def take_turns(self, pool: TaskPool) -> None:
        proceeds = pool_state.__dict__
        proceeds["proceed"], proceeds["executor"] = True, pool
        state = thread_state.__dict__
        state["execution_state"] = self.worker.execution_state
        context = contextvars.Context()
        context.run(_worker_cvar.set, self.worker)
        ident = threading.get_ident()
        line, outbox, empty = self.line, self.line.outbox, pool._work_queue.empty
        get, claim, now = pool._work_queue.get, self.waiting.pop, time.time
        rejoining = pool._rejoin_list
        while proceeds["proceed"]:
            if rejoining and pool.has_left_for_another():
                break
            item = get()
            if type(item) is not int:
                if item is None:
                    pool._work_queue.put(None)
                    break
                state.pop("key", None)
                state.pop("start_time", None)
                item.run()
                continue
            run = claim(item, None)
            if run is None:  # withdrawn
                if outbox and empty():
                    line.flush()  # a result before it counted on this one's turn
                continue
            if outbox and run.options.get("duration", 1) >= SHORT_SECONDS:
                line.flush()
            stop = self.perform(run, state, context, ident, now)
            run = item = None
            if empty() or stop - self.sent >= SHORT_SECONDS:
                self.sent = stop
                line.flush()
        line.flush()

    def perform(self, run: Run, state: dict, context, ident: int, now) -> float:
        """Runs it and posts what became of it; when that was."""
        try:
            data = {}
            for key, entry in run.dependencies:
                data[key] = self.dependency(key, entry)
            task, is_coroutine = specs.open_spec(run.spec, self.starts)
            elsewhere = self.place(run) if is_coroutine or run.annotations else None
        except BaseException as error:
            outcomes.without_our_frames(error)
            self.runs.pop(run.number, None)
            self.line.outbox.append(outcomes.erred(run.number, error, None, None, ident))
            return now()
        run.spec = run.dependencies = None
        run.task = task
        if is_coroutine or elsewhere is not None:
            return self.perform_elsewhere(run, task, data, elsewhere)
        key = run.key
        worker = self.worker
        state["key"], state["daskjob_run"] = key, run
        worker.active_threads[ident] = key
        call = context.copy().run
        if run.options:
            task = self.annotated(run, task)
        state["start_time"] = run.start = start = now()
        try:
            value = call(task, data)
            stop = now()
            message = outcomes.done(run.number, value, self.types, start, stop, ident)
        except BaseException as error:
            stop = now()
            message = self.failed(run, error, start, stop, ident)
        else:
            if not self.keep(run, value):
                message = ["withdrawn", [run.number]]
        self.runs.pop(run.number, None)
        worker.active_threads.pop(ident, None)
        state["daskjob_run"] = None
        self.line.outbox.append(message)
        return stop

    def dependency(self, key, entry):
        if entry is not MISSING:
            return self.values.open(key, entry)
        proxy = contextvars.Context().run(self.values.proxy_of_actor, key)
        if proxy is None:
            raise KeyError(key)
        return proxy

    def keep(self, run: Run, value) -> bool:
        """False where nobody wants it any more; with the lock, so that it cannot replace what is put there behind that."""
        with self.values.lock:
            if run.cancelled:
                return False
            if run.options and run.options.get("actor"):
                self.worker.state.actors[run.key] = value
            else:
                self.values.hold(run.key, value)
        return True

    def failed(self, run: Run, error: BaseException, start, stop, ident) -> list:
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self.line.flush()
            code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
            end(code or 1, f"task {run.key!r} raised {error!r}, which ends the worker")
        if isinstance(error, Reschedule):
            return ["rescheduled", run.number, start, stop, ident]
        outcomes.without_our_frames(error)
        message = outcomes.erred(run.number, error, start, stop, ident)
        self.worker.log_failure(run, message[4], message[5])
        return message

    def annotated(self, run: Run, task):
        """What the task submits carries its span, as in stock."""
        span = run.annotations.get("span")
        if span is None:
            return task

        def call(data):
            with dask.annotate(span=span):
                return task(data)

        return call

    def secede(self, run: Run) -> None:
        run.seceded = True
        self.line.post(["seceded", run.number, time.time() - (run.start or time.time())])

    def seceded_elsewhere(self, key) -> None:
        """A task of a named executor said so: the thread that waits for it loses its slot."""
        run = self.run_with(key)
        if run is not None and not run.seceded and run.thread is not None:
            self.secede(run)
            self.pool.replace(run.thread)

    # -- coroutines and named executors --------------------------------------------------------------------------------

    def place(self, run: Run):
        """The executor a task asks for; None: here."""
        name = run.annotations.get("executor", "default")
        executors = self.worker.executors
        if name not in executors:
            raise ValueError(f"Invalid executor {name!r}: this worker has {sorted(executors)}")
        executor = executors[name]
        return None if executor is self.pool else executor

    def perform_elsewhere(self, run: Run, task, data, executor) -> float:
        """The thread waits: the run occupies its slot."""
        from . import elsewhere

        run.thread = threading.current_thread()
        thread_state.key = run.key
        message, value = elsewhere.result(self, run, task, data, executor)
        if message[0] == "done" and not self.keep(run, value):
            message = ["withdrawn", [run.number]]
        self.runs.pop(run.number, None)
        if run.seceded:
            pool_state.proceed = False  # another thread has this one's place
        self.line.outbox.append(message)
        return time.time()

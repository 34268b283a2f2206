"""Tasks that do not run on the thread that took them: coroutine functions on the event loop, others in named executors.

Each gives (message, value) back to the waiting thread. Must not post or keep anything itself.
"""

from __future__ import annotations

import asyncio
import threading
import time

from dask.context import thread_state
from distributed.worker import _run_task_simple, _worker_cvar

from . import outcomes


def result(tasks, run, task, data, executor):
    try:
        if executor is None:
            return asyncio.run_coroutine_threadsafe(on_the_loop(tasks, run, task, data), tasks.loop).result()
        if "ThreadPoolExecutor" in str(type(executor)):
            return executor.submit(in_a_thread, tasks, run, task, data).result()
        return from_stock(run, tasks, executor.submit(_run_task_simple, task, data, 0.0).result())
    except BaseException as error:  # the executor's own trouble: shut down, broken, cannot pickle the task
        outcomes.without_our_frames(error)
        return outcomes.erred(run.number, error, None, None, threading.get_ident()), None


async def on_the_loop(tasks, run, task, data):
    _worker_cvar.set(tasks.worker)
    ident = threading.get_ident()
    run.start = start = time.time()
    try:
        value = await task(data)
        return outcomes.done(run.number, value, tasks.types, start, time.time(), ident), value
    except BaseException as error:
        return tasks.failed(run, error, start, time.time(), ident), None


def in_a_thread(tasks, run, task, data):
    worker, ident = tasks.worker, threading.get_ident()
    state = thread_state.__dict__
    before = dict(state)
    token = _worker_cvar.set(worker)
    worker.active_threads[ident] = run.key
    run.start = start = time.time()
    state.update(key=run.key, start_time=start, execution_state=worker.execution_state)
    try:
        value = tasks.annotated(run, task)(data)
        return outcomes.done(run.number, value, tasks.types, start, time.time(), ident), value
    except BaseException as error:
        return tasks.failed(run, error, start, time.time(), ident), None
    finally:
        worker.active_threads.pop(ident, None)
        _worker_cvar.reset(token)
        state.clear()
        state.update(before)


def from_stock(run, tasks, said: dict):
    """What stock's own function says that ran in a process of the user's pool."""
    start, stop, thread = said["start"], said["stop"], said["thread"]
    if said["op"] == "task-finished":
        value = said["result"]
        return outcomes.done(run.number, value, tasks.types, start, stop, thread), value
    error = said["actual_exception"]
    try:
        raise error
    except BaseException:
        message = tasks.failed(run, error, start, stop, thread)
    if message[0] == "erred":
        trace = said["traceback"]
        message[2:6] = [
            outcomes.bare(said["exception"]),
            None if trace is None else outcomes.bare(trace),
            outcomes.printable(said["exception_text"]),
            outcomes.printable(said["traceback_text"]),
        ]
    return message, None

"""From start to end of the executor's process.

Owns signals, the lifeline, the order in which things begin and end, and the event loop of the main thread.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import gc
import os
import select
import signal
import sys
import threading
import traceback

REFUSED = 70
CLOSING_SECONDS = 20


def main(channel, lifeline: int | None) -> None:
    faulthandler.enable()
    gc.disable()  # until everything is imported
    sys.stdout.reconfigure(line_buffering=True)  # what tasks print is in the log when they did
    if lifeline is not None:
        die_with(lifeline)
    for number in (signal.SIGINT, signal.SIGTERM):
        # The worker's to handle. Unlike SIG_IGN, a handler is not inherited by programs that tasks start.
        signal.signal(number, lambda *_: None)
    goes_first()
    try:
        from . import line

        the_line = line.Line(channel)
    except ImportError as error:
        refuse(channel, error)
    try:
        messages, descriptors = the_line.receive()
        name, settings = messages[0][:2]
        if name != "start":
            raise line.Broken(f"the first message is {name!r}, not 'start'")
    except line.Gone:
        line.end(0)
    except Exception as error:
        line.end(line.LINE_ERROR, f"error of the line: {error}")
    try:
        asyncio.run(live(channel, the_line, settings, messages[1:], descriptors))
    except SystemExit as error:  # a function of `client.run` or a plugin
        line.end(error.code if isinstance(error.code, int) and error.code else 1, f"ended by {error!r}")
    except BaseException:
        traceback.print_exc()
        line.end(line.LINE_ERROR, "the event loop failed")
    atexit._run_exitfuncs()
    line.end(0)


async def live(channel, line, settings: dict, messages, descriptors) -> None:
    if settings.get("role") == "nanny":
        from . import nanny

        return await nanny.live(line, settings, messages, descriptors, lambda error: refuse(channel, error))
    try:
        worker, values, tasks = await make(line, settings)
    except Exception as error:
        refuse(channel, error)
    from .clockwork import Clockwork
    from .control import Control
    from .worker import profile_seconds

    loop = asyncio.get_running_loop()
    closing = loop.create_future()
    clockwork = Clockwork(line, tasks, worker, profile_seconds())
    control = Control(line, values, tasks, worker, clockwork, loop, closing)
    await announce(line, worker)
    gc.freeze()
    gc.enable()
    tasks.pool.start()
    begin("daskjob-values", guarded, values.serve)
    begin("daskjob-clockwork", guarded, clockwork.run)
    begin("daskjob-control", control.run, messages, descriptors)
    hearing = loop.create_task(control.hear_in_order())
    await closing
    begin("daskjob-closing", end_in, CLOSING_SECONDS)
    hearing.cancel()
    try:
        await worker.take_down()
    except Exception:
        traceback.print_exc()
    await let_executors_go(worker)


async def make(line, settings: dict):
    """The worker and what it holds; raises what keeps it from being."""
    from collections import deque

    from distributed.core import Status
    from tornado.ioloop import IOLoop

    from . import memory
    from .tasks import Tasks
    from .values import Values
    from .worker import Worker

    memory.Open.raise_limit()
    memory.Receipt.begin(line.post)
    loop = IOLoop.current()
    loop.profile = deque()  # else the worker starts a thread that profiles this loop
    name = settings.get("name")
    values = Values(line, settings.get("memory_limit"), lambda key: worker.proxy_of_actor(key))
    prefix = "Dask-Default-Threads" if name is None else f"{name}-Dask-Default-Threads"
    tasks = Tasks(line, values, settings["nthreads"], prefix)
    worker = Worker(settings, line, values, tasks)
    tasks.worker, tasks.loop = worker, asyncio.get_running_loop()
    await worker.begin()
    worker._status = Status.running
    return worker, values, tasks


async def announce(line, worker) -> None:
    from . import memory

    worker.told_handlers = worker.added_handlers()
    worker.is_ready = True
    information = await worker.get_startup_information()
    probe = os.urandom(16)
    worker.probe = memory.Lent(probe)  # while this lives
    facts = {
        "pid": os.getpid(),
        "versions": worker.versions(),
        "handlers": worker.told_handlers,
        "startup_information": {name: value for name, value in information.items() if is_plain(name, value)},
        "probe": [worker.probe.address, probe],
    }
    line.post(["ready", facts])


def is_plain(name, value) -> bool:
    import msgpack

    try:
        msgpack.packb([name, value])
    except Exception:
        return False
    return True


async def let_executors_go(worker) -> None:
    """Pools of the user's: their processes would outlive us."""
    from distributed import utils

    ours = (worker.executors["actor"], worker.executors["default"], utils._offload_executor)
    for executor in worker.executors.values():
        if executor not in ours:
            await asyncio.to_thread(executor.shutdown)


def guarded(target) -> None:
    """A thread of ours that fails would leave the worker waiting."""
    from . import line

    try:
        target()
    except BaseException:
        traceback.print_exc()
        line.end(line.LINE_ERROR, f"{threading.current_thread().name} failed")


def begin(name: str, target, *arguments) -> None:
    threading.Thread(target=target, args=arguments, name=name, daemon=True).start()


def end_in(seconds: float) -> None:
    """Whatever a teardown or an exit handler does."""
    import time

    time.sleep(seconds)
    os._exit(0)


def refuse(channel, error: BaseException) -> None:
    """Written by hand: msgpack may be what is missing."""
    words = ["refused", describe(error), "".join(traceback.format_exception(error))]
    body = b"\x91\x93"
    for word in words:
        data = word.encode("utf-8", "backslashreplace")
        body += b"\xdb" + len(data).to_bytes(4, "big") + data
    try:
        channel.sendall(len(body).to_bytes(4, "little") + bytes(4) + body)
    except OSError:
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(REFUSED)


def describe(error: BaseException) -> str:
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing in ("dask", "distributed", "msgpack", "tornado"):
        return f"{sys.executable} has no distributed: {text}"
    return text


def die_with(lifeline: int) -> None:
    """The kernel ends this process when the worker's end of the pipe closes, even inside a hanging C call."""
    import fcntl

    os.set_inheritable(lifeline, False)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(0)  # it closed before we asked to be told


def goes_first() -> None:
    """Of worker and executor, the kernel's out-of-memory killer is to take us: the worker tells why."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass

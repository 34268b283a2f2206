"""Pickles functions and plugins as clients send them to the scheduler: `functions.py NAME [NAME…]`.

They return texts, because Dask serialises collections item by item.
"""

import os
import struct
import sys
import tempfile
import time

import cloudpickle
from distributed.diagnostics.plugin import SchedulerPlugin, SchedulerUploadFile


def workers(dask_scheduler):
    return repr([(worker.address, worker.name, worker.nthreads) for worker in dask_scheduler.workers.values()])


def tasks(dask_scheduler):
    def place(task):
        [worker] = task.who_has or [task.processing_on]
        return worker.address

    tables = dask_scheduler.tasks.values()
    assert all(task.group.prefix.name == "x" and len(task.who_wants) == 1 for task in tables)
    return repr([(task.key, task.state, [other.key for other in task.dependents], place(task)) for task in tables])


def facts(dask_scheduler):
    return repr((dask_scheduler.address, dask_scheduler.id, dask_scheduler.total_nthreads))


def operation(dask_scheduler):
    asked = dask_scheduler.get_who_has(keys=["x"])
    return repr((asked["op"], list(asked["arguments"])))


def monitor(dask_scheduler):
    before = dask_scheduler.monitor.count
    recent = dask_scheduler.monitor.recent()
    dask_scheduler.periodic_callbacks["mine"] = None
    assert before >= 1 and recent["memory"] > 0 and dask_scheduler.monitor.proc.pid == os.getppid()
    return repr(sorted({"identity", "gather"} & set(dask_scheduler.handlers)))


async def coroutine(dask_scheduler):
    return (await dask_scheduler.retire_workers(workers=["a"]))["op"]


def refused(dask_scheduler):
    try:
        dask_scheduler.transitions({})
    except AttributeError as error:
        assert "not available" in str(error)
        return "AttributeError: transitions"


def raises_from_query(dask_scheduler):
    return dask_scheduler.get_metadata(["x"])


def raises():
    return 1 / 0


def leaves(dask_scheduler):
    dask_scheduler.something = "left"


def finds(dask_scheduler):
    return getattr(dask_scheduler, "something", None)


async def background(dask_scheduler):
    import asyncio

    await asyncio.sleep(0.1)
    dask_scheduler.something = "left"


def dies():
    os._exit(9)


def hangs():
    time.sleep(3600)


def takes_long():
    time.sleep(1.2)
    return "done"


async def waits_for_ever():
    import asyncio

    await asyncio.Event().wait()


def heard(dask_scheduler):
    return repr(dask_scheduler.plugins["mine"].heard)


class Plugin(SchedulerPlugin):
    name = "mine"

    async def start(self, scheduler):
        self.heard = ["start"]

    def add_worker(self, scheduler, worker):
        self.heard.append(worker)

    def add_client(self, scheduler, client):
        self.heard.append(client)

    def remove_client(self, scheduler, client):
        self.heard.append(f"no {client}")

    def restart(self, scheduler):
        self.heard.append("restart")


class TransitionPlugin(SchedulerPlugin):
    def transition(self, *args, **kwargs):
        pass


def uploading(name, source):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, name)
        with open(path, "w") as file:
            file.write(source)
        return SchedulerUploadFile(path)


def made(name):
    if name == "plugin":
        return Plugin()
    if name == "transition_plugin":
        return TransitionPlugin()
    if name == "upload":
        return uploading("uploaded_by_plugin.py", "ANSWER = 42\n")
    if name == "upload_broken":
        return uploading("broken_module.py", "raise ValueError('is broken')\n")
    return globals()[name]


for name in sys.argv[1:]:
    data = cloudpickle.dumps(made(name))
    sys.stdout.buffer.write(struct.pack("<Q", len(data)) + data)

"""Preloaded into workers: tells the test of the first task that a worker has run, and where the worker says it is."""

from distributed.diagnostics.plugin import WorkerPlugin

from cue import tell


class Witness(WorkerPlugin):
    name = "witness"

    def setup(self, worker):
        self.worker = worker
        self.told = False

    def transition(self, key, start, finish, **kwargs):
        if finish == "memory" and start == "executing" and not self.told:
            self.told = True
            tell("ran", f"{self.worker.name} {self.worker.address}")


async def dask_setup(worker):
    await worker.plugin_add(Witness())

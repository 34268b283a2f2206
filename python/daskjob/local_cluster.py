"""A Dask cluster on this machine, of daskjob's scheduler and workers.

Owns what a user may ask for and what that means for the programs' flags. How processes live and die is `processes`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import numbers
import os
import sys
import tempfile
import uuid
import weakref

from dask.system import CPU_COUNT
from distributed.core import Status
from distributed.deploy.spec import SpecCluster
from distributed.deploy.utils import nprocesses_nthreads
from distributed.security import Security
from distributed.worker_memory import parse_memory_limit

from daskjob import methods, program
from daskjob.certificates import Certificates
from daskjob.processes import (
    BETWEEN_LOOKS_S,
    SHORT_LIVES,
    START_LIMIT_S,
    SchedulerProcess,
    StartError,
    WorkerProcess,
    logger,
)

LOOPBACK = "127.0.0.1"

# Of distributed's own LocalCluster, with what to do instead.
NOT_HERE = {
    "worker_class": "workers are programs here; distributed.LocalCluster takes classes",
    "services": "use preload",
    "worker_services": "use preload",
    "service_kwargs": "use dashboard_address",
    "blocked_handlers": "set distributed.scheduler.blocked-handlers in Dask's configuration",
    "scheduler_kwargs": "use scheduler_arguments, a list of flags of `daskjob scheduler`",
}


class LocalCluster(SpecCluster):
    """A scheduler and workers of daskjob on this machine, for as long as this object lives.

    It stands in for :class:`distributed.LocalCluster`; what both have works alike. All are processes of their own and end
    with this one, however this one ends.

    Parameters
    ----------
    name: str
        What to call the cluster where it is shown
    n_workers: int
        How many workers; by default as many processes as the machine's cores ask for
    threads_per_worker: int
        How many tasks a worker runs at once; by default the cores divided among the workers
    memory_limit: str, float, int or None
        Memory of each worker: ``"4 GiB"``, bytes, a fraction of the machine's, ``"auto"`` (the default) for an equal
        share, None or 0 for no limit. A worker keeps below it by writing values to disk, and waits before it breaks it
    resources: dict
        Abstract resources of each worker, like ``{"GPU": 1}``
    host: str
        Address to listen on, by default loopback only. Whoever can connect can run code
    interface, protocol: str
        Network interface to listen on; ``"tcp"`` or ``"tls"``
    scheduler_port: int
        Port of the scheduler; 0, the default, takes a free one
    dashboard_address: str or None
        Where the scheduler's page and metrics are, by default port 8787 of ``host`` if that is free; None for none
    worker_dashboard_address: str
        The same of the workers, by default a free port each
    silence_logs: int or None
        Level from which the programs' log is shown, by default warnings; None shows all that is of interest
    asynchronous: bool
        For use with ``await`` and ``async with``
    security: distributed.Security or True
        Certificates, in files or as text, for ``protocol="tls"``; True makes some for this cluster alone
    local_directory: str
        Where workers put their files
    preload: str or list of str
        Modules or files that every worker loads
    env: dict
        Variables of the workers
    scheduler_arguments, worker_arguments: list of str
        More flags: see ``daskjob scheduler --help`` and ``daskjob worker --help``

    Examples
    --------
    >>> from daskjob import LocalCluster
    >>> from distributed import Client
    >>> with LocalCluster(n_workers=4) as cluster, Client(cluster) as client:  # doctest: +SKIP
    ...     client.submit(sum, [1, 2]).result()
    3
    """

    def __init__(
        self,
        name: str | None = None,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        processes: bool | None = None,
        *,
        memory_limit: str | float | None = "auto",
        resources: dict[str, float] | None = None,
        host: str | None = None,
        interface: str | None = None,
        protocol: str | None = None,
        scheduler_port: int = 0,
        dashboard_address: str | int | None = ":8787",
        worker_dashboard_address: str | int | None = None,
        silence_logs: int | None = logging.WARN,
        asynchronous: bool = False,
        loop=None,
        security: Security | bool | None = None,
        local_directory: str | None = None,
        preload: str | list[str] | tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        scheduler_arguments: list[str] | tuple[str, ...] = (),
        worker_arguments: list[str] | tuple[str, ...] = (),
        scheduler_sync_interval: float = 1,
        **unknown,
    ):
        self.status = None
        _refuse(unknown, processes)
        if host is None and interface is None:
            host = LOOPBACK
        self.processes = True
        self._is_up = False
        self._failed_in_a_row = 0
        n_workers, threads_per_worker = _shape(n_workers, threads_per_worker)
        memory_limit = _memory_limit(memory_limit, n_workers)
        path = program.find()
        security = _security(security)
        if protocol is None and security is not None and security.require_encryption and "://" not in (host or ""):
            protocol = "tls"
        self._certificates = Certificates(security)
        methods.choose()
        # Also where nobody closes the cluster.
        self._let_go = weakref.finalize(self, methods.let_go)
        network = [
            *_flag("--host", host),
            *_flag("--interface", interface),
            *_flag("--protocol", protocol and protocol.removesuffix("://")),
            *_logging(silence_logs),
            *(["--python", sys.executable] if sys.executable else []),
        ]
        scheduler = {
            "cls": SchedulerProcess,
            "options": {
                "command": [
                    *(path, "scheduler", "--port", str(scheduler_port)),
                    *_dashboard(dashboard_address, host),
                    *network,
                    *self._certificates.flags("scheduler"),
                    *_words("scheduler_arguments", scheduler_arguments),
                ],
                "environment": program.environment(),
                "scheduler_file": os.path.join(tempfile.gettempdir(), f"daskjob-scheduler-{uuid.uuid4()}.json"),
            },
        }
        # What a worker holds goes elsewhere by the scheduler's doing, before it is told to end.
        worker = {
            "cls": WorkerProcess,
            "options": {
                "command": [
                    *(path, "worker", "--drain-timeout", "0", "--death-timeout", str(START_LIMIT_S)),
                    *("--dashboard-address", _with_host(worker_dashboard_address or ":0", host)),
                    *_flag("--resources", _resources(resources)),
                    *_flag("--local-directory", local_directory),
                    *_flag("--silence-logs", _level(silence_logs) and str(_level(silence_logs))),
                    *(word for module in _modules(preload) for word in ("--preload", module)),
                    *network,
                    *self._certificates.flags("worker"),
                    *_words("worker_arguments", worker_arguments),
                ],
                "environment": program.environment(env or {}),
                "nthreads": threads_per_worker,
                "memory_limit": memory_limit,
            },
        }
        super().__init__(
            name=name,
            scheduler=scheduler,
            workers={number: worker for number in range(n_workers)},
            worker=worker,
            asynchronous=asynchronous,
            loop=loop,
            security=security,
            silence_logs=silence_logs or False,
            scheduler_sync_interval=scheduler_sync_interval,
        )

    async def _start(self) -> None:
        await super()._start()
        self.scheduler.on_loss = weakref.WeakMethod(self._end_workers)
        if self.scheduler.is_lost:
            await self._end_workers()

    async def _end_workers(self) -> None:
        """Without a scheduler each would look for it for a minute."""
        await asyncio.gather(*(worker.close() for worker in list(self._created)))

    async def _close(self) -> None:
        if isinstance(self.scheduler, SchedulerProcess) and self.scheduler.is_lost:
            # Nobody is there to be told; trying would take as long as a connection may.
            self.shutdown_scheduler = False
            await self.scheduler.close()
        elif isinstance(self.scheduler, SchedulerProcess):
            self.scheduler.goes_last()
        await super()._close()
        self._let_go()
        self._certificates.remove()

    async def _correct_state_internal(self) -> None:
        await super()._correct_state_internal()
        if self.status == Status.running:
            await self._all_registered()

    async def _all_registered(self) -> None:
        """Until the scheduler has every worker that was started, or one of them has failed to."""
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        while missing := [it for it in self.workers.values() if not self._is_settled(it)]:
            if asyncio.get_running_loop().time() > deadline:
                for worker in missing:
                    worker.failure = StartError(f"the scheduler has not heard of {worker.title} after {START_LIMIT_S} s")
                break
            await asyncio.sleep(BETWEEN_LOOKS_S)
        failed = [worker for worker in self.workers.values() if worker.failure is not None]
        if failed and not self._is_up:
            raise failed[0].failure
        self._is_up = True
        for worker in failed:
            await self._give_up(worker)

    async def _give_up(self, worker: WorkerProcess) -> None:
        """Nobody waits for what `scale` or `adapt` has started: that it failed is told, once, and another may be tried."""
        failure, worker.failure = worker.failure, None
        self._failed_in_a_row += 1
        if self._failed_in_a_row > SHORT_LIVES:
            # As in stock it counts as one that was asked for: who adapts would go on like this forever.
            logger.error("%s\nno other is tried in its place: scale down, and up again once the cause is gone", failure)
            return
        logger.error("%s", failure)
        await worker.close()
        self.workers.pop(worker.name, None)
        self.worker_spec.pop(worker.name, None)

    def _is_settled(self, worker: WorkerProcess) -> bool:
        if not worker.registered and worker.name in self.observed:
            worker.registered = True
            self._failed_in_a_row = 0
        return worker.registered or worker.failure is not None or worker.status != Status.running

    def _update_worker_status(self, op, msg):
        super()._update_worker_status(op, msg)
        for worker in self.workers.values():
            self._is_settled(worker)


def _refuse(unknown: dict, processes: bool | None) -> None:
    if processes is not None and not processes:
        raise ValueError("processes=False: workers are always processes here; distributed.LocalCluster has threads")
    for name in unknown:
        remedy = NOT_HERE.get(name, "see help(daskjob.LocalCluster) for what there is")
        raise TypeError(f"daskjob.LocalCluster has no argument {name!r}: {remedy}")


def _shape(n_workers: int | None, threads: int | None) -> tuple[int, int]:
    """How many workers of how many threads, as distributed would choose."""
    for name, value, least in (("n_workers", n_workers, 0), ("threads_per_worker", threads, 1)):
        if value is not None and (not isinstance(value, numbers.Integral) or value < least):
            raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    if n_workers is None and threads is None:
        return nprocesses_nthreads()
    if n_workers is None:
        return max(1, CPU_COUNT // threads), threads
    return int(n_workers), int(threads or max(1, math.ceil(CPU_COUNT / max(1, n_workers))))


def _memory_limit(limit: str | float | None, n_workers: int) -> int | None:
    try:
        return parse_memory_limit(limit, 1, max(1, n_workers), logger=logger)
    except (ValueError, TypeError) as error:
        raise ValueError(f"memory_limit must be like '4 GiB', 0.5 or a number of bytes, not {limit!r}: {error}") from None


def _flag(flag: str, value: str | None) -> list[str]:
    return [flag, value] if value else []


def _resources(resources: dict[str, float] | None) -> str:
    return " ".join(f"{name}={amount}" for name, amount in (resources or {}).items())


def _modules(preload: str | list[str] | tuple[str, ...]) -> list[str]:
    return [preload] if isinstance(preload, str) else list(preload)


def _words(name: str, arguments: list[str] | tuple[str, ...]) -> list[str]:
    if isinstance(arguments, str):
        raise TypeError(f"{name} must be a list of flags, such as {arguments.split()!r}, not the text {arguments!r}")
    return [str(argument) for argument in arguments]


def _dashboard(address: str | int | None, host: str | None) -> list[str]:
    if address is None:
        return ["--no-dashboard", "--dashboard-address", _with_host(":0", host)]
    return ["--dashboard-address", _with_host(address, host)]


def _with_host(address: str | int, host: str | None) -> str:
    """A port alone is one of the cluster's own host."""
    address = f":{address}" if str(address).isdigit() else str(address)
    if not address.startswith(":"):
        return address
    host = (host or "").partition("://")[2] or host or ""
    return f"[{host}]{address}" if ":" in host and not host.startswith("[") else f"{host}{address}"


def _security(security: Security | bool | None) -> Security | None:
    if security is None or security is False:
        return None
    if security is True:
        return Security.temporary()
    if not isinstance(security, Security):
        raise TypeError(f"security must be a distributed.Security with certificates, or True, not {security!r}")
    return security


def _logging(silence_logs: int | None) -> list[str]:
    if "DASKJOB_LOG" in os.environ:
        return []
    if not silence_logs:
        return ["--log", "info"]
    level = _level(silence_logs)
    names = [(logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info")]
    return ["--log", next((name for number, name in names if level >= number), "debug")]


def _level(silence_logs: int | str | None) -> int:
    """0 where nothing is silenced."""
    return logging.getLevelName(silence_logs.upper()) if isinstance(silence_logs, str) else int(silence_logs or 0)

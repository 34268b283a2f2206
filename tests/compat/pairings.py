"""Which schedulers meet which workers: the rows of the compatibility table.

A pairing says how each process is started and nothing about what it must do. To add one, add a row to PAIRINGS; no test
needs to change.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys

STOCK_SCHEDULER = [sys.executable, "-m", "dask", "scheduler"]
STOCK_WORKER = [sys.executable, "-m", "dask", "worker"]

# Routes that stock Dask leaves off and the Kubernetes operator switches on; ours has them always.
STOCK_ROUTES = str(
    [
        "distributed.http.scheduler.prometheus",
        "distributed.http.scheduler.info",
        "distributed.http.scheduler.json",
        "distributed.http.scheduler.api",
        "distributed.http.health",
    ]
)


@dataclasses.dataclass(frozen=True)
class Pairing:
    """One scheduler implementation with one worker implementation."""

    name: str
    scheduler: str  # "native" or "stock"; what `differs` refers to
    worker: str
    scheduler_command: list[str]
    worker_command: list[str]
    scheduler_env: dict[str, str]
    worker_env: dict[str, str]
    missing: str = ""  # why it cannot run here; empty when it can


def native_program() -> str | None:
    """The daskjob program under test, or None."""
    named = os.environ.get("DASKJOB_BIN")
    found = shutil.which(named) if named else None
    return os.path.abspath(found) if found else None


def native_command() -> list[str]:
    """The scheduler of the program under test, which may be the one of several names or the scheduler alone."""
    program = native_program() or "daskjob"
    return [program] if os.path.basename(program).startswith("daskjob-scheduler") else [program, "scheduler"]


def native_worker() -> str:
    """The worker program, which is built beside the other."""
    return os.path.join(os.path.dirname(native_program() or ""), "daskjob-worker")


def _native_missing() -> str:
    if native_program():
        return "" if os.path.exists(native_worker()) else f"there is no {native_worker()}"
    named = os.environ.get("DASKJOB_BIN")
    if named:
        return f"DASKJOB_BIN={named} is not an executable file"
    return "DASKJOB_BIN is not set; it names the daskjob program that is to be tested"


# What to start each with, and in which environment.
SCHEDULERS = {
    "stock": (STOCK_SCHEDULER, {"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": STOCK_ROUTES}),
    "native": (native_command(), {"DASKJOB_PYTHON": sys.executable}),
}
WORKERS = {
    "stock": (STOCK_WORKER, {}),
    "native": ([native_worker()], {"DASKJOB_PYTHON": sys.executable}),
}


def _pairing(scheduler: str, worker: str) -> Pairing:
    scheduler_command, scheduler_env = SCHEDULERS[scheduler]
    worker_command, worker_env = WORKERS[worker]
    return Pairing(
        name=f"{scheduler}-{worker}",
        scheduler=scheduler,
        worker=worker,
        scheduler_command=scheduler_command,
        worker_command=worker_command,
        scheduler_env=scheduler_env,
        worker_env=worker_env,
        missing=_native_missing() if "native" in (scheduler, worker) else "",
    )


PAIRINGS = [_pairing(scheduler, worker) for scheduler in SCHEDULERS for worker in WORKERS]

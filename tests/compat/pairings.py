"""Which schedulers meet which workers: the rows of the compatibility table.

A pairing says how each process is started and nothing about what it must do. To add one (native workers, say),
add a row to PAIRINGS; no test needs to change.
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


def _native_missing() -> str:
    if native_program():
        return ""
    named = os.environ.get("DASKJOB_BIN")
    if named:
        return f"DASKJOB_BIN={named} is not an executable file"
    return "DASKJOB_BIN is not set; it names the daskjob program whose scheduler is to be tested"


PAIRINGS = [
    Pairing(
        name="stock",
        scheduler="stock",
        worker="stock",
        scheduler_command=STOCK_SCHEDULER,
        worker_command=STOCK_WORKER,
        scheduler_env={"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": STOCK_ROUTES},
    ),
    Pairing(
        name="native",
        scheduler="native",
        worker="stock",
        scheduler_command=native_command(),
        worker_command=STOCK_WORKER,
        scheduler_env={"DASKJOB_PYTHON": sys.executable},
        missing=_native_missing(),
    ),
]

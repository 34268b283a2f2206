"""A Dask cluster made of real processes on this machine, for one pairing.

Owns starting, watching and ending the processes and where their logs go. Knows nothing about what is tested.
Invariant: after `close` no process that this module started is alive; each runs in a process group of its own, and only
those groups are ever signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import psutil
from distributed import Client
from distributed.security import Security

import wire
from pairings import Pairing

HERE = pathlib.Path(__file__).resolve().parent
START_TIMEOUT_S = 60
# Names the directory that holds those of all clusters of a run.
CLUSTERS_DIRECTORY = "COMPAT_DIRECTORY"


# Runs a program that is killed when the test run is, however that ends. (A `preexec_fn` would do the same, but is not
# safe where other threads run.)
LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Process:
    """A child in its own process group, with its output in a file."""

    def __init__(self, name: str, command: list[str], directory: pathlib.Path, env: dict[str, str]):
        self.name = name
        self.log_path = directory / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def tree(self) -> list[psutil.Process]:
        """The process and all that descend from it."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def resident_bytes(self) -> int:
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def terminate(self, timeout_s: float = 20) -> int:
        """SIGTERM, and the exit code."""
        self.popen.terminate()
        return self.popen.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(10)

    def log_tail(self, lines: int = 40) -> str:
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError as error:
            return f"<{error}>"
        return "\n".join(text.splitlines()[-lines:])


class Cluster:
    """A scheduler and its workers; restartable in place, so that a module's fixture outlives a crash."""

    def __init__(
        self,
        pairing: Pairing,
        *,
        workers: dict[str, list[str]] | None = None,
        scheduler_args: list[str] | None = None,
        worker_args: list[str] | None = None,
        env: dict[str, str] | None = None,
        security: Security | None = None,
    ):
        self.pairing = pairing
        self.worker_plan = DEFAULT_WORKERS if workers is None else workers
        self.scheduler_args = scheduler_args or []
        self.worker_args = worker_args or []  # of every worker, beside those of the plan
        self.security = security
        self.env = env or {}
        above = os.environ.get(CLUSTERS_DIRECTORY)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{pairing.name}-", dir=above))
        self.scheduler: Process | None = None
        self.workers: dict[str, Process] = {}
        self.starts = 0
        self.suspect = ""  # why a test thinks that the cluster is no longer fit for the next

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> Cluster:
        self.starts += 1
        self.scheduler_file = self.directory / f"scheduler-{self.starts}.json"
        self.scheduler = Process(
            f"scheduler-{self.starts}",
            [
                *self.pairing.scheduler_command,
                *("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"),
                *("--scheduler-file", str(self.scheduler_file)),
                *self.scheduler_args,
            ],
            self.directory,
            self.environment(self.pairing.scheduler_env),
        )
        for name, args in self.worker_plan.items():
            self.start_worker(name, *args)
        self._await_scheduler_file()
        self.await_workers(len(self.worker_plan))
        return self

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """The environment of every process: ours, the suite's modules importable, then the fixture's."""
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, **(extra or {}), **self.env}

    def start_worker(self, name: str, *args: str, env: dict[str, str] | None = None) -> Process:
        """One more `dask worker`; does not wait for it."""
        scratch = self.directory / f"scratch-{name}"
        process = Process(
            f"worker-{name}-{self.starts}",
            [
                *self.pairing.worker_command,
                *("--scheduler-file", str(self.scheduler_file), "--host", "127.0.0.1"),
                *("--name", name, "--local-directory", str(scratch)),
                *(args or DEFAULT_WORKER_ARGS),
                *self.worker_args,
            ],
            self.directory,
            {**self.environment(self.pairing.worker_env), **(env or {})},
        )
        self.workers[name] = process
        return process

    def stop_worker(self, name: str) -> None:
        self.workers.pop(name).kill()

    def close(self) -> None:
        for process in [*self.workers.values(), self.scheduler]:
            if process is not None:
                process.kill()
        self.workers.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def ensure(self) -> None:
        """Start anew if a test left the cluster broken."""
        problem = self._problem()
        if not problem:
            return
        print(f"cluster restarted: {problem}")
        for process in [*self.workers.values(), self.scheduler]:
            if process is not None:
                process.kill()
        self.workers.clear()
        self.suspect = ""
        self.start()

    def _problem(self) -> str:
        if self.suspect:
            return self.suspect
        if self.scheduler is None or not self.scheduler.alive():
            return "its scheduler is gone"
        self._replace_workers()
        try:
            self.await_workers(len(self.worker_plan), timeout_s=20)
        except Exception as error:
            return f"its workers do not come back ({error!r})"
        return ""

    def _replace_workers(self) -> None:
        """Workers that a test has ended or added need no new scheduler."""
        for name in set(self.workers) - set(self.worker_plan):
            self.stop_worker(name)
        for name, args in self.worker_plan.items():
            if name not in self.workers or not self.workers[name].alive():
                self.start_worker(name, *args)

    def _await_scheduler_file(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError, ValueError):
                identity = json.loads(self.scheduler_file.read_text())
                self.address = identity["address"]
                self.http_port = identity["services"]["dashboard"]
                return
            if not self.scheduler.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the scheduler did not start:\n{self.scheduler.log_tail()}")
            time.sleep(0.02)

    def await_workers(self, count: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until exactly `count` workers run."""
        deadline = time.monotonic() + timeout_s
        with self._asking(timeout_s) as identity:
            while True:
                statuses = [info["status"] for info in identity()["workers"].values()]
                if statuses == ["running"] * count:
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{count} running workers expected, found {statuses}")
                time.sleep(0.02)

    @contextlib.contextmanager
    def _asking(self, timeout_s: float):
        """A function that asks the scheduler who it is; without a client where it can be, since every test asks."""
        if self.security is None:
            with wire.connect_and_greet(self.host_and_port, timeout_s) as connection:
                yield lambda: wire.call(connection, op="identity", n_workers=-1, reply=True)
        else:
            with self.client(set_as_default=False, timeout=timeout_s) as client:
                yield lambda: client.scheduler_info(n_workers=-1)

    # -- use ----------------------------------------------------------------------------------------------

    def client(self, **options) -> Client:
        return Client(self.address, security=self.security, **options)

    def http(self, path: str, body: object = None, timeout_s: float = 10) -> HttpReply:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                return HttpReply(reply.status, reply.headers.get("Content-Type", ""), reply.read().decode())
        except urllib.error.HTTPError as error:
            return HttpReply(error.code, error.headers.get("Content-Type", ""), error.read().decode())

    @property
    def host_and_port(self) -> tuple[str, int]:
        host, _, port = self.address.partition("://")[2].rpartition(":")
        return host, int(port)

    def worker_pid(self, name: str) -> int:
        """The process that runs tasks of the named worker, below its nanny."""
        with self.client(set_as_default=False) as client:
            addresses = self.addresses(client)
            return client.run(os.getpid, workers=[addresses[name]])[addresses[name]]

    def addresses(self, client: Client) -> dict[str, str]:
        """Worker name to address."""
        workers = client.scheduler_info(n_workers=-1)["workers"]
        return {info["name"]: address for address, info in workers.items()}

    def log_tails(self) -> str:
        parts = [f"scheduler {self.address}" if hasattr(self, "address") else "scheduler without an address"]
        for process in [self.scheduler, *self.workers.values()]:
            if process is not None:
                state = "alive" if process.alive() else f"exit code {process.popen.returncode}"
                parts.append(f"----- {process.name} ({state}) -----\n{process.log_tail()}")
        return "\n".join(parts)


class HttpReply:
    """What an HTTP request brought back."""

    def __init__(self, status: int, content_type: str, text: str):
        self.status = status
        self.content_type = content_type
        self.text = text

    def json(self):
        return json.loads(self.text)


# Without nannies, which double what a cluster takes to start; `NANNIED` where they matter.
DEFAULT_WORKER_ARGS = ["--nthreads", "2", "--nworkers", "1", "--memory-limit", "6GiB", "--no-nanny"]
DEFAULT_WORKERS = {
    "alice": DEFAULT_WORKER_ARGS,
    "bob": [*DEFAULT_WORKER_ARGS, "--resources", "GPU=2"],
}
NANNIED = {name: [arg for arg in args if arg != "--no-nanny"] for name, args in DEFAULT_WORKERS.items()}

"""The processes of a cluster on this machine, as `distributed.deploy` wants them.

Owns starting, watching and ending one scheduler or worker program. Does not know which there are or how many.
Invariant: a process started here ends with this one, however this one ends; it looks for us by itself.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

logger = logging.getLogger("daskjob")

START_LIMIT_S = 60
# A worker whose tasks are at work gives them some seconds.
CLOSE_LIMIT_S = 8
LAST_WORDS_LIMIT_S = 1
BETWEEN_LOOKS_S = 0.01

# How much of what a process said is kept to explain its end.
LINES_KEPT = 30
PIPE_BYTES = 1 << 20

# A worker that lives shorter than this so many times in a row is not replaced again.
SHORT_LIFE_S = 10
SHORT_LIVES = 5


class StartError(RuntimeError):
    """A scheduler or worker did not start; says why, in the words of the program."""


class Program(ProcessInterface):
    """One running program, and its end."""

    title = "program"

    def __init__(self, command: list[str], environment: dict[str, str]):
        super().__init__()
        self.command = [*command, "--end-with-parent", str(os.getpid())]
        self.environment = environment
        self.process: asyncio.subprocess.Process | None = None
        self.failure: StartError | None = None
        self._said: collections.deque[str] = collections.deque(maxlen=LINES_KEPT)
        self._tasks: set[asyncio.Task] = set()
        self._ending = False
        self._is_shown = True

    async def start(self) -> None:
        await self._spawn()
        self._beside(self._watch())
        await super().start()

    async def _spawn(self) -> None:
        # A session of its own: the terminal's Ctrl-C is for the program in front of it.
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
        )
        self._beside(self._pass_on(self.process.stderr))

    def _beside(self, work) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, pipe: asyncio.StreamReader) -> None:
        """Shows what the program says where this one shows such things, and keeps the end of it."""
        with contextlib.suppress(AttributeError, OSError):
            # Nobody waits for us to read while this process is busy with other things.
            fcntl.fcntl(pipe._transport.get_extra_info("pipe"), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        rest = b""
        while part := await pipe.read(1 << 16):
            *lines, rest = (rest + part).split(b"\n")
            self._show(lines)
        self._show([rest] if rest else [])

    def _show(self, lines: list[bytes]) -> None:
        texts = [line.decode(errors="replace") for line in lines]
        self._said.extend(texts)
        if not self._is_shown:
            return
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stderr.write("".join(f"{text}\n" for text in texts))
            sys.stderr.flush()

    async def _watch(self) -> None:
        raise NotImplementedError

    def _how_it_ended(self) -> str:
        code = self.process.returncode
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def _failed(self) -> StartError:
        # What it said last may still be on its way.
        await asyncio.sleep(0.05)
        said = "\n".join(self._said) or "(it said nothing)"
        return StartError(f"{self.title} {self._how_it_ended()}:\n{said}")

    async def close(self) -> None:
        self._ending = True
        if self.process is not None:
            if self.process.returncode is None:
                await self._end()
            await self._let_go()
        await super().close()

    async def _let_go(self) -> None:
        """Of all there is of the process here; who started it may have no event loop a moment later."""
        if self._tasks:
            # Its last words come, unless somebody it started still holds the pipe.
            await asyncio.wait(list(self._tasks), timeout=LAST_WORDS_LIMIT_S)
        for task in list(self._tasks):
            task.cancel()
        self.process._transport.close()

    async def _end(self) -> None:
        self._signal(os.kill, signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), CLOSE_LIMIT_S)
        except asyncio.TimeoutError:
            self._signal(os.killpg, signal.SIGKILL)
            await self.process.wait()

    def _signal(self, send, number: signal.Signals) -> None:
        """Not by the process object, which would take the exit code away from who waits for it."""
        with contextlib.suppress(ProcessLookupError):
            send(self.process.pid, number)


class SchedulerProcess(Program):
    """The scheduler program; its address is there once it has started."""

    title = "the scheduler"

    def __init__(self, command: list[str], environment: dict[str, str], scheduler_file: str):
        super().__init__([*command, "--scheduler-file", scheduler_file], environment)
        self.scheduler_file = scheduler_file
        # A weak reference to what is awaited when the scheduler ends and nobody told it to.
        self.on_loss = None

    async def start(self) -> None:
        await super().start()
        try:
            self.address = await asyncio.wait_for(self._find_address(), START_LIMIT_S)
        except asyncio.TimeoutError:
            await self.close()
            raise StartError(f"the scheduler did not say where it is within {START_LIMIT_S} s") from None
        except BaseException:
            await self.close()
            raise

    async def _find_address(self) -> str:
        while True:
            with contextlib.suppress(OSError, ValueError):
                with open(self.scheduler_file) as file:
                    return json.load(file)["address"]
            if self.process.returncode is not None:
                raise await self._failed()
            await asyncio.sleep(BETWEEN_LOOKS_S)

    async def _watch(self) -> None:
        await self.process.wait()
        if self._ending:
            return
        self.status = Status.closed
        if self.address is not None:
            # Who tells it to end, as `Client.shutdown` does, knows.
            level = logging.ERROR if self.process.returncode else logging.INFO
            logger.log(level, "the scheduler at %s %s; its workers end too", self.address, self._how_it_ended())
            end_the_rest = self.on_loss and self.on_loss()
            if end_the_rest:
                await end_the_rest()

    def goes_last(self) -> None:
        """From now on its workers are ended: nothing is to be saved from them, and what it says of that is no news."""
        self._ending = True
        self._is_shown = False
        if self.status == Status.running:
            self.status = Status.closing

    @property
    def is_lost(self) -> bool:
        return not self._ending and self.process is not None and self.process.returncode is not None

    async def close(self) -> None:
        await super().close()
        # The scheduler removes it, unless it was killed.
        with contextlib.suppress(OSError):
            os.unlink(self.scheduler_file)


class WorkerProcess(Program):
    """A worker program. Where it is killed, another takes its place; where it ends by itself, none does."""

    def __init__(
        self,
        scheduler: str,
        *,
        name,
        command: list[str],
        environment: dict[str, str],
        nthreads: int,
        memory_limit: int | None,
    ):
        own = ["--name", str(name), "--nthreads", str(nthreads), "--memory-limit", str(memory_limit or 0)]
        super().__init__([*command, scheduler, *own], environment)
        self.name = name
        self.title = f"worker {name}"
        self.registered = False

    async def start(self) -> None:
        try:
            await super().start()
        except OSError as error:
            # Stock expects that a worker which does not start says so later.
            self.failure = StartError(f"{self.title} cannot be started: {error}")
            self.status = Status.running

    async def _watch(self) -> None:
        short_lives = 0
        while True:
            begun = asyncio.get_running_loop().time()
            code = await self.process.wait()
            if self._ending or code == 0:
                break
            if not self.registered:
                self.failure = await self._failed()
                break
            lived = asyncio.get_running_loop().time() - begun
            short_lives = short_lives + 1 if lived < SHORT_LIFE_S else 0
            if short_lives > SHORT_LIVES:
                logger.error("worker %s %s; it is not replaced again", self.name, self._how_it_ended())
                break
            logger.warning("worker %s %s; another takes its place", self.name, self._how_it_ended())
            await asyncio.sleep(0.1 * 2**short_lives)
            if self._ending:
                break
            await self._spawn()
        if not self._ending:
            self.status = Status.closed

"""Tests of the installed Python package; `cargo xtask test package` builds and installs it first.

Whatever a test starts carries a mark in its environment, by which what is left of it is found.
"""

from __future__ import annotations

import faulthandler
import importlib.metadata
import os
import sys
import time
import uuid

import psutil
import pytest

MARK = "DASKJOB_PACKAGE_TEST"
LIMIT_S = 120


def pytest_configure():
    try:
        importlib.metadata.version("daskjob")
    except importlib.metadata.PackageNotFoundError:
        raise pytest.UsageError("daskjob is not installed in this environment: run `cargo xtask test package`") from None
    # The installed program is meant.
    os.environ.pop("DASKJOB_BIN", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """A test that hangs ends the run with a dump of what it was doing."""
    faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=sys.__stderr__)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def eventually(condition, timeout_s: float = 30):
    """The first truthy value of `condition()`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not become true within {timeout_s} s; last value: {value!r}"
        time.sleep(0.02)
    return value


class Marked:
    """The processes of one test, this one aside."""

    def __init__(self, mark: str):
        self.mark = mark

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.pid != os.getpid() and process.environ().get(MARK) == self.mark
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            return False

    def all_gone(self) -> bool:
        return not self.processes()


@pytest.fixture
def marked(monkeypatch):
    """Fails a test that leaves something behind."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    marked = Marked(mark)
    yield marked
    try:
        eventually(marked.all_gone)
    finally:
        for process in marked.processes():
            process.kill()

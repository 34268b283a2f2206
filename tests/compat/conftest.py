"""Fixtures of the compatibility suite: clusters per pairing, clients, time limits, marks for intended differences."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import sys
import tempfile

import pytest

from cluster import CLUSTERS_DIRECTORY, Cluster
from pairings import PAIRINGS, Pairing

DEFAULT_LIMIT_S = 30

# Where processes share the modules (see xtask/src/gate.rs) these begin, so that no process is left with one at the end.
LONG_MODULES = ["test_big", "test_worker_loss", "test_collections", "test_scheduler_options", "test_restart"]


class LimitExceeded(BaseException):
    """A test ran past its limit. Not an Exception, so that code under test cannot swallow it."""


def pytest_configure(config):
    # SIGTERM ends the run as Ctrl-C does: through the fixtures, so that no cluster stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "limit(seconds): the time limit of one test, 30 unless told")
    config.addinivalue_line("markers", "differs(scheduler, worker, why, runs): see differences.py")
    config.addinivalue_line("filterwarnings", "ignore:Sending large graph")
    if config.option.durations is None:
        config.option.durations = 15
        config.option.durations_min = 1.0


    if not hasattr(config, "workerinput"):
        # Of the process that starts the others, so that it goes however they end.
        config.compat_directory = os.environ[CLUSTERS_DIRECTORY] = tempfile.mkdtemp(prefix="compat-")


def pytest_unconfigure(config):
    if hasattr(config, "compat_directory"):
        shutil.rmtree(config.compat_directory, ignore_errors=True)


def pytest_report_header(config):
    return [f"pairing {p.name} is skipped: {p.missing}" for p in PAIRINGS if p.missing]


def pytest_generate_tests(metafunc):
    if "pairing" in metafunc.fixturenames:
        metafunc.parametrize("pairing", PAIRINGS, ids=lambda pairing: pairing.name, indirect=True, scope="module")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("differs"):
            _apply_difference(item, **mark.kwargs)
    order = {module: place for place, module in enumerate(LONG_MODULES)}
    items.sort(key=lambda item: order.get(_module(item), len(order)))


def _module(item) -> str:
    return item.path.stem


def _apply_difference(item, scheduler, worker, why, runs):
    callspec = getattr(item, "callspec", None)
    pairing = callspec and callspec.params.get("pairing")
    if pairing is None or scheduler not in (None, pairing.scheduler) or worker not in (None, pairing.worker):
        return
    item.add_marker(pytest.mark.xfail(reason=f"intended difference: {why}", run=runs, strict=True))


@pytest.fixture(scope="module")
def pairing(request) -> Pairing:
    if request.param.missing:
        pytest.skip(request.param.missing)
    return request.param


@pytest.fixture(scope="module")
def module_cluster(pairing, request):
    """One cluster for a module and pairing; a module overrides its shape with `CLUSTER = dict(…)`."""
    cluster = Cluster(pairing, **getattr(request.module, "CLUSTER", {}))
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def cluster(module_cluster) -> Cluster:
    """The module's cluster, alive and complete."""
    module_cluster.ensure()
    return module_cluster


@pytest.fixture
def client(cluster):
    with cluster.client() as client:
        yield client


@pytest.fixture
def gate(tmp_path):
    """A path for `tasks.wait_for_file`: what waits for it runs until the test ends, and no longer."""
    path = tmp_path / "gate"
    yield str(path)
    path.touch()


@pytest.fixture
def new_cluster(pairing, request):
    """Makes clusters of their own for one test: `new_cluster(workers={…}, scheduler_args=[…], env={…})`."""
    made = []

    def make(**shape) -> Cluster:
        cluster = Cluster(pairing, **shape)
        made.append(cluster)
        request.node.own_clusters = made
        return cluster.start()

    yield make
    for cluster in made:
        cluster.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    limit = item.get_closest_marker("limit")
    seconds = limit.args[0] if limit else DEFAULT_LIMIT_S
    # Should the interpreter itself be stuck, the process ends with a dump rather than hang.
    faulthandler.dump_traceback_later(seconds + 90, exit=True, file=sys.__stderr__)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    limit = item.get_closest_marker("limit")
    seconds = limit.args[0] if limit else DEFAULT_LIMIT_S

    def expire(_signal, _frame):
        raise LimitExceeded(f"the test ran for more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    except LimitExceeded as error:
        if "module_cluster" in item.funcargs:
            item.funcargs["module_cluster"].suspect = "a test ran past its limit"
        raise TimeoutError(str(error)) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        clusters = [item.funcargs.get("module_cluster"), *getattr(item, "own_clusters", [])]
        for cluster in clusters:
            if cluster is not None:
                report.sections.append(("logs of the cluster", cluster.log_tails()))
    return report

"""Plugins of workers, nannies and the scheduler; uploaded files."""

from __future__ import annotations

import zipfile

import pytest
from distributed import NannyPlugin, SchedulerPlugin, WorkerPlugin, wait

import tasks
from cluster import NANNIED
from eventually import eventually

CLUSTER = {"workers": NANNIED}


class Marks(WorkerPlugin):
    """Leaves a mark on its worker."""

    def __init__(self, mark="set"):
        self.mark = mark

    def setup(self, worker):
        worker.compat_mark = self.mark

    def teardown(self, worker):
        worker.compat_mark = "torn down"


def marks(client):
    return set(client.run(lambda dask_worker: getattr(dask_worker, "compat_mark", None)).values())


def test_worker_plugin_is_set_up_everywhere_and_torn_down(cluster, client):
    replies = client.register_plugin(Marks(), name="marks")
    assert set(replies) == set(cluster.addresses(client).values())
    assert all(reply["status"] == "OK" for reply in replies.values())
    assert marks(client) == {"set"}
    client.unregister_worker_plugin("marks")
    assert marks(client) == {"torn down"}


def test_worker_plugin_is_replaced_by_one_of_the_same_name(client):
    client.register_plugin(Marks("first"), name="replaced")
    client.register_plugin(Marks("second"), name="replaced")
    assert marks(client) == {"second"}
    client.unregister_worker_plugin("replaced")


def test_idempotent_plugin_is_registered_once(client):
    class Once(Marks):
        idempotent = True

    client.register_plugin(Once("first"), name="once")
    assert client.register_plugin(Once("second"), name="once") == {}
    assert marks(client) == {"first"}
    client.unregister_worker_plugin("once")


def test_plugin_reaches_workers_that_come_later(cluster, client):
    client.register_plugin(Marks("also later"), name="later")
    cluster.start_worker("late", "--nthreads", "1", "--no-nanny")
    try:
        client.wait_for_workers(3)
        eventually(lambda: list(marks(client)) == ["also later"])
    finally:
        client.unregister_worker_plugin("later")
        cluster.stop_worker("late")
        eventually(lambda: len(client.nthreads()) == 2)


def test_plugin_that_fails_to_set_up(client):
    class Fails(WorkerPlugin):
        def setup(self, worker):
            raise RuntimeError("no set-up")

    with pytest.raises(RuntimeError, match="no set-up"):
        client.register_plugin(Fails(), name="fails")
    assert client.submit(tasks.increment, 1).result() == 2
    client.unregister_worker_plugin("fails")


def test_unregistering_an_unknown_plugin(client):
    with pytest.raises(ValueError):
        client.unregister_worker_plugin("unknown plugin")


def test_setup_function_on_every_worker(client):
    def setup(dask_worker):
        dask_worker.was_set_up = True

    client.register_worker_callbacks(setup)
    assert set(client.run(lambda dask_worker: dask_worker.was_set_up).values()) == {True}


def test_worker_plugin_sees_transitions(client):
    class Sees(WorkerPlugin):
        def setup(self, worker):
            worker.seen = []
            self.worker = worker

        def transition(self, key, start, finish, **kwargs):
            self.worker.seen.append((key, finish))

    client.register_plugin(Sees(), name="sees")
    client.submit(tasks.increment, 1, key="watched").result()
    seen = [pair for pairs in client.run(lambda dask_worker: dask_worker.seen).values() for pair in pairs]
    assert ("watched", "memory") in seen
    client.unregister_worker_plugin("sees")


@pytest.mark.limit(60)
def test_nanny_plugin(client):
    class Sets(NannyPlugin):
        def setup(self, nanny):
            nanny.compat_mark = "nanny set"

        def teardown(self, nanny):
            nanny.compat_mark = "nanny torn down"

    def nanny_marks():
        return set(client.run(lambda dask_worker: getattr(dask_worker, "compat_mark", None), nanny=True).values())

    replies = client.register_plugin(Sets(), name="nanny-sets")
    assert len(replies) == 2
    assert nanny_marks() == {"nanny set"}
    client.unregister_worker_plugin("nanny-sets", nanny=True)
    assert nanny_marks() == {"nanny torn down"}


@pytest.mark.limit(60)
def test_nanny_plugin_reaches_nannies_that_come_later(cluster, client):
    class SetsLater(NannyPlugin):
        def setup(self, nanny):
            nanny.later_mark = "also later"

    client.register_plugin(SetsLater(), name="nanny-sets-later")
    cluster.start_worker("late", "--nthreads", "1", "--nworkers", "1")
    try:
        client.wait_for_workers(3)
        late = cluster.addresses(client)["late"]
        marks = client.run(lambda dask_worker: dask_worker.later_mark, nanny=True, workers=[late])
        assert list(marks.values()) == ["also later"]
    finally:
        client.unregister_worker_plugin("nanny-sets-later", nanny=True)
        cluster.stop_worker("late")
        eventually(lambda: len(client.nthreads()) == 2)


@pytest.mark.limit(60)
def test_environment_of_workers_by_nanny_plugin(client):
    from distributed.diagnostics.plugin import Environ

    client.register_plugin(Environ({"COMPAT_VARIABLE": "there"}), name="environ")

    def variable():
        import os

        return os.environ.get("COMPAT_VARIABLE")

    client.restart(timeout=40)
    assert set(client.run(variable).values()) == {"there"}
    client.unregister_worker_plugin("environ", nanny=True)


def test_uploaded_module_is_there_for_tasks(client, tmp_path):
    path = tmp_path / "uploaded_module.py"
    path.write_text("def answer():\n    return 42\n")
    client.upload_file(str(path))

    def use():
        import uploaded_module

        return uploaded_module.answer()

    assert set(client.run(use).values()) == {42}
    assert client.submit(use, pure=False).result() == 42


def test_uploaded_module_replaces_an_older_one(client, tmp_path):
    path = tmp_path / "replaced_module.py"

    def use():
        import replaced_module

        return replaced_module.VALUE

    for value in (1, 22):
        path.write_text(f"VALUE = {value}\n")
        client.upload_file(str(path))
        assert set(client.run(use).values()) == {value}


def test_uploaded_archive(client, tmp_path):
    path = tmp_path / "archive_package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive_package/__init__.py", "")
        archive.writestr("archive_package/inner.py", "NAME = 'zipped'\n")
    client.upload_file(str(path))

    def use():
        from archive_package.inner import NAME

        return NAME

    assert client.submit(use, pure=False).result() == "zipped"


def test_uploaded_module_is_there_when_the_scheduler_opens_a_graph(client, tmp_path, monkeypatch):
    """The graph holds the module's objects by reference, so that whoever opens it needs the module."""
    path = tmp_path / "graph_module.py"
    path.write_text(
        "class Part:\n"
        "    def __init__(self, n):\n"
        "        self.n = n\n"
        "    def __reduce__(self):\n"
        "        return Part, (self.n,)\n"
        "def use(part):\n"
        "    return part.n * 2\n"
    )
    client.upload_file(str(path))
    monkeypatch.syspath_prepend(tmp_path)
    import graph_module

    assert client.gather(client.map(graph_module.use, [graph_module.Part(i) for i in range(4)])) == [0, 2, 4, 6]
    # Several graphs at once, so that every process that opens graphs has its turn.
    futures = [client.submit(graph_module.use, graph_module.Part(i), pure=False) for i in range(40)]
    assert client.gather(futures) == [2 * i for i in range(40)]


@pytest.mark.limit(60)
def test_uploaded_module_survives_a_restart(client, tmp_path):
    path = tmp_path / "lasting_module.py"
    path.write_text("LASTING = True\n")
    client.upload_file(str(path))
    client.restart(timeout=40)

    def use():
        import lasting_module

        return lasting_module.LASTING

    assert client.submit(use, pure=False).result() is True


def test_scheduler_plugin_is_set_up(client):
    class Plugin(SchedulerPlugin):
        name = "compat-scheduler-plugin"

        def start(self, scheduler):
            import sys

            sys.compat_scheduler_plugin = "started"

    client.register_plugin(Plugin())

    def look():
        import sys

        return getattr(sys, "compat_scheduler_plugin", None)

    assert client.run_on_scheduler(look) == "started"
    client.unregister_scheduler_plugin("compat-scheduler-plugin")


def test_plugins_do_not_disturb_work(client):
    client.register_plugin(Marks(), name="idle-plugin")
    futures = client.map(tasks.increment, range(100))
    wait(futures)
    assert client.gather(futures) == list(range(1, 101))
    client.unregister_worker_plugin("idle-plugin")

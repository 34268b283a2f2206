"""What becomes of everything when a scheduler ends: plugins, uploaded files, workers."""

from __future__ import annotations

import os
import signal

import pytest
from distributed import SchedulerPlugin

from differences import differs
from eventually import eventually

PLAIN = {"only": ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]}


class Notes(SchedulerPlugin):
    """Notes in a file when the scheduler starts it and when it closes."""

    def __init__(self, path):
        self.path = path

    def note(self, text):
        with open(self.path, "a") as file:
            file.write(f"{text}\n")

    def start(self, scheduler):
        self.note("start")

    async def before_close(self):
        self.note("before close")

    async def close(self):
        self.note("close")


def by_signal(cluster, client):
    cluster.scheduler.popen.send_signal(signal.SIGTERM)


def by_client(cluster, client):
    client.shutdown()


@pytest.mark.parametrize("end", [by_signal, by_client])
def test_scheduler_plugins_are_closed(new_cluster, tmp_path, end):
    cluster = new_cluster(workers={})
    with cluster.client(set_as_default=False) as client:
        client.register_plugin(Notes(str(tmp_path / "notes")), name="notes")
        end(cluster, client)
        cluster.scheduler.popen.wait(20)
    assert (tmp_path / "notes").read_text().splitlines() == ["start", "before close", "close"]


def test_plugin_that_fails_to_close_holds_nothing_up(new_cluster, tmp_path):
    class Fails(Notes):
        async def before_close(self):
            raise RuntimeError("will not close")

    cluster = new_cluster(workers=PLAIN)
    with cluster.client(set_as_default=False) as client:
        client.register_plugin(Fails(str(tmp_path / "fails")), name="fails")
        client.register_plugin(Notes(str(tmp_path / "notes")), name="notes")
        by_signal(cluster, client)
        cluster.scheduler.popen.wait(20)
    assert "before close" in (tmp_path / "notes").read_text()
    eventually(lambda: not cluster.workers["only"].alive())


@differs("stock", why="it leaves the directory behind")
@pytest.mark.parametrize("end", [by_signal, by_client])
def test_uploaded_files_go_with_the_scheduler(new_cluster, tmp_path, end):
    scratch = tmp_path / "temporary"
    scratch.mkdir()
    module = tmp_path / "uploaded_to_end.py"
    module.write_text("VALUE = 1\n")
    cluster = new_cluster(workers={}, env={"TMPDIR": str(scratch)})
    with cluster.client(set_as_default=False) as client:
        client.upload_file(str(module))

        def where():
            import uploaded_to_end

            return uploaded_to_end.__file__

        uploaded = client.run_on_scheduler(where)
        assert uploaded.startswith(str(scratch)), "else this test proves nothing"
        assert os.path.exists(uploaded)
        end(cluster, client)
        cluster.scheduler.popen.wait(20)
    assert list(scratch.iterdir()) == []


def test_uploaded_files_of_a_killed_scheduler_go_with_the_next(new_cluster, tmp_path):
    scratch = tmp_path / "temporary"
    scratch.mkdir()
    module = tmp_path / "uploaded_to_be_left.py"
    module.write_text("VALUE = 1\n")

    def upload():
        cluster = new_cluster(workers={}, env={"TMPDIR": str(scratch)})
        with cluster.client(set_as_default=False) as client:
            client.upload_file(str(module))

            def where():
                import uploaded_to_be_left

                return uploaded_to_be_left.__file__

            uploaded = client.run_on_scheduler(where)
            assert uploaded.startswith(str(scratch)), "else this test proves nothing"
        return cluster, uploaded

    killed, left = upload()
    living, kept = upload()
    assert os.path.exists(left), "that of a scheduler that lives is not touched"
    killed.scheduler.kill()
    assert os.path.exists(left)
    new_cluster(workers={}, env={"TMPDIR": str(scratch)})
    assert not os.path.exists(os.path.dirname(left))
    assert os.path.exists(kept)
    assert living.scheduler.alive()

"""The main features once more, short: what is run with the oldest and the newest supported release of distributed.

Run it in an environment of that release: `DASKJOB_BIN=… that-venv/bin/python -m pytest tests/compat/test_supported_range.py`.
"""

from __future__ import annotations

import os
import signal

import dask
import distributed
import pytest
from distributed import as_completed, get_client, wait

import tasks
from cluster import NANNIED
from eventually import eventually

# Nobody takes away copies while they are counted.
CLUSTER = {"workers": NANNIED, "env": {"DASK_DISTRIBUTED__SCHEDULER__ACTIVE_MEMORY_MANAGER__START": "False"}}


def test_release_under_test(cluster, client):
    print(f"distributed {distributed.__version__}")
    versions = client.get_versions(check=True)
    assert versions["scheduler"]["packages"]["distributed"] == distributed.__version__


def test_submit_map_gather(client):
    futures = client.map(tasks.increment, range(200))
    assert client.gather(futures) == list(range(1, 201))
    assert client.gather(futures[:3], direct=True) == [1, 2, 3]
    assert client.submit(tasks.total, futures).result() == sum(range(1, 201))
    assert sorted(future.result() for future in as_completed(futures[:5])) == [1, 2, 3, 4, 5]


def test_scatter(cluster, client):
    future = client.scatter({"x": [1, 2]}, broadcast=True)["x"]
    assert len(client.who_has([future])["x"]) == 2
    assert client.submit(tasks.total, future).result() == 3


def test_errors_and_retries(client, tmp_path):
    with pytest.raises(ValueError, match="the reason"):
        client.submit(tasks.increment, client.submit(tasks.fail)).result()
    assert client.submit(tasks.fail_until, str(tmp_path / "calls"), 1, retries=1).result() == 2


def test_cancel_and_release(client, gate):
    future = client.submit(tasks.wait_for_file, gate, key="range-cancel")
    future.cancel()
    assert future.cancelled()
    eventually(lambda: all("range-cancel" not in keys for keys in client.processing().values()))


def test_delayed_and_annotations(cluster, client):
    with dask.annotate(workers=["bob"]):
        value = dask.delayed(tasks.here, pure=False)()
    assert client.compute(value, optimize_graph=False).result() == cluster.addresses(client)["bob"]
    assert dask.delayed(sum)([dask.delayed(tasks.increment)(i) for i in range(5)]).compute() == 15


def test_array(client):
    da = pytest.importorskip("dask.array")
    with dask.config.set({"array.rechunk.method": "tasks"}):
        assert float((da.ones((100, 100), chunks=10) + 1).rechunk((50, 20)).sum().compute()) == 20_000
    array = da.arange(100, chunks=10).persist()
    wait(array)
    assert int(array.max().compute()) == 99


def test_dataframe(client):
    dd = pytest.importorskip("dask.dataframe")
    pd = pytest.importorskip("pandas")
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        frame = dd.from_pandas(pd.DataFrame({"k": [i % 3 for i in range(60)], "v": range(60)}), npartitions=4)
        assert frame.groupby("k").v.sum().compute().sort_index().tolist() == [570, 590, 610]
        assert len(frame.shuffle("k").compute()) == 60


def test_tasks_from_tasks(client):
    def parent():
        inner = get_client()
        return sum(inner.gather(inner.map(tasks.increment, range(5))))

    assert client.submit(parent).result() == 15


def test_run_and_events_and_metadata(client):
    assert set(client.run(lambda: 1).values()) == {1}
    assert client.run_on_scheduler(lambda: 2) == 2
    client.log_event("range", 1)
    assert client.get_events("range")[0][1] == 1
    client.set_metadata("range", 5)
    assert client.get_metadata("range") == 5


def test_upload_file(client, tmp_path):
    path = tmp_path / "range_module.py"
    path.write_text("VALUE = 7\n")
    client.upload_file(str(path))

    def use():
        import range_module

        return range_module.VALUE

    assert client.submit(use).result() == 7


@pytest.mark.limit(60)
def test_worker_loss_and_restart(cluster, client):
    futures = client.map(tasks.increment, range(20))
    wait(futures)
    os.kill(cluster.worker_pid("alice"), signal.SIGKILL)
    assert client.gather(futures) == list(range(1, 21))
    client.restart(timeout=40)
    assert client.submit(tasks.increment, 1).result() == 2


def test_retire(cluster, client):
    futures = client.map(tasks.increment, range(10), workers=["bob"], pure=False)
    wait(futures)
    client.retire_workers(names=["bob"])
    assert client.gather(futures) == list(range(1, 11))
    cluster.stop_worker("bob")

"""Dask's collections: delayed, bag, array, dataframe."""

from __future__ import annotations

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import futures_of, wait

import tasks
from eventually import eventually


@pytest.fixture(autouse=True)
def shuffle_by_tasks():
    with dask.config.set({"dataframe.shuffle.method": "tasks", "array.rechunk.method": "tasks"}):
        yield


@pytest.fixture
def frame():
    return pd.DataFrame(
        {"key": [i % 7 for i in range(500)], "text": [f"t{i % 5}" for i in range(500)], "value": range(500)}
    )


def test_delayed_graph(client):
    @dask.delayed
    def square(x):
        return x * x

    total = dask.delayed(sum)([square(i) for i in range(10)])
    assert total.compute() == 285


def test_delayed_with_several_outputs(client):
    a, b = (dask.delayed(tasks.increment)(i) for i in (1, 2))
    assert dask.compute(a, b, [a, {"b": b}]) == (2, 3, [2, {"b": 3}])


def test_compute_of_nothing(client):
    assert dask.compute() == ()
    assert client.compute([]) == []


def test_compute_of_plain_values(client):
    assert client.compute(5) == 5
    assert dask.compute(1, [2]) == (1, [2])


def test_empty_collections(client, frame):
    assert db.from_sequence([], npartitions=1).compute() == []
    assert db.from_sequence([]).map(tasks.increment).sum().compute() == 0
    assert da.zeros((0, 3), chunks=(1, 3)).compute().shape == (0, 3)
    assert da.zeros(0).sum().compute() == 0
    empty = dd.from_pandas(frame.iloc[:0], npartitions=1)
    assert len(empty) == 0
    assert list(empty.groupby("key").value.sum().compute()) == []
    assert dask.delayed([]).compute() == []
    assert dask.delayed(sum)([]).compute() == 0


def test_client_compute_gives_futures(client):
    value = dask.delayed(tasks.increment)(1)
    assert client.compute(value).result() == 2
    assert client.compute(value, sync=True) == 2
    assert client.gather(client.compute([value, dask.delayed(tasks.add)(value, 3)])) == [2, 5]


@pytest.mark.parametrize("optimize_graph", [True, False])
def test_optimize_graph(client, optimize_graph):
    array = (da.arange(100, chunks=10) + 1).sum()
    assert client.compute(array, optimize_graph=optimize_graph, sync=True) == 5050


def test_persist_keeps_results_on_the_workers(client):
    array = client.persist(da.arange(100, chunks=10) * 2)
    assert len(futures_of(array)) == 10
    wait(array)
    assert len(client.who_has(array)) == 10
    assert array.sum().compute() == 9900
    np.testing.assert_array_equal(array[:5].compute(), [0, 2, 4, 6, 8])


def test_persisted_results_go_with_their_collection(client):
    array = (da.ones(100, chunks=10) + 7).persist()
    wait(array)
    del array
    eventually(lambda: client.who_has() == {})


def test_get_of_a_graph(client):
    graph = {"x": 1, "y": (tasks.increment, "x"), "z": (tasks.total, ["x", "y"])}
    assert client.get(graph, "z") == 3
    assert client.get(graph, ["y", "z"]) == [2, 3]
    assert client.get(graph, []) == []


def test_get_without_waiting(client):
    future = client.get({"x": (tasks.increment, 1)}, "x", sync=False)
    assert future.result() == 2


def test_futures_inside_delayed(client):
    future = client.submit(tasks.increment, 1)
    assert dask.delayed(tasks.add)(future, 10).compute() == 12
    assert dask.delayed(tasks.total)([future, future]).compute() == 4


def test_delayed_from_a_future_collection(client):
    futures = client.map(tasks.increment, range(4))
    parts = [dask.delayed(future) for future in futures]
    assert dask.delayed(tasks.total)(parts).compute() == 10


def test_bag(client):
    bag = db.from_sequence(range(100), npartitions=7)
    assert bag.map(tasks.increment).filter(lambda x: x % 2 == 0).sum().compute() == 2550
    assert bag.count().compute() == 100
    assert dict(bag.groupby(lambda x: x % 3, shuffle="tasks").map(lambda g: (g[0], len(g[1]))).compute()) == {
        0: 34,
        1: 33,
        2: 33,
    }
    assert bag.fold(tasks.add).compute() == 4950


def test_bag_word_count(client):
    text = ["the quick brown fox", "the lazy dog", "the end"]
    counts = db.from_sequence(text, npartitions=2).str.split().flatten().frequencies().topk(1, key=1).compute()
    assert counts == [("the", 3)]


def test_array_arithmetic(client):
    x = da.random.default_rng(1).random((300, 300), chunks=(100, 100))
    y = (x + x.T) - x.mean(axis=0)
    expected = x.compute()
    np.testing.assert_allclose(y.compute(), (expected + expected.T) - expected.mean(axis=0))


def test_array_matrix_product(client):
    a = np.arange(400.0).reshape(20, 20)
    x = da.from_array(a, chunks=(5, 5))
    np.testing.assert_allclose(x.dot(x).compute(), a @ a)


def test_array_rechunk(client):
    x = da.arange(1000, chunks=100).reshape(10, 100).rechunk((2, 50)).rechunk({0: 10, 1: 10})
    np.testing.assert_array_equal(x.compute(), np.arange(1000).reshape(10, 100))


def test_array_of_large_input(client):
    a = np.random.default_rng(0).random(1_000_000)
    assert da.from_array(a, chunks=250_000).sum().compute() == pytest.approx(a.sum())


def test_array_map_blocks_and_overlap(client):
    x = da.arange(40, chunks=10)
    np.testing.assert_array_equal(x.map_blocks(lambda b: b * 2).compute(), np.arange(40) * 2)
    np.testing.assert_array_equal(
        x.map_overlap(lambda b: np.convolve(b, [1, 1, 1], "same"), depth=1, boundary=0).compute(),
        np.convolve(np.arange(40), [1, 1, 1], "same"),
    )


def test_array_svd(client):
    x = da.random.default_rng(3).random((200, 8), chunks=(50, 8))
    u, s, v = da.linalg.svd(x)
    np.testing.assert_allclose(((u * s) @ v).compute(), x.compute())


def test_dataframe_aggregation(client, frame):
    ddf = dd.from_pandas(frame, npartitions=6)
    result = ddf.groupby("key").value.sum().compute().sort_index()
    pd.testing.assert_series_equal(result, frame.groupby("key").value.sum(), check_names=False)
    assert ddf.value.mean().compute() == frame.value.mean()
    assert len(ddf) == 500


def test_dataframe_shuffle(client, frame):
    ddf = dd.from_pandas(frame, npartitions=4).shuffle("text")
    parts = client.gather(client.compute(ddf.to_delayed()))
    seen = [set(part.text) for part in parts]
    assert sum(len(texts) for texts in seen) == 5
    assert sum(len(part) for part in parts) == 500


def test_dataframe_set_index(client, frame):
    result = dd.from_pandas(frame, npartitions=4).set_index("value").compute()
    assert list(result.index) == list(range(500))


def test_dataframe_merge(client, frame):
    other = pd.DataFrame({"key": range(7), "name": list("abcdefg")})
    merged = dd.from_pandas(frame, npartitions=4).merge(dd.from_pandas(other, npartitions=2), on="key").compute()
    expected = frame.merge(other, on="key")
    pd.testing.assert_frame_equal(
        merged.sort_values("value").reset_index(drop=True),
        expected.sort_values("value").reset_index(drop=True),
        check_dtype=False,
    )


def test_dataframe_files(client, frame, tmp_path):
    dd.from_pandas(frame, npartitions=3).to_parquet(tmp_path / "parquet")
    read = dd.read_parquet(tmp_path / "parquet")
    assert read.value.sum().compute() == frame.value.sum()
    dd.from_pandas(frame, npartitions=3).to_csv(str(tmp_path / "csv-*.csv"), index=False)
    assert dd.read_csv(str(tmp_path / "csv-*.csv")).value.max().compute() == 499


def test_dataframe_persist_then_use(client, frame):
    ddf = dd.from_pandas(frame, npartitions=4).persist()
    wait(ddf)
    assert ddf[ddf.key == 3].value.sum().compute() == frame[frame.key == 3].value.sum()


def test_from_delayed_and_map_partitions(client, frame):
    parts = [dask.delayed(lambda i: frame[frame.key == i])(i) for i in range(7)]
    ddf = dd.from_delayed(parts, meta=frame.iloc[:0])
    assert ddf.map_partitions(len).compute().sum() == 500


def test_two_computations_at_once(client):
    a, b = da.ones((200, 200), chunks=50).sum(), (da.ones((200, 200), chunks=50) * 2).sum()
    first, second = client.compute([a, b])
    assert (first.result(), second.result()) == (40_000, 80_000)


def test_large_graph(client):
    x = da.ones((1000, 1000), chunks=(25, 25))
    assert (x + 1).sum().compute() == 2_000_000


def test_key_already_computed_with_other_graph(client):
    """Two graphs that share keys share the work."""
    x = da.arange(20, chunks=5).map_blocks(lambda b: b + 1)
    persisted = x.persist()
    wait(persisted)
    assert (x * 2).sum().compute() == 420


def test_many_dependencies_of_one_task(client):
    futures = client.map(tasks.increment, range(1500))
    assert client.submit(tasks.total, futures).result() == sum(range(1, 1501))


def test_one_dependency_of_many_tasks(client):
    root = client.submit(tasks.increment, 0)
    futures = client.map(tasks.add, range(1000), y=root)
    assert sum(client.gather(futures)) == sum(range(1000)) + 1000

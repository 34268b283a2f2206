"""Keys are equal where Python says so; pickles mean the same before and after."""

from __future__ import annotations

import collections
import datetime
import functools
import operator
import pickle
import random

import msgpack
import numpy
import pandas
import pytest
from dask._task_spec import Alias, DataNode, Task, TaskRef
from distributed.comm.addressing import get_address_host_port, normalize_address
from distributed.protocol import pickle as dask_pickle
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError
from probe import Refused, from_stream

import values

SEEDS = range(600)


def ask_key(probe, key):
    return from_stream(probe.ask("k", msgpack.packb(key)))


@pytest.mark.parametrize("batch", [SEEDS[start : start + 100] for start in SEEDS[::100]], ids=str)
def test_key_prints_as_in_python(probe, batch):
    for seed in batch:
        key = values.key(random.Random(seed))
        _, as_str, as_repr, back = ask_key(probe, key)
        assert back == key, f"seed {seed}"
        assert hash(back) == hash(key), f"seed {seed}"
        assert as_str == str(back) and as_repr == repr(back), f"seed {seed}"


@pytest.mark.parametrize(
    "left, right",
    [(1, 1.0), (1, True), (0, False), (0, -0.0), (("x", 1.0), ("x", 1)), (2**53, float(2**53)), (-(2**63), -float(2**63))],
)
def test_keys_that_are_equal_in_python_have_one_encoding(probe, left, right):
    assert left == right and ask_key(probe, left)[0] == ask_key(probe, right)[0]


@pytest.mark.parametrize("left, right", [(1, "1"), (("x",), "x"), (1.5, 1), ((1,), 1), (2**53 + 1, float(2**53)), ("", ())])
def test_keys_that_differ_in_python_differ(probe, left, right):
    assert left != right and ask_key(probe, left)[0] != ask_key(probe, right)[0]


@pytest.mark.parametrize("key", [b"x", None, {}, ("x", None), float("nan")], ids=repr)
def test_what_cannot_be_a_key_is_refused_by_name(probe, key):
    with pytest.raises(Refused, match="key"):
        ask_key(probe, key)


@pytest.mark.parametrize("batch", [range(80), range(80, 160)], ids=str)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_pickle_means_the_same_after_us(probe, batch, protocol):
    for seed in batch:
        value = values.plain(random.Random(seed))
        try:
            ours = probe.ask("p", pickle.dumps(value, protocol))
        except Refused as refusal:
            # Before protocol 3 Python writes bytes, and before 4 sets, by calling something.
            assert protocol == 2 and "not plain data" in str(refusal), f"seed {seed}: {refusal}"
            continue
        assert values.same(pickle.loads(ours), value), f"seed {seed}"


@pytest.mark.parametrize("value", [values.Opaque(1), len, collections.OrderedDict(), 1 << 80], ids=repr)
def test_pickle_that_is_not_plain_is_left_to_python(probe, value):
    with pytest.raises(Refused, match="not plain data"):
        probe.ask("p", pickle.dumps(value))


def ask_tree(probe, value, protocol=5):
    buffers = []
    given = dask_pickle.dumps(value, buffer_callback=buffers.append, protocol=protocol)
    order, ours = from_stream(probe.ask("t", given))
    return pickle.loads(ours, buffers=[buffers[index] for index in order])


def add(left, right):
    return left + right


SHARED = ["shared"]


@pytest.mark.parametrize(
    "value",
    [
        values.Opaque({"a": [1, 2.5, None]}),
        collections.OrderedDict(a=1, b=collections.defaultdict(list, {"x": [1]})),
        collections.deque([1, 2], maxlen=5),
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        functools.partial(add, 1, right=[2, SHARED, SHARED]).args,
        {1 << 80, -(1 << 90), -1, 255, 256, 65535, 65536, -(1 << 31), 1 << 31},
        bytearray(b"abc"),
        frozenset({frozenset({1}), ("x", frozenset())}),
        [numpy.arange(10), numpy.arange(10.0)[::2].tolist()],
        range(10),
        complex(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickle_of_any_object_means_the_same_after_us(probe, value, protocol):
    back = ask_tree(probe, value, protocol)
    assert str(back) == str(value) if isinstance(value, list) else back == value


def test_classes_by_their_names_in_python_2_are_refused(probe):
    with pytest.raises(Refused, match="old pickle protocol"):
        ask_tree(probe, len, protocol=2)


def test_tree_of_a_task_graph_means_the_same_after_us(probe):
    graph = {
        "a": DataNode("a", 5),
        "b": Alias("b", "a"),
        "c": Task("c", operator.add, TaskRef("a"), TaskRef("b")),
        ("d", 0): Task(("d", 0), add, TaskRef("c"), [TaskRef("a"), {"x": TaskRef("b")}]),
    }
    back = ask_tree(probe, graph)
    assert back == graph
    assert {key: node.dependencies for key, node in back.items()} == {key: node.dependencies for key, node in graph.items()}


def test_dataframe_with_buffers_means_the_same_after_us(probe):
    frame = pandas.DataFrame({"x": numpy.arange(1000), "y": [f"name-{n % 7}" for n in range(1000)]})
    pandas.testing.assert_frame_equal(ask_tree(probe, frame), frame)


def test_function_pickled_by_value_still_works(probe):
    scope = {"__name__": "__main__"}
    exec("def f(x, y=[3]):\n  return f if x == 0 else (x, y, len(y), g())\ndef g(): return f.__name__", scope)
    back = ask_tree(probe, [scope["f"], scope["f"]])
    assert back[0](1) == (1, [3], 1, "f") and back[0](0) is back[1] is back[0]


def test_tuple_that_holds_itself_survives(probe):
    looped = []
    looped.append((looped, collections.OrderedDict(a=looped)))
    back = ask_tree(probe, looped)
    assert back[0][0] is back and back[0][1]["a"] is back


def test_sharing_and_cycles_survive(probe):
    shared = [1]
    looped = {"a": [shared, shared], "b": (shared,)}
    looped["self"] = looped
    back = ask_tree(probe, looped)
    assert back["self"] is back and back["a"][0] is back["a"][1] is back["b"][0]


def test_memo_beyond_a_byte_survives(probe):
    shared = [[number] for number in range(1000)]
    back = ask_tree(probe, (shared, list(reversed(shared))))
    assert back[0][0] is back[1][-1] and back[0] == shared


def test_deep_nesting_needs_no_stack(probe):
    depth = 200_000
    given = b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."
    order, ours = from_stream(probe.ask("t", given))
    assert order == () and ours.count(b"]") == depth
    with pytest.raises(Refused, match="nested deeper"):
        probe.ask("p", given)


def test_shared_data_does_not_explode(probe):
    given = b"\x80\x04]\x94" + b"".join(b"h%c" % n + b"h%c" % n + b"\x86\x94" for n in range(60)) + b"."
    with pytest.raises(Refused, match="more than"):
        probe.ask("p", given)


def test_exceptions_of_a_scheduler_are_what_they_claim(probe):
    fields = from_stream(probe.ask("e", b""))
    assert all(type(field) is bytes for field in fields), "exceptions are pickled twice"
    killed, no_valid, no_worker, missing, runtime, timeout = map(pickle.loads, fields)
    key = ("x-é", -1, 1 << 40)
    assert type(killed) is KilledWorker and killed.task == key and killed.allowed_failures == 3
    assert killed.last_worker.address == "tcp://10.0.0.1:40331" and killed.last_worker.name == 3
    assert killed.last_worker.status.name == "running" and "tcp://10.0.0.1:40331" in str(killed)
    assert type(no_valid) is NoValidWorkerError and no_valid.task == key
    assert no_valid.host_restrictions == {"h1"} and no_valid.resource_restrictions == {"GPU": 1.5}
    assert type(no_worker) is NoWorkerError and no_worker.timeout == 0.25 and "250" in str(no_worker)
    assert type(missing) is KeyError and missing.args == ("missing",)
    assert type(runtime) is RuntimeError and "Actor" in str(runtime)
    assert type(timeout) is TimeoutError and len(str(timeout)) == 500


@pytest.mark.parametrize("address", ["tcp://1.2.3.4:80", "tls://[::1]:80", "[fe80::1]:7", "host.name:8786", "1.2.3.4:0"])
def test_address_is_taken_apart_as_stock_does(probe, address):
    assert from_stream(probe.ask("a", address.encode())) == (normalize_address(address), *get_address_host_port(address))


@pytest.mark.parametrize("address", ["::1:80", "tcp://[::1", "ws://a:1", "tcp://a:99999", "tcp://a:b"])
def test_what_is_no_address_is_refused(probe, address):
    with pytest.raises(Refused):
        probe.ask("a", address.encode())



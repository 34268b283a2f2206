"""Writes the update-graph messages a client would send, for the tests: `graphs.py NAME [NAME…]`.

Each message goes to stdout as u64 frame count, u64 length per frame, frames. `graphs.py --run NAME` reads the specs of
that graph (as the scheduler stored them) from stdin and prints what they compute.
"""

import operator
import os
import pickle
import signal
import struct
import sys
import time
import types

import dask
from dask._expr import LLGExpr
from dask._task_spec import Alias, DataNode, List, Task, TaskRef
from distributed.client import _MapExpr
from distributed.protocol import dumps
from distributed.protocol.serialize import Serialized, ToPickle, serialize, to_serialize


def message(expr, keys, priority=None, annotations=None, **fields):
    return {
        "op": "update-graph",
        "expr_ser": Serialized(*serialize(to_serialize(expr), on_error="raise")),
        "keys": set(keys),
        "internal_priority": priority,
        "submitting_task": None,
        "fifo_timeout": "60s",
        "actors": None,
        "code": ToPickle(()),
        "annotations": ToPickle(annotations or {}),
        "span_metadata": ToPickle({}),
        **fields,
    }


def tasks(dsk, keys=None, **more):
    # As `submit` does, so that nothing is hashed.
    return message(LLGExpr(dsk, _determ_token="test"), keys or list(dsk), **more)


def mapped(count, function=operator.neg):
    keys = tuple(f"neg-{i:032x}" for i in range(count))
    expr = _MapExpr(function, (range(count),), "neg", True, {}, {}, keys)
    return message(expr, keys, priority={key: i for i, key in enumerate(keys)})


class Raises:
    """Unpickling does `action`."""

    def __init__(self, action, *arguments):
        self.call = (action, arguments)

    def __reduce__(self):
        return self.call

    def __dask_tokenize__(self):
        return "raises"  # Dask's own tokenisation would unpickle it here


def poisoned(action, *arguments):
    return tasks({"x": Task("x", operator.neg, Raises(action, *arguments))})


def main_function(x):
    return x * 10


def submit():
    return tasks({"add-1": Task("add-1", operator.add, 1, 2)}, priority={"add-1": 0})


def needs_helper():
    """A task that is a tuple, which the scheduler never opens itself."""
    return tasks({"add-1": (operator.add, 1, 2)}, priority={"add-1": 0})


def shown(*args):
    return args


def map_of(*iterables):
    keys = tuple(f"shown-{i}" for i in range(len(iterables[0])))
    return message(_MapExpr(shown, iterables, "shown", True, {}, {}, keys), keys)


def plain_map():
    return map_of((1, "two", b"three", 4.5, None), [True, 2j, "shown-0", range(3), ""])


def map_with_tasks():
    """What `map` makes of futures, also inside of collections, and of values that are no plain ones."""
    return map_of((1, TaskRef("elsewhere"), {"a": TaskRef("elsewhere")}), ([1, 2], [TaskRef("elsewhere")], {"b": 3}))


def large_map():
    return mapped(20_000)


def main_map():
    return mapped(100, main_function)


def lambda_map():
    factor = 3
    return mapped(100, lambda x: x * factor)


def tree():
    return tree_of(1_000)


def large_tree():
    return tree_of(20_000)


def tree_of(leaves):
    dsk = {("leaf", i): (operator.add, i, 1) for i in range(leaves)}
    level, width = 0, leaves
    names = list(dsk)
    while len(names) > 1:
        level += 1
        pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
        names = []
        for i, pair in enumerate(pairs):
            key = ("node", level, i)
            dsk[key] = (sum, list(pair))
            names.append(key)
    return tasks(dsk, names)


def shuffle():
    dsk = {("split", i, j): Task(("split", i, j), operator.mul, TaskRef(("in", i)), j) for i in range(20) for j in range(20)}
    dsk.update({("in", i): Task(("in", i), operator.add, i, 1) for i in range(20)})
    for j in range(20):
        dsk[("out", j)] = Task(("out", j), sum, List(*(TaskRef(("split", i, j)) for i in range(20))))
    return tasks(dsk, [("out", j) for j in range(20)])


def kinds():
    """Every kind of node and key, a task that is culled, and a key of an earlier graph."""
    data = DataNode("data", [1, 2])
    return tasks(
        {
            "data": data,
            ("t", 0, 1.5): Task(("t", 0, 1.5), sum, TaskRef("data")),
            7: Alias(7, ("t", 0, 1.5)),
            "legacy": (operator.add, 7, TaskRef("elsewhere")),
            "unused": Task("unused", operator.neg, 1),
            "producer": Task("producer", operator.neg, 1, _data_producer=True),
            "schön-🎉": Task("schön-🎉", operator.neg, 2),
        },
        ["legacy", "producer", "schön-🎉"],
    )


def cycle():
    """b <- c <- b"""
    return tasks({name: Task(name, operator.neg, TaskRef(below)) for name, below in ["bc", "cb"]}, ["c"])


def buffers():
    import numpy

    array = numpy.arange(100_000)
    return tasks({("sum", i): Task(("sum", i), operator.getitem, array, i) for i in range(3)})


def array():
    import dask.array

    x = dask.array.ones((40, 40), chunks=(10, 10))
    return collection((x + x.T).sum(axis=0))


def dataframe():
    import pandas
    import dask.dataframe

    frame = pandas.DataFrame({"a": [1, 2, 3, 4] * 5, "b": range(20)})
    return collection(dask.dataframe.from_pandas(frame, npartitions=4).groupby("a").b.sum())


def collection(value):
    from dask.base import collections_to_expr

    expr = collections_to_expr((value,)).optimize()
    from dask.core import flatten

    return message(expr, list(flatten(expr.__dask_keys__())))


def annotated():
    return tasks(
        {"x": Task("x", operator.neg, 1), "y": Task("y", operator.neg, 2)},
        annotations={"retries": 2, "workers": ["alice", "bob"], "resources": {"GPU": 1}, "mine": {1, 2}},
    )


def annotated_by_function():
    return tasks(
        {"x": Task("x", operator.neg, 1), "y": Task("y", operator.neg, 2)},
        annotations={"priority": (lambda key: {"x": 1, "y": 2}[key]), "retries": 5},
    )


def layers():
    import dask.array

    with dask.annotate(retries=3, priority=lambda key: 7):
        x = dask.array.ones((20,), chunks=(10,))
    from dask._expr import HLGExpr

    expr = HLGExpr.from_collection(x, optimize_graph=False)
    return message(expr, list(dask.core.flatten(expr.__dask_keys__())))


def refuses():
    """An environment that lacks a module the client has."""
    result = tasks({"x": Task("x", operator.neg, 1)})
    frames = dumps(result)
    return [bytes(frame).replace(b"dask._task_spec", b"dask._tast_spec") for frame in frames]


def only_here():
    """A function of a module that nobody else can import."""
    module = types.ModuleType("only_here")
    exec("def function(x): return x", module.__dict__)
    sys.modules["only_here"] = module
    return module.function


def foreign():
    return tasks({"x": Task("x", only_here(), 1)})


def imports_foreign():
    """Sent by value, but it needs that module."""
    only_here()
    import only_here as needed

    return tasks({"x": Task("x", lambda: needed.function(1))})


def large_in(count):
    shared = list(range(20_000))
    return tasks({("x", i): Task(("x", i), operator.getitem, shared, i) for i in range(count)})


def large_in_few():
    return large_in(4)


def large_in_many():
    return large_in(4_000)


def exits():
    return poisoned(os._exit, 3)


def killed():
    return poisoned(eval, f"__import__('os').kill(__import__('os').getpid(), {int(signal.SIGKILL)})")


def system_exit():
    return poisoned(sys.exit, 4)


def hangs():
    return poisoned(time.sleep, 3600)


def spins():
    return poisoned(exec, "while True: pass")


def explodes():
    """Far too much at once."""
    return poisoned(exec, "x = bytearray(1 << 38)")


def grows():
    return poisoned(exec, "x = []\nwhile True: x.append(bytes(1 << 20) + b'x')")


def unpicklable():
    class Never:
        def __reduce__(self):
            raise ValueError("cannot be pickled again")

    return tasks({"x": Task("x", operator.neg, Raises(eval, "type('Never', (), {'__reduce__': lambda s: 1 / 0})()"))})


def run(name):
    """Loads each spec and computes the graph with them; `elsewhere` is 100."""
    values = {"elsewhere": 100}
    specs = []
    while head := sys.stdin.buffer.read(16):
        count, size = struct.unpack("<QQ", head)
        body = sys.stdin.buffer.read(size)
        buffers = []
        for _ in range(count):
            (size,) = struct.unpack("<Q", sys.stdin.buffer.read(8))
            buffers.append(sys.stdin.buffer.read(size))
        specs.append(pickle.loads(body, buffers=buffers))
    pending = {spec.key: spec for spec in specs}
    assert len(pending) == len(specs)
    while pending:
        ready = [key for key, spec in pending.items() if spec.dependencies <= values.keys()]
        assert ready, pending
        for key in ready:
            spec = pending.pop(key)
            values[key] = spec({d: values[d] for d in spec.dependencies})
    dependents = set().union(*(spec.dependencies for spec in specs))
    print(repr({key: value for key, value in values.items() if key not in dependents and key != "elsewhere"}))


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        run(sys.argv[2])
    else:
        for name in sys.argv[1:]:
            made = globals()[name]()
            frames = [bytes(frame) for frame in (made if isinstance(made, list) else dumps(made))]
            head = struct.pack(f"<{1 + len(frames)}Q", len(frames), *map(len, frames))
            sys.stdout.buffer.write(head + b"".join(frames))

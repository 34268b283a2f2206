"""Graphs as a real client sends them, for the comparison of the two ways to open one.

`direct.py SEED COUNT` writes that many random messages to stdout, each as u64 length, label, and the message as in
`graphs.py`; the label says `direct` where no helper should be needed, else `any`. `direct.py --compare` reads pairs of
tasks, as one and the other way stored them, from stdin and says where they differ.
"""

import asyncio
import cmath
import datetime
import decimal
import functools
import json
import operator
import os
import pickle
import random
import struct
import sys
import types

import dask
import numpy
from dask._task_spec import Alias, DataNode, Dict, List, Set, Task, TaskRef, Tuple
from distributed import Client
from distributed.protocol import dumps

FACTOR = 7


def by_value(x, *rest, y=FACTOR):
    return helper_of_by_value(x), numpy.add, FACTOR, rest, y


def helper_of_by_value(x):
    return os.path.join("a", str(x)), cmath


def recursive(n, *_):
    return n and recursive(n - 1)


def closure(size):
    values, shared = list(range(size)), {"same": FACTOR}

    def inner(*args, **kwargs):
        return values, shared, args, kwargs

    return inner


class Own:
    def __init__(self, value):
        self.value = value

    def __dask_tokenize__(self):
        return self.value

    def method(self, *args):
        return args


class Generator:
    """Makes calls of a client. `plain` stays true while everything made is known to be what can be opened directly."""

    def __init__(self, client, chance):
        self.client = client
        self.chance = chance
        self.plain = True
        self.futures = []
        self.names = 0
        self.closure = closure(3)
        self.shared = [[1, 2], {"a": [3]}, numpy.arange(4), self.closure.__closure__[0].cell_contents]

    def function(self):
        known = [
            operator.add, json.dumps, sum, numpy.sum, by_value, recursive, self.closure, lambda *args, **kw: (args, kw),
            functools.partial(by_value, 1, y=[2]), functools.partial(operator.add, 1), str,
        ]  # fmt: skip
        if self.chance.random() < 0.05:
            self.plain = False
            return self.chance.choice([Own(1).method, operator.itemgetter(1), "abc".join])
        return self.chance.choice(known)

    def leaf(self):
        chance = self.chance
        kind = chance.randrange(12)
        if kind < 3:
            return chance.choice([0, 1, -1, 255, 256, 65536, -(2**31), 2**40, -(2**63), 2**70, True, False, None])
        if kind < 5:
            return chance.choice([0.0, -0.5, 1e300, float("inf"), float("nan"), 2j, range(3), range(9, 0, -2), slice(1, None)])
        if kind < 8:
            return chance.choice(["", "x", "schön-🎉", "\ud800", "y" * 300, "z" * 70_000, b"", b"abc", b"\x80\x04." * 99, bytearray(b"q")])
        if kind == 8:
            arrays = [
                numpy.arange(3), numpy.ones((3, 4), order="F"), numpy.arange(12).reshape(3, 4)[:, ::2], numpy.float64(2.5),
                numpy.array(["a", "bc"]), numpy.array([1, None, [2]], dtype=object), numpy.dtype("f4"), numpy.zeros(30_000),
                numpy.datetime64("2026-01-01"), numpy.array(5), numpy.zeros((0, 2)), numpy.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
            ]  # fmt: skip
            array = chance.choice(arrays)
            if isinstance(array, numpy.ndarray) and chance.random() < 0.3:
                array.flags.writeable = False
            return array
        if kind == 9:
            return chance.choice([datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3), datetime.timedelta(1)])
        if kind == 10:
            shared = chance.choice(self.shared)
            # A function that shares something with an item of a map is too much.
            self.plain = self.plain and shared is not self.shared[-1]
            return shared
        if chance.random() < 0.1:
            self.plain = False
            return chance.choice([Own(chance.random()), decimal.Decimal("1.5"), types.SimpleNamespace(a=1)])
        return chance.randrange(1000)

    def value(self, depth=0, leaf=None):
        leaf = leaf or self.leaf
        if depth > 2 or self.chance.random() < 0.6:
            return leaf()
        items = [self.value(depth + 1, leaf) for _ in range(self.chance.randrange(4))]
        kind = self.chance.randrange(5)
        if kind == 0:
            return tuple(items)
        if kind == 1:
            return {self.chance.choice(["a", "b", 1, ("t", 2)]): item for item in items}
        if kind == 2:
            return {self.chance.randrange(9) for _ in items}
        if kind == 3:
            return frozenset({"f", len(items)})
        return items

    def argument(self):
        """A value that may hold futures anywhere."""
        return self.value(leaf=lambda: self.future() if self.chance.random() < 0.3 else self.leaf())

    def future(self):
        if not self.futures or self.chance.random() < 0.3:
            self.futures.append(self.client.submit(operator.neg, self.chance.random(), key=self.key()))
        return self.chance.choice(self.futures)

    def key(self):
        self.names += 1
        n = self.names
        return self.chance.choice([f"key-{n}", n, ("t", n), ("t", n, ("u", 1.5)), n + 0.5, f"ключ-{n}"])

    def options(self):
        options = {}
        if self.chance.random() < 0.3:
            options["retries"] = self.chance.randrange(4)
        if self.chance.random() < 0.3:
            options["priority"] = self.chance.choice([-3, 2.5, 10])
        if self.chance.random() < 0.3:
            options["workers"] = self.chance.choice([["alice", "tcp://a:1"], ["bob"]])
            options["allow_other_workers"] = self.chance.random() < 0.5
        if self.chance.random() < 0.3:
            options["resources"] = {"GPU": 1, "MEMORY": 1.5e9}
        return options

    def annotated(self, call):
        if self.chance.random() < 0.8:
            return call()
        more = {"mine": self.chance.choice([{1, 2}, [1, "x"], {"a": None}, "text", True])}
        if self.chance.random() < 0.2:
            more["priority"] = lambda key: len(str(key))
            self.plain = False
        elif self.chance.random() < 0.2:
            more["odd"] = self.chance.choice([frozenset({1}), Own(1), b"bytes"])
            self.plain = False
        with dask.annotate(**more):
            return call()

    def submit(self):
        args = [self.argument() for _ in range(self.chance.randrange(4))]
        kwargs = {name: self.argument() for name in ["key_", "y", "func_"][: self.chance.randrange(3)]}
        options = self.options()
        if self.chance.random() < 0.7:
            options["key"] = self.key()
        else:
            options["pure"] = False
        if self.chance.random() < 0.1:
            options["actor"] = True
        function = self.function()
        return self.annotated(lambda: self.client.submit(function, *args, **kwargs, **options))

    def map(self):
        length = self.chance.randrange(1, 40)
        iterables = []
        for _ in range(self.chance.randrange(1, 3)):
            kind = self.chance.randrange(5)
            if kind == 0:
                iterables.append(range(self.chance.randrange(-9, 9), 10**6, 3)[:length])
            elif kind == 1:
                iterables.append([self.future() for _ in range(length)])
            elif kind == 2 and self.chance.random() < 0.2:
                iterables.append([{"nested": [self.future()]} for _ in range(length)])
                self.plain = False
            elif kind == 3 and self.chance.random() < 0.2:
                iterables.append("x" * length)
                self.plain = False
            elif kind == 4:
                iterables.append(tuple(self.value() for _ in range(length)))
            else:
                iterables.append([self.value() for _ in range(length)])
        kwargs = {}
        if self.chance.random() < 0.3:
            kwargs["more"] = self.chance.choice([1, "text", None, 2.5, b"b"])
            if self.chance.random() < 0.3:
                kwargs["large"] = self.chance.choice([[1], "x" * 200_000, numpy.zeros(20_000)])
                self.plain = False
        options = {**self.options(), **kwargs}
        if self.chance.random() < 0.2:
            options["key"] = [self.key() for _ in range(length)]
        else:
            options["pure"] = False
        function = self.function()
        return self.annotated(lambda: self.client.map(function, *iterables, **options))

    def get(self):
        graph, names = {}, [self.key() for _ in range(self.chance.randrange(2, 30))]
        functions = [self.function() for _ in range(3)]
        for name in names:
            known = [*graph, "elsewhere", ("else", 1)]

            def leaf():
                return TaskRef(self.chance.choice(known)) if self.chance.random() < 0.4 else self.leaf()

            def node(depth=0):
                if depth > 2 or self.chance.random() < 0.6:
                    return leaf()
                items = [node(depth + 1) for _ in range(self.chance.randrange(1, 3))]
                kind = self.chance.choice([List, Tuple, Dict])
                return kind({i: item for i, item in enumerate(items)}) if kind is Dict else kind(*items)

            kind = self.chance.randrange(10)
            if kind == 0:
                graph[name] = DataNode(name, self.value())
            elif kind == 1:
                graph[name] = Alias(name, self.chance.choice([*known, name]))
            elif kind == 2 and self.chance.random() < 0.2:
                graph[name] = (operator.add, 1, 2)
                self.plain = False
            elif kind == 3:
                graph[name] = Task(name, self.chance.choice(functions), Set(TaskRef("elsewhere"), 1), _data_producer=True)
            else:
                graph[name] = Task(name, self.chance.choice(functions), *[node() for _ in range(3)], more=node())
        wanted = self.chance.sample(names, self.chance.randrange(1, len(names) + 1))
        options = self.options()
        if not any(isinstance(node, (Task, DataNode)) for node in graph.values()):
            self.plain = False
        return self.client.get(graph, wanted, sync=False, **options)


async def messages(seed, count):
    client = Client("tcp://127.0.0.1:9", asynchronous=True, set_as_default=False)
    sent = []
    client._send_to_scheduler = sent.append
    for number in range(count):
        generator = Generator(client, random.Random(f"{seed}-{number}"))
        for kind in ("submit", "map", "get"):
            generator.plain = True
            before = len(sent)
            try:
                getattr(generator, kind)()
            except (TypeError, OverflowError, AttributeError) as error:
                # What the client itself refuses, such as a key it cannot hash.
                print(f"{kind} {number}: {error!r}", file=sys.stderr)
                continue
            updates = [message for message in sent[before:] if message["op"] == "update-graph"]
            for message in updates[:-1]:
                write("any", message)
            if updates:
                write(f"{'direct' if generator.plain else 'any'} {kind} {number}", updates[-1])
    os._exit(0)


def write(label, message):
    frames = [bytes(frame) for frame in dumps([message])]
    out = sys.stdout.buffer
    out.write(struct.pack("<Q", len(label)) + label.encode())
    out.write(struct.pack(f"<{1 + len(frames)}Q", len(frames), *map(len, frames)) + b"".join(frames))
    out.flush()


# ---------------------------------------------------------------------------------------------------------------------


class Comparison:
    """Whether two objects are the same in all that a task could see, also in what is shared inside of them."""

    def __init__(self):
        self.partner, self.back, self.kept = {}, {}, []

    def same(self, a, b, path=""):
        if type(a) is not type(b):
            raise AssertionError(f"{path}: {type(a).__name__} and {type(b).__name__}")
        if isinstance(a, (list, dict, set, bytearray, numpy.ndarray, types.FunctionType, types.CellType, Own)):
            if id(a) in self.partner or id(b) in self.back:
                if self.partner.get(id(a)) != id(b) or self.back.get(id(b)) != id(a):
                    raise AssertionError(f"{path}: shared in one of them only")
                return
            self.partner[id(a)], self.back[id(b)] = id(b), id(a)
            self.kept += [a, b]
        for kinds, compare in self.KINDS:
            if isinstance(a, kinds):
                return compare(self, a, b, path)
        if isinstance(a, types.ModuleType) or isinstance(a, type) or isinstance(a, types.BuiltinFunctionType):
            ok = a is b or a == b
        else:
            ok = a == b or (a != a and b != b)
        if not ok:
            raise AssertionError(f"{path}: {a!r} and {b!r}")

    def slots(self, a, b, path):
        for slot in a.get_all_slots():
            if hasattr(a, slot) or hasattr(b, slot):
                self.same(getattr(a, slot), getattr(b, slot), f"{path}.{slot}")

    def reference(self, a, b, path):
        self.same(a.key, b.key, path + ".key")

    def sequence(self, a, b, path):
        if len(a) != len(b):
            raise AssertionError(f"{path}: {len(a)} and {len(b)} items")
        for i, (x, y) in enumerate(zip(a, b)):
            self.same(x, y, f"{path}[{i}]")

    def mapping(self, a, b, path):
        self.sequence(list(a), list(b), path + ".keys")
        for key in a:
            self.same(a[key], b[key], f"{path}[{key!r}]")

    def array(self, a, b, path):
        flags = [(x.dtype, x.shape, x.strides, x.flags.writeable, x.flags.c_contiguous) for x in (a, b)]
        if flags[0] != flags[1]:
            raise AssertionError(f"{path}: {flags}")
        self.same(a.tolist(), b.tolist(), path)

    def function(self, a, b, path):
        if a is b:
            return
        for name in ("__name__", "__qualname__", "__module__", "__defaults__", "__kwdefaults__", "__dict__"):
            self.same(getattr(a, name), getattr(b, name), f"{path}.{name}")
        if a.__code__ != b.__code__:
            raise AssertionError(f"{path}: code")
        self.same(a.__closure__, b.__closure__, path + ".closure")
        for name in a.__code__.co_names:
            if name in a.__globals__ or name in b.__globals__:
                self.same(a.__globals__[name], b.__globals__[name], f"{path}.globals[{name}]")

    def cell(self, a, b, path):
        self.same(a.cell_contents, b.cell_contents, path + ".cell")

    def partial(self, a, b, path):
        self.same((a.func, a.args, a.keywords), (b.func, b.args, b.keywords), path)

    def own(self, a, b, path):
        self.same(vars(a), vars(b), path)

    KINDS = [
        (Task, slots), (Alias, slots), (DataNode, slots), (TaskRef, reference), (dict, mapping), ((list, tuple), sequence),
        (numpy.ndarray, array), (types.FunctionType, function), (types.CellType, cell), (functools.partial, partial), (Own, own),
    ]  # fmt: skip


def compare():
    source = sys.stdin.buffer
    pairs = 0
    while head := source.read(8):
        label = source.read(*struct.unpack("<Q", head)).decode()
        loaded = []
        for _ in range(2):
            (count,) = struct.unpack("<Q", source.read(8))
            pieces = [bytearray(source.read(*struct.unpack("<Q", source.read(8)))) for _ in range(count)]
            loaded.append(pickle.loads(pieces[0], buffers=pieces[1:]))
        try:
            Comparison().same(*loaded)
        except AssertionError as error:
            raise SystemExit(f"{label}: {error}") from None
        pairs += 1
    print(pairs)


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        compare()
    else:
        asyncio.run(messages(sys.argv[1], int(sys.argv[2])))

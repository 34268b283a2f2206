"""Orders graphs with `dask.order` and prints what it did as JSON lines: `record.py FIRST_SEED LAST_SEED`.

`dask.order` iterates over sets, so its result depends on the process. Here its sets iterate in the order of the graph
(the source is Dask's own, only its sets are replaced); that is the result the port must reproduce. With `--as-is` the
algorithm runs untouched.
"""

import inspect
import json
import operator
import random
import sys

import dask.order
from dask._task_spec import DataNode, Task, TaskRef

PLACE = {}


class SortedSet(set):
    """A set that iterates in the order of the graph."""

    def __iter__(self):
        return iter(sorted(super().__iter__(), key=PLACE.__getitem__))

    def pop(self):
        first = next(iter(self))
        self.remove(first)
        return first

    def difference(self, *others):
        return SortedSet(super().difference(*others))

    def __sub__(self, other):
        return SortedSet(super().__sub__(other))

    def __and__(self, other):
        return SortedSet(super().__and__(other))


class Node(Task):
    """A task whose dependencies iterate in the order of the graph."""

    __slots__ = ("sorted_dependencies",)

    @property
    def dependencies(self):
        return self.sorted_dependencies


def sorted_order():
    source = inspect.getsource(dask.order)
    for old, new in [
        ("leaf_nodes = {k for k, v in dependents.items() if not v}", "leaf_nodes = set(k for k, v in dependents.items() if not v)"),
        ("root_nodes = {k for k, v in dependencies.items() if not v}", "root_nodes = set(k for k, v in dependencies.items() if not v)"),
    ]:
        assert old in source
        source = source.replace(old, new)
    names = {"set": SortedSet, "__name__": "sorted_order"}
    exec(compile(source, "sorted_order", "exec"), names)

    def reverse_dict(mapping):
        result = {}
        for key, values in mapping.items():
            result.setdefault(key, SortedSet())
            for value in values:
                result.setdefault(value, SortedSet()).add(key)
        return result

    names["reverse_dict"] = reverse_dict
    return names["order"]


def key_of(kind, index):
    return [f"task-{(index * 7919) % 100003}", ("x", index // 7, index % 7), (f"y-{index % 3}", index)][kind % 3]


def layered(rng):
    """Layers of random width, edges mostly between neighbouring layers."""
    layers, count, edges = [], 0, {}
    for _ in range(rng.randint(2, 7)):
        layer = list(range(count, count + rng.randint(1, 12)))
        count += len(layer)
        for node in layer:
            below = layers[-1] if layers else []
            chosen = set(rng.sample(below, min(len(below), rng.choice([0, 1, 1, 2, 3, 8]))))
            if len(layers) > 1 and rng.random() < 0.2:
                chosen.add(rng.choice(layers[-2]))
            edges[node] = chosen
        layers.append(layer)
    return edges


def sparse(rng):
    count = rng.randint(1, 60)
    density = rng.choice([0.5, 1, 2, 4])
    return {
        node: set(rng.sample(range(node), min(node, int(rng.expovariate(1 / density))))) for node in range(count)
    }


def tree(rng):
    width, fan, edges = rng.randint(1, 64), rng.randint(2, 4), {}
    level = list(range(width))
    edges.update({node: set() for node in level})
    while len(level) > 1:
        above = []
        for start in range(0, len(level), fan):
            node = len(edges)
            edges[node] = set(level[start : start + fan])
            above.append(node)
        level = above
    return edges


def all_to_all(rng):
    width, edges = rng.randint(1, 8), {}
    inputs = list(range(width))
    edges.update({node: set() for node in inputs})
    splits = {}
    for source in inputs:
        for target in range(width):
            splits[source, target] = len(edges)
            edges[splits[source, target]] = {source}
    for target in range(width):
        edges[len(edges)] = {splits[source, target] for source in inputs}
    return edges


def chains(rng):
    edges, width = {}, rng.randint(1, 6)
    tips = []
    for _ in range(rng.randint(1, 10)):
        for chain in range(width):
            node = len(edges)
            edges[node] = {tips[chain]} if len(tips) == width else set()
            if len(tips) == width:
                tips[chain] = node
            else:
                tips.append(node)
    if rng.random() < 0.7:
        edges[len(edges)] = set(tips)
    return edges


def collection(rng):
    """Graphs of real collections, optimised as the scheduler would see them."""
    import dask.array

    x = dask.array.ones((rng.randint(2, 30), rng.randint(2, 30)), chunks=(rng.randint(2, 8), rng.randint(2, 8)))
    expression = rng.choice(
        [
            lambda: (x + 1).sum(),
            lambda: (x - x.mean(axis=0)).std(axis=1),
            lambda: x.dot(x.T).sum(axis=0),
            lambda: x.cumsum(axis=0),
            lambda: x.rechunk((3, x.shape[1])).max(axis=1),
            lambda: dask.array.concatenate([x, x * 2]).mean(),
        ]
    )
    graph = dict(expression().__dask_graph__())
    from dask._task_spec import convert_legacy_graph

    graph = convert_legacy_graph(graph)
    return graph


def random_graph(seed):
    rng = random.Random(seed)
    make = rng.choice([layered, layered, sparse, sparse, tree, all_to_all, chains, collection])
    edges = make(rng)
    if make is collection:
        return edges
    kind = rng.randint(0, 2)
    names = {node: key_of(kind if rng.random() < 0.97 else kind + 1, node) for node in edges}
    outside = rng.random() < 0.2
    data = rng.random() < 0.3
    graph = {}
    for node, below in edges.items():
        references = [names[other] for other in below]
        if outside and rng.random() < 0.1:
            references.append(f"outside-{rng.randint(0, 3)}")
        if data and not references and rng.random() < 0.5:
            graph[names[node]] = DataNode(names[node], 1)
        else:
            graph[names[node]] = Task(names[node], operator.add, *map(TaskRef, references))
    items = list(graph.items())
    if rng.random() < 0.5:
        rng.shuffle(items)
    return dict(items)


def record(seed, order):
    graph = random_graph(seed)
    keys = list(graph)
    outside = []
    for node in graph.values():
        for key in sorted(node.dependencies, key=str):
            if key not in graph and key not in outside:
                outside.append(key)
    PLACE.clear()
    PLACE.update({key: place for place, key in enumerate(keys + outside)})
    dependencies = [sorted(PLACE[key] for key in node.dependencies) for node in graph.values()]
    data = [place for place, node in enumerate(graph.values()) if isinstance(node, DataNode)]
    if order is not dask.order.order:
        for key, node in graph.items():
            if not isinstance(node, DataNode):
                replaced = Node(key, operator.add)
                replaced.sorted_dependencies = SortedSet(node.dependencies)
                graph[key] = replaced
    result = order(graph)
    return {
        "seed": seed,
        "keys": keys + outside,
        "tasks": len(keys),
        "dependencies": dependencies,
        "data": data,
        "order": [result[key] for key in keys],
    }


if __name__ == "__main__":
    as_is = "--as-is" in sys.argv
    first, last = [int(word) for word in sys.argv[1:] if word != "--as-is"]
    order = dask.order.order if as_is else sorted_order()
    for seed in range(first, last):
        print(json.dumps(record(seed, order), separators=(",", ":")))

"""Opens task graphs for the Rust scheduler and hands them back as plain tables.

Owns: unpickling of client data, materialisation, culling, legacy conversion, one pickle per task. Must not know:
scheduler state. Keeps nothing from one request to the next, so any helper can serve any request and a dead one costs
only the graph it held.

The scheduler sends this source to a bare interpreter (``-c`` bootstrap) over the channel it inherits as stdin; its
stdout is a pipe whose closing means that the scheduler is gone. Messages both ways are

    u32 kind, u32 request id, u32 header length, u32 blob count, u64 length of each blob, header (msgpack), blobs

all little-endian. Requests are served strictly in order. Python 3.10 or newer, nothing but dask and distributed.
"""

from __future__ import annotations

import array
import gc
import io
import itertools
import operator
import os
import pickle
import select
import signal
import socket
import struct
import sys
import textwrap
import traceback

try:
    import msgpack
except ImportError:  # `main` says what is missing when it imports distributed
    msgpack = None

PRELUDE = struct.Struct("<IIII")
CHUNK_TASKS = 4096
HELD_BYTES = 64 << 10
CHUNK_BYTES = 4 << 20
LARGE_GRAPH_TASKS = 5_000
LARGE_GRAPH_BYTES = 8 << 20
REQUESTS_BETWEEN_COLLECTIONS = 256
NO_ANNOTATION = 0xFFFFFFFF
#: Address space that libraries reserve for threads without ever using it; not part of the memory limit.
RESERVED_BYTES = 8 << 30

# Message kinds; the same numbers are in graph/channel.rs.
HELLO, BEGIN, TASKS, END, ERROR, VALUE, QUERY, FAILED, TAKEN = 1, 2, 3, 4, 5, 6, 7, 8, 9
MATERIALIZE, LOAD, VERSIONS, UPLOAD = 32, 33, 35, 36
RUN, PLUGIN_ADD, PLUGIN_REMOVE, HOOK, ANSWER, CLOSE, GROUP_WORKERS = 64, 65, 66, 67, 68, 69, 70

DATA_PRODUCER, BARRIER, DATA = 1, 2, 4


class Gone(Exception):
    """The scheduler closed the channel."""


def size_of(blob) -> int:
    return blob.nbytes if isinstance(blob, memoryview) else len(blob)


class Channel:
    """Length-prefixed messages over the inherited socket. One reader; writers take turns by the GIL and a lock."""

    def __init__(self, sock: socket.socket, lock=None):
        self.sock = sock
        self.lock = lock
        self.held: list[bytes] = []
        self.held_bytes = 0

    def read_exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.sock.recv_into(view)
            if not count:
                raise Gone
            view = view[count:]
        return data

    def receive(self):
        kind, request, header_size, blob_count = PRELUDE.unpack(self.read_exactly(16))
        rest = self.read_exactly(8 * blob_count + header_size)
        sizes = struct.unpack_from(f"<{blob_count}Q", rest)
        header = unpack(memoryview(rest)[8 * blob_count :])
        return kind, request, header, [self.read_exactly(size) for size in sizes]

    def send(self, kind: int, request: int, header: bytes, blobs=(), more: bool = False) -> None:
        """`more`: another message follows at once, so that small ones may travel together."""
        sizes = struct.pack(f"<{len(blobs)}Q", *map(size_of, blobs))
        parts = [PRELUDE.pack(kind, request, len(header), len(blobs)) + sizes + header, *blobs]
        if self.lock is None:
            self.write(parts, more)
        else:
            with self.lock:
                self.write(parts, more)

    def write(self, parts, more: bool) -> None:
        total = sum(map(size_of, parts))
        if self.held_bytes + total < HELD_BYTES:
            self.held += parts
            self.held_bytes += total
            if not more:
                self.flush()
            return
        self.flush()
        for part in parts:
            if size_of(part):
                self.sock.sendall(part)

    def flush(self) -> None:
        if self.held:
            data = b"".join(self.held)
            self.held.clear()
            self.held_bytes = 0
            self.sock.sendall(data)

    def idle(self) -> bool:
        return not select.select([self.sock], [], [], 0)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Values cross the channel as the frames of a Dask message, so that both sides use the codec they already have.


def value_frames(value) -> list:
    from distributed.protocol import dumps

    return dumps(value)


def frames_value(frames: list):
    from distributed.protocol import loads

    return loads(frames)


def encode_key(value):
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be (part of) a task's key")


def pack(header) -> bytes:
    return msgpack.packb(header, use_bin_type=True, unicode_errors="surrogatepass")


def pack_keys(keys: list) -> bytes:
    return msgpack.packb(keys, default=encode_key, use_bin_type=True, unicode_errors="surrogatepass")


def unpack(data):
    return msgpack.unpackb(data, use_list=False, strict_map_key=False, unicode_errors="surrogatepass")


def dumps_any(value) -> bytes:
    from distributed.protocol import pickle as distributed_pickle

    return distributed_pickle.dumps(value)


# ---------------------------------------------------------------------------------------------------------------------
# One pickle per task.


class SpecWriter:
    """Pickles task nodes back to back, what many tasks share (class, function) only once as a *prefix*.

    A plain spec is a whole pickle. A spliced spec is ``prefix + body + BUILD STOP``: the prefix loads the function and
    an empty Task and leaves the latter on the stack, the body is the task's state pickled with the prefix's memo.
    Both load to the very same Task. Splicing needs that ``Task`` pickles as (new object, tuple of slots), which
    `splice_state` verifies at start.
    """

    def __init__(self, state_of, by_value: bool):
        self.state_of = state_of
        self.by_value = by_value
        self.file = io.BytesIO()
        self.buffers: list[pickle.PickleBuffer] = []
        self.pickler = pickle.Pickler(self.file, 5, buffer_callback=self.buffers.append)
        self.prefixes: list[bytes] = []
        self.known: dict[int, tuple] = {}

    def write(self, nodes: list):
        """Returns end offsets, prefix number per task (0: none) and [(task, buffers)] of those with buffers."""
        from dask._task_spec import Task

        self.file.seek(0)
        self.file.truncate()
        ends, prefix_of, with_buffers = [], [], []
        tell, add_end, add_prefix = self.file.tell, ends.append, prefix_of.append
        spliceable, pickler, state_of, known = self.state_of is not None, self.pickler, self.state_of, self.known
        dump, buffers, start = pickler.dump, self.buffers, 0
        for node in nodes:
            entry = None
            if spliceable and type(node) is Task:
                func = node.func
                entry = known.get(id(func))
                if entry is None:
                    known[id(func)] = (0, None, func)
                elif entry[0] == 0 and entry[1] is None:
                    entry = known[id(func)] = self.make_prefix(func)
            try:
                if entry is not None and entry[0]:
                    pickler.memo = entry[1]
                    dump(state_of(node))
                    number = entry[0]
                else:
                    pickler.clear_memo()
                    dump(node)
                    number = 0
            except Exception:
                number = 0
                self.write_by_value(node, start)
            if buffers:
                with_buffers.append((len(ends), buffers[:]))
                buffers.clear()
            start = tell()
            add_end(start)
            add_prefix(number)
        return ends, prefix_of, with_buffers

    def write_states(self, func, states: list):
        """As `write`, for states of tasks of one function that were never made into tasks; None if it cannot be shared."""
        entry = self.known.get(id(func))
        if entry is None:
            entry = self.known[id(func)] = self.make_prefix(func)
        number, memo, _ = entry
        if not number:
            return None
        self.file.seek(0)
        self.file.truncate()
        pickler, tell = self.pickler, self.file.tell
        dump, ends = pickler.dump, []
        add_end = ends.append
        for state in states:
            pickler.memo = memo
            dump(state)
            add_end(tell())
        return None if self.buffers else (ends, [number] * len(ends), [])

    def make_prefix(self, func) -> tuple:
        """(number, memo, function); number 0 with memo False: tasks of this function are written whole."""
        refused = (0, False, func)
        file, buffers = io.BytesIO(), []
        try:
            from dask._task_spec import Task, _no_deps
        except ImportError:  # another release
            return refused
        try:
            pickler = pickle.Pickler(file, 5, buffer_callback=buffers.append)
            pickler.dump(func)
            needs_value = b"__main__" in file.getvalue()
        except Exception:
            needs_value = True
        try:
            if needs_value:
                import cloudpickle

                file, buffers = io.BytesIO(), []
                pickler = cloudpickle.Pickler(file, 5, buffer_callback=buffers.append)
                pickler.dump(func)
            if buffers:
                return refused
            ends = [file.tell()]
            for shared in (_no_deps, Task):
                pickle.Pickler.dump(pickler, shared)
                ends.append(file.tell())
        except Exception:
            return refused
        data = file.getvalue()
        first, second = data[: ends[0] - 1] + b"0", data[ends[0] : ends[1] - 1] + b"0"
        # POP what was only loaded for the memo; then `Task.__new__(Task)`.
        self.prefixes.append(first + second + data[ends[1] : -1] + b")\x81")
        holder = pickle.Pickler(io.BytesIO(), 5)
        holder.memo = pickler.memo
        return len(self.prefixes), holder.memo, func

    def write_by_value(self, node, start: int) -> None:
        """As stock does when the plain pickle fails: distributed's own rules, then cloudpickle."""
        from distributed.protocol import pickle as distributed_pickle

        self.buffers.clear()
        self.file.seek(start)
        self.file.truncate()
        self.file.write(distributed_pickle.dumps(node, buffer_callback=self.buffers.append))

    def finish_main(self, nodes: list, ends: list, prefix_of: list, with_buffers: list):
        """Redoes the tasks that mention ``__main__`` through cloudpickle: workers have another one."""
        from distributed.protocol import pickle as distributed_pickle

        data, pieces, buffers_of = self.file.getvalue(), [], dict(with_buffers)
        start, total = 0, 0
        for index, end in enumerate(ends):
            piece = data[start:end]
            start = end
            if b"__main__" in piece or self.by_value:
                collected: list = []
                piece = distributed_pickle.dumps(nodes[index], buffer_callback=collected.append)
                prefix_of[index] = 0
                buffers_of.pop(index, None)
                if collected:
                    buffers_of[index] = collected
            pieces.append(piece)
            total += len(piece)
            ends[index] = total
        return b"".join(pieces), sorted(buffers_of.items())


def splice_state():
    """A function node → pickle state of `Task`, or None where this release pickles tasks in a way we do not know."""
    import copyreg

    from dask._task_spec import Task, TaskRef

    slots = Task.get_all_slots()
    state_of = operator.attrgetter(*slots)
    probe = Task("probe", operator.add, TaskRef("x"), 1)
    reduced = probe.__reduce_ex__(5)
    if reduced[0] is copyreg.__newobj__ and reduced[1] == (Task,) and len(reduced) >= 3:
        if all(part is None for part in reduced[3:]) and reduced[2] == state_of(probe):
            return state_of
    return None


#: Arguments that stand for themselves: they hold no future, no task and nothing else that Dask would replace.
PLAIN_ARGUMENTS = frozenset({int, float, complex, str, bytes, bool, type(None), range, slice})


class PlainMap:
    """The tasks of a `client.map` over plain values, as their states: the tasks themselves are never made.

    What `_MapExpr` would make is known: one task per key with the items as arguments. `of` refuses what is not that.
    """

    def __init__(self, func, keys: list, states: list):
        self.func = func
        self.keys = keys
        self.states = states

    @classmethod
    def of(cls, expr, state_of):
        try:
            from distributed.client import _MapExpr
        except ImportError:  # another release
            return None
        if state_of is None or type(expr) is not _MapExpr or expr.kwargs or not expr.iterables:
            return None
        iterables = expr.iterables
        for items in iterables:
            if type(items) not in (list, tuple, range):
                return None  # looking at it might use it up
            if type(items) is not range and not PLAIN_ARGUMENTS.issuperset(map(type, items)):
                return None
        state = state_maker(expr.func)
        if state is None:
            return None
        states = {key: state(key, args) for key, args in zip(expr.keys, zip(*iterables))}
        return cls(expr.func, list(states), list(states.values()))


def state_maker(func):
    """A function (key, args) → state of `Task(key, func, *args)`, or None where this release has another state."""
    from dask._task_spec import Task

    slots = Task.get_all_slots()
    try:
        probe = Task("probe", func, 1)
        fixed = [getattr(probe, slot) for slot in slots]
    except Exception:
        return None
    if type(probe) is not Task or probe.key != "probe" or probe.args != (1,) or probe.kwargs != {} or probe.dependencies:
        return None
    names = {"key": "key", "args": "args"}
    constants = {f"c{index}": value for index, value in enumerate(fixed)}
    fields = ", ".join(names.get(slot, f"c{index}") for index, slot in enumerate(slots))
    return eval(f"lambda key, args: ({fields},)", constants)


# ---------------------------------------------------------------------------------------------------------------------
# Materialisation, in the order of `Scheduler.update_graph`.


def open_graph(header: dict, blobs: list):
    """The client's expression; any failure is what stock reports for mismatched environments."""
    from distributed.protocol.compression import decompress
    from distributed.protocol.serialize import families, merge_and_deserialize

    try:
        sub_header = unpack(blobs[0])
        frames = blobs[2:]
        if is_plain_pickle(sub_header):
            return families["pickle"][1](sub_header, frames)
        if "compression" in sub_header:
            frames = decompress(sub_header, frames)
        return merge_and_deserialize(sub_header, frames)
    except BaseException as error:
        message = """\
            Error during deserialization of the task graph. This frequently
            occurs if the Scheduler and Client have different environments.
            For more information, see
            https://docs.dask.org/en/stable/deployment-considerations.html#consistent-software-environments
        """
        raise RuntimeError(textwrap.dedent(message)) from error


def is_plain_pickle(sub_header: dict) -> bool:
    """What nearly every graph is; the general way costs as much as the rest of a small graph."""
    special = ("is-collection", "split-num-sub-frames")
    return (
        sub_header.get("serializer") == "pickle"
        and not any(sub_header.get("compression") or ())
        and not any(name in sub_header for name in special)
    )


def convert(graph):
    """Legacy tuples to task nodes; a graph of nodes only is returned as it is."""
    from dask._task_spec import Alias, GraphNode, convert_legacy_graph

    kinds = set(map(type, graph.values()))
    if type(graph) is dict and all(issubclass(kind, GraphNode) and not issubclass(kind, Alias) for kind in kinds):
        return graph
    return convert_legacy_graph(graph)


def cull(graph: dict, wanted) -> dict:
    stack, seen, kept = list(wanted), set(), {}
    while stack:
        key = stack.pop()
        if key in seen:
            continue
        seen.add(key)
        node = graph.get(key)
        if node is not None:
            kept[key] = node
            stack.extend(node.dependencies)
    # The graph's own order is kept: neighbours stay neighbours for the reader's caches.
    return graph if len(kept) == len(graph) else {key: graph[key] for key in graph if key in kept}


class Annotations:
    """Merged annotations per key, each distinct dictionary sent once."""

    def __init__(self, expr, global_annotations: dict):
        self.by_type: dict[str, dict] = {}
        for name, values in expr.__dask_annotations__().items():
            self.by_type.setdefault(name, {}).update(values)
        self.by_type = {name: values for name, values in self.by_type.items() if values}
        self.fixed = {name: value for name, value in global_annotations.items() if not callable(value)}
        self.computed = {name: value for name, value in global_annotations.items() if callable(value)}
        self.order = list(global_annotations)
        self.per_key = bool(self.by_type or self.computed)
        self.known: dict[bytes, int] = {}
        self.fresh: list[dict] = []

    def of(self, key) -> int:
        """Number of the dictionary of this key, or NO_ANNOTATION."""
        merged = {name: self.computed[name](key) if name in self.computed else self.fixed[name] for name in self.order}
        for name, values in self.by_type.items():
            value = values.get(key)
            if value is not None:
                merged[name] = value
        if not merged:
            return NO_ANNOTATION
        identity = self.identity(merged)
        number = self.known.get(identity)
        if number is None:
            number = self.known[identity] = len(self.known)
            self.fresh.append(merged)
        return number

    @staticmethod
    def identity(merged: dict) -> bytes:
        try:
            return msgpack.packb(merged, default=dumps_any, use_bin_type=True, unicode_errors="surrogatepass")
        except OverflowError:
            return dumps_any(merged)

    def column(self, keys: list) -> tuple[bytes, list]:
        """u32 per key, and the frames of the list of dictionaries that this chunk is the first to use."""
        numbers = array.array("I", map(self.of, keys)).tobytes()
        fresh, self.fresh = self.fresh, []
        return numbers, value_frames(fresh) if fresh else []


class Numbering:
    """Task keys to indexes; a dependency outside the graph gets the next number after the graph's own."""

    def __init__(self, keys: list):
        self.total = len(keys)
        self.keys = keys
        self.index = None
        self.new_external: list = []
        self.externals = 0

    def columns(self, nodes: list) -> tuple[bytes, bytes]:
        """Dependency count per node and all indexes, as u32."""
        sets = [node.dependencies for node in nodes]
        counts = array.array("I", map(len, sets))
        if not any(sets):
            return counts.tobytes(), b""
        if self.index is None:
            self.index = dict(zip(self.keys, itertools.count()))
        flat = list(itertools.chain.from_iterable(sets))
        numbers = list(map(self.index.get, flat))
        if None in numbers:
            numbers = [self.number(key) if number is None else number for key, number in zip(flat, numbers)]
        return counts.tobytes(), array.array("I", numbers).tobytes()

    def number(self, key) -> int:
        found = self.index.get(key)
        if found is None:
            found = self.index[key] = self.total + self.externals
            self.externals += 1
            self.new_external.append(key)
        return found


def flags_of(nodes: list) -> bytes:
    from dask._task_spec import DataNode

    flags = bytes(map(bool, map(operator.attrgetter("data_producer"), nodes)))
    special = {}
    for kind in set(map(type, nodes)):
        bits = (DATA if issubclass(kind, DataNode) else 0) | (BARRIER if kind.__name__ == "P2PBarrierTask" else 0)
        if bits:
            special[kind] = bits
    if special:
        flags = bytes(flag | special.get(type(node), 0) for flag, node in zip(flags, nodes))
    return flags


def materialize(helper: Helper, request: int, header: dict, blobs: list) -> int:
    """Answers one graph: BEGIN, TASKS…, END. Returns how many tasks it had."""
    import cloudpickle
    from dask._expr import LLGExpr

    given = load_pickled(header, blobs)
    size = sum(map(len, blobs))
    expr = open_graph(header, blobs)
    by_value = bool(cloudpickle.list_registry_pickle_by_value())
    state_of = None if by_value else helper.state_of
    writer = SpecWriter(state_of, by_value)
    columns = PlainColumns.of(PlainMap.of(expr, state_of), writer)
    if columns is None:
        graph = expr.__dask_graph__()
    annotations = Annotations(expr, given or {})
    if columns is None:
        graph = convert(graph)
        if isinstance(expr, LLGExpr):
            graph = cull(graph, unpack(blobs[1]))
        columns = NodeColumns(graph, writer)
        del graph
    del expr
    blobs.clear()
    begin = {"tasks": len(columns.keys), "annotate_all": bool(annotations.fixed) and not annotations.per_key}
    helper.send(BEGIN, request, begin, value_frames(annotations.fixed) if annotations.fixed else [], more=True)
    write_chunks(helper, request, columns, annotations)
    helper.send(END, request, {})
    return max(len(columns.keys), LARGE_GRAPH_TASKS if size > LARGE_GRAPH_BYTES else 0)


def load_pickled(header: dict, blobs: list):
    """The `annotations` argument: a pickle and its buffers at the end of the blobs, or nothing."""
    from distributed.protocol import pickle as distributed_pickle

    count = header.get("annotation_blobs", 0)
    if not count:
        return None
    data, *buffers = blobs[-count:]
    del blobs[-count:]
    return distributed_pickle.loads(data, buffers=buffers)


class NodeColumns:
    """Columns of a graph of task nodes, chunk by chunk."""

    def __init__(self, graph: dict, writer: SpecWriter):
        self.keys, self.nodes = list(graph), list(graph.values())
        self.writer = writer
        self.numbering = Numbering(self.keys)

    def pickles(self, start: int, stop: int):
        """Pickles in a row, where each ends, the prefix of each, and [(task, buffers)]."""
        nodes, writer = self.nodes[start:stop], self.writer
        ends, prefix_of, with_buffers = writer.write(nodes)
        data = writer.file.getvalue()
        if writer.by_value or b"__main__" in data:
            data, with_buffers = writer.finish_main(nodes, ends, prefix_of, with_buffers)
        return data, ends, prefix_of, with_buffers

    def others(self, start: int, stop: int):
        """Dependency counts, dependencies, flags and keys outside of the graph that are new."""
        nodes = self.nodes[start:stop]
        counts, dependencies = self.numbering.columns(nodes)
        external, self.numbering.new_external = self.numbering.new_external, []
        return counts, dependencies, flags_of(nodes), external


class PlainColumns:
    """Columns of a `PlainMap`: nothing depends on anything."""

    def __init__(self, tasks: PlainMap, writer: SpecWriter):
        self.tasks = tasks
        self.keys = tasks.keys
        self.writer = writer

    @classmethod
    def of(cls, tasks: PlainMap | None, writer: SpecWriter):
        """None where the tasks' function cannot be shared."""
        if tasks is None or writer.write_states(tasks.func, tasks.states[:1]) is None:
            return None
        return cls(tasks, writer)

    def pickles(self, start: int, stop: int):
        ends, prefix_of, with_buffers = self.writer.write_states(self.tasks.func, self.tasks.states[start:stop])
        return self.writer.file.getvalue(), ends, prefix_of, with_buffers

    def others(self, start: int, stop: int):
        count = len(self.keys[start:stop])
        return bytes(4 * count), b"", bytes(count), []


def write_chunks(helper: Helper, request: int, columns, annotations: Annotations) -> None:
    keys, writer = columns.keys, columns.writer
    start, step, sent_prefixes = 0, CHUNK_TASKS, 0
    while start < len(keys):
        stop = min(start + step, len(keys))
        chunk_keys = keys[start:stop]
        data, ends, prefix_of, with_buffers = columns.pickles(start, stop)
        counts, dependencies, flags, external = columns.others(start, stop)
        numbers, dictionaries = annotations.column(chunk_keys) if annotations.per_key else (b"", [])
        views = [[buffer.raw() for buffer in buffers] for _, buffers in with_buffers]
        table = {
            "tasks": stop - start,
            "externals": len(external),
            "prefixes": writer.prefixes[sent_prefixes:],
            "annotation_frames": len(dictionaries),
            "buffers": [(index, len(of_task)) for (index, _), of_task in zip(with_buffers, views)],
        }
        blobs = [
            pack_keys(chunk_keys),
            pack_keys(external),
            counts,
            dependencies,
            array.array("Q", ends).tobytes(),
            array.array("I", prefix_of).tobytes() if any(prefix_of) else b"",
            data,
            flags,
            numbers,
            *dictionaries,
            *itertools.chain.from_iterable(views),
        ]
        helper.send(TASKS, request, table, blobs, more=True)
        sent_prefixes = len(writer.prefixes)
        step = max(16, min(CHUNK_TASKS, CHUNK_BYTES * (stop - start) // max(1, ends[-1])))
        start = stop
        del data, blobs, views, with_buffers


# ---------------------------------------------------------------------------------------------------------------------
# The process.


class Helper:
    """Serves requests of one channel until the scheduler goes away."""

    def __init__(self, channel: Channel, options: dict):
        self.channel = channel
        self.options = options
        self.state_of = splice_state()
        self.since_collection = 0
        self.reported_memory = 0

    def send(self, kind: int, request: int, header, blobs=(), more: bool = False) -> None:
        self.channel.send(kind, request, pack(header), blobs, more)

    def serve(self) -> None:
        while True:
            kind, request, header, blobs = self.channel.receive()
            # From here on it is this request's fault when the process ends.
            self.channel.send(TAKEN, request, b"\x80")
            tasks = 0
            try:
                tasks = self.handle(kind, request, header, blobs) or 0
            except Gone:
                raise
            except BaseException as error:
                self.send_error(request, error)
                tasks = LARGE_GRAPH_TASKS
                del error
            kind = header = blobs = None
            self.tidy(tasks)

    def handle(self, kind: int, request: int, header: dict, blobs: list) -> int | None:
        if kind == MATERIALIZE:
            return materialize(self, request, header, blobs)
        if kind == LOAD:
            self.send(VALUE, request, {}, value_frames(load_value(blobs)))
        elif kind == VERSIONS:
            self.send(VALUE, request, {}, value_frames(versions(header["packages"])))
        elif kind == UPLOAD:
            place_file(header["directory"], header["name"], bytes(blobs[0]), header["load"])
            self.send(VALUE, request, {}, value_frames(None))
        else:
            raise NotImplementedError(f"the graph helper does not know message {kind}")
        return None

    def send_error(self, request: int, error: BaseException) -> None:
        self.send(ERROR, request, describe_error(error, self.options.get("memory_limit")))

    def tidy(self, tasks: int) -> None:
        """Gives memory back; cyclic garbage is collected only here because the collector is off while a graph is open."""
        self.since_collection += 1
        if tasks < LARGE_GRAPH_TASKS and self.since_collection < REQUESTS_BETWEEN_COLLECTIONS:
            return
        if tasks < LARGE_GRAPH_TASKS and not self.channel.idle():
            return
        self.since_collection = 0
        gc.collect()
        if tasks >= LARGE_GRAPH_TASKS:
            trim_memory()


def trim_memory() -> None:
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (ImportError, OSError, AttributeError):
        pass  # another C library than glibc: it returns memory by itself or not at all


def describe_error(error: BaseException, memory_limit=None) -> dict:
    """Exception and traceback as stock's `error_message` makes them, but opaque bytes."""
    from distributed.core import error_message

    if memory_limit and ran_out_of_memory(error):
        limit = f"{memory_limit / 2**30:.1f} GiB"
        text = (
            f"The graph helper of the scheduler reached its memory limit of {limit} while opening this graph. "
            "Large objects embedded in the graph are the usual cause: scatter them, or read them inside the tasks. "
            "The limit can be raised with --graph-memory-limit."
        )
        error = RuntimeError(text).with_traceback(error.__traceback__)
    elif not isinstance(error, Exception):
        # SystemExit or KeyboardInterrupt raised by user code must not end the user's client.
        error = RuntimeError(f"opening this graph raised {error!r}").with_traceback(error.__traceback__)
    try:
        raise error
    except Exception as raised:
        message = error_message(raised)
    return {
        "exception": message["exception"].data,
        "traceback": message["traceback"] and message["traceback"].data,
        "exception_text": message["exception_text"],
        "traceback_text": message["traceback_text"],
    }


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error or one it came from is a MemoryError."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def load_value(blobs: list):
    from distributed.protocol import pickle as distributed_pickle

    data, *buffers = blobs
    return distributed_pickle.loads(data, buffers=buffers)


def versions(packages=None) -> dict:
    from distributed.versions import get_versions

    return get_versions(packages=packages)


def place_file(directory: str, name: str, data: bytes, load: bool):
    """What `Server.upload_file` does: the file lands in the local directory, which is on sys.path."""
    from distributed.utils import import_file

    os.makedirs(directory, exist_ok=True)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    target = os.path.join(directory, os.path.basename(name))
    unfinished = f"{target}.{os.getpid()}"
    with open(unfinished, "wb") as file:
        file.write(data)
    os.replace(unfinished, target)
    if load:
        import_file(target)


def die_with(lifeline: int) -> None:
    """The kernel ends this process when the scheduler's end of the pipe closes, even inside a hanging C call."""
    import fcntl

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        raise SystemExit  # it closed before we asked to be told


def limit_memory(limit_bytes) -> None:
    """The scheduler stops a helper that is too large. What asks for far too much at once gets a MemoryError before that,
    and the kernel's out-of-memory killer takes us before the scheduler."""
    import resource

    if limit_bytes:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = limit_bytes + RESERVED_BYTES
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass


#: Slots of a task, in the order of its pickled state; the same order is in graph/direct/tasks.rs.
KNOWN_SLOTS = ["_data_producer", "_dependencies", "_is_coro", "_repr", "_token", "args", "func", "key", "kwargs"]


def makes_known_tasks() -> bool:
    """Whether this release makes and pickles tasks as the scheduler does where it does without us (graph/direct)."""
    import cloudpickle

    try:
        from dask._expr import Expr, LLGExpr
        from dask._task_spec import Alias, Task, TaskRef, convert_legacy_graph
        from distributed.client import _MapExpr

        state_of = splice_state()
        if state_of is None or Task.get_all_slots() != KNOWN_SLOTS or cloudpickle.list_registry_pickle_by_value():
            return False
        mapped = _MapExpr(operator.add, ([1, 2], (TaskRef("x"), 3)), "m", True, {}, {"k": 4}, ("a", "b")).__dask_graph__()
        expected = {"a": Task("a", operator.add, 1, Alias("x"), k=4), "b": Task("b", operator.add, 2, 3, k=4)}
        parameters = ["func", "iterables", "key", "pure", "annotations", "kwargs", "_cached_keys"]
        return (
            _MapExpr._parameters == parameters
            and list(mapped) == list(expected)
            and all(type(mapped[key]) is Task and state_of(mapped[key]) == state_of(expected[key]) for key in expected)
            and LLGExpr(expected).__dask_graph__() == expected
            and all(kind.__dask_annotations__ is Expr.__dask_annotations__ for kind in (LLGExpr, _MapExpr))
            and convert_legacy_graph({"s": Alias("s"), **expected}) == expected
        )
    except Exception:
        return False


def hello() -> dict:
    import distributed

    return {
        "pid": os.getpid(),
        "executable": sys.executable,
        "distributed": distributed.__version__,
        "versions": versions(),
        "makes_known_tasks": makes_known_tasks(),
    }


def preload(options: dict) -> None:
    """Modules that users preload may teach this process to unpickle; their set-up functions run in the other one."""
    from distributed.preloading import process_preloads

    os.makedirs(options["local_directory"], exist_ok=True)
    process_preloads(None, options["preload"], options["preload_argv"], file_dir=options["local_directory"])


def main(sock: socket.socket, lifeline: int, options: dict) -> None:
    """Called by the bootstrap with the channel already moved away from stdin."""
    die_with(lifeline)
    for number in (signal.SIGINT, signal.SIGTERM):
        # These are the scheduler's to handle, and we end with it. Unlike SIG_IGN, a handler is not inherited by programs
        # that user code starts.
        signal.signal(number, lambda *_: None)
    limit_memory(options.get("memory_limit"))
    lock = None
    if options["mode"] == "functions":
        import threading

        lock = threading.Lock()
    channel = Channel(sock, lock)
    try:
        import distributed.client  # noqa: F401
        import distributed.protocol  # noqa: F401

        greeting = hello()
        helper = Helper(channel, options)
        if options["preload"] and options["mode"] == "graphs":
            preload(options)
    except BaseException as error:
        import json

        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        # msgpack itself may be what is missing; a JSON string of ASCII is valid as the blob.
        channel.send(FAILED, 0, b"\x80", [json.dumps({"error": text, "executable": sys.executable}).encode()])
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    helper.send(HELLO, 0, {}, value_frames(greeting))
    try:
        if options["mode"] == "functions":
            scheduler_shim = options["load"]("scheduler_shim")
            scheduler_shim.serve(helper)
        else:
            helper.serve()
    except (Gone, BrokenPipeError, ConnectionResetError):
        pass
    # Skips atexit handlers and thread joins of user libraries: nothing of ours is left to save.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

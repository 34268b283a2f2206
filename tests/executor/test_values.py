"""Values in both directions: shared memory, families of serialisation, what cannot be serialised."""

import os
import pickle

import numpy
import pandas
import pyarrow
import pyarrow.fs
import pytest
from dask._task_spec import TaskRef
from distributed.protocol import loads
from harness import Executor, memfd, message_frames, number_of, pack, thing_of, unpack, value_of

MEGABYTE = 1 << 20


def open_descriptors(executor) -> int:
    return len(os.listdir(f"/proc/{executor.process.pid}/fd"))


THINGS = {
    "numpy": numpy.arange(MEGABYTE, dtype="f8"),
    "numpy 2d, other order": numpy.asfortranarray(numpy.arange(MEGABYTE, dtype="i4").reshape(1024, 1024)),
    "pandas": pandas.DataFrame({"a": numpy.arange(100_000), "b": numpy.arange(100_000) / 3, "c": ["x"] * 100_000}),
    "pyarrow": pyarrow.table({"a": numpy.arange(100_000)}),
    "bytes": b"\x07" * MEGABYTE,
    "bytearray": bytearray(b"\x07" * MEGABYTE),
    "list of arrays": [numpy.zeros(100_000), 1, numpy.ones(3)],
    "dict of arrays": {"a": numpy.zeros(100_000), "b": {"c": numpy.ones(100_000)}},
    "small": {"a": [1, "x", None]},
}


def same(one, other) -> bool:
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, numpy.ndarray):
        return one.dtype == other.dtype and numpy.array_equal(one, other)
    return one.equals(other) if hasattr(one, "equals") else one == other


@pytest.mark.parametrize("name", THINGS)
def test_values_come_and_go_unchanged(executor, name):
    thing = THINGS[name]
    if name == "pyarrow":  # the oldest release we support forgets to import a part of it that it needs
        executor.client_run(lambda: bool(__import__("pyarrow.fs")))
    executor.put(name, thing)
    assert same(executor.value(name), thing), "as it came, not opened"
    assert executor.run(type, TaskRef(name), dependencies=[name], key=f"type of {name}") is type(thing)
    assert same(executor.value(name), thing), "opened"
    copied = executor.begin(pickle.loads, pickle.dumps(thing), key=f"made {name}")
    assert executor.outcome(copied)[0] == "done"
    assert same(executor.value(f"made {name}"), thing), "made there"
    executor.send(["drop", [name, f"made {name}"]])


def test_headers_of_values_are_what_peers_expect(executor):
    executor.outcome(executor.begin(numpy.zeros, 10, key="zeros"))
    executor.outcome(executor.begin(dict, a=1, key="dict"))
    found, _ = executor.fetch("zeros", "dict")
    for key, family in (("zeros", "dask"), ("dict", "pickle")):
        header = unpack(found[key][0])
        first = header["sub-headers"][0] if header.get("is-collection") else header
        assert first["serializer"] == family
        assert header["num-sub-frames"] == len(found[key][1])
        assert not any(header["compression"])


def test_received_arrays_are_views_of_the_shared_memory(executor):
    executor.put("array", THINGS["numpy"])

    def where(array):
        address = array.__array_interface__["data"][0]
        for line in open("/proc/self/maps"):
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if low <= address < high:
                return line.split()[-1] if "memfd" not in line else "memfd"

    assert executor.run(where, TaskRef("array"), dependencies=["array"]) == "memfd"
    frame = lambda table: where(table["a"].to_numpy())  # noqa: E731
    executor.put("frame", THINGS["pandas"])
    assert executor.run(frame, TaskRef("frame"), dependencies=["frame"]) == "memfd"


def test_a_received_value_may_be_changed_in_place_and_is_given_changed(executor):
    executor.put("changed", numpy.zeros(100_000))

    def change(array):
        array[:] = 5

    executor.run(change, TaskRef("changed"), dependencies=["changed"])
    assert executor.value("changed").min() == 5


def test_pieces_of_one_buffer_are_one_again_without_a_copy(executor):
    whole = numpy.arange(20 * MEGABYTE // 8)
    header = unpack(value_of(whole)[0])
    size, count = 8 * MEGABYTE, 3
    header.update({"split-num-sub-frames": [count], "split-offsets": [0], "num-sub-frames": count, "compression": [None] * count})
    descriptor, _ = memfd(whole)
    frames = [[0, offset, min(size, whole.nbytes - offset)] for offset in range(0, whole.nbytes, size)]
    executor.send(["put", "split", [pack(header), frames]], descriptors=[descriptor])
    os.close(descriptor)

    def is_mapped(array):
        import mmap

        while isinstance(array, numpy.ndarray):
            array = array.base
        return isinstance(array, mmap.mmap)

    assert executor.run(is_mapped, TaskRef("split"), dependencies=["split"])
    assert same(executor.value("split"), whole)


def test_several_values_may_share_a_descriptor(executor):
    one, other = numpy.zeros(50_001, "i8"), numpy.ones(50_000, "i8")
    values = [value_of(one), value_of(other)]
    descriptor, places = memfd(one, other)
    messages = [["put", f"shared-{n}", [values[n][0], [[0, *places[n]]]]] for n in (0, 1)]
    executor.send(*messages, descriptors=[descriptor])
    os.close(descriptor)
    assert executor.run(lambda a, b: (a.sum(), b.sum()), TaskRef("shared-0"), TaskRef("shared-1"), dependencies=["shared-0", "shared-1"]) == (0, 50_000)


def test_what_was_fetched_is_given_again_from_the_same_memory(executor):
    executor.outcome(executor.begin(numpy.arange, MEGABYTE, key="twice"))

    def first(found):
        return found["twice"][1][0]

    one, other = first(executor.fetch("twice")[0]), first(executor.fetch("twice")[0])
    assert one.nbytes == 8 * MEGABYTE
    writable = inode(one)
    assert writable == inode(other)


def inode(view) -> str:
    address = numpy.frombuffer(view, "u1").__array_interface__["data"][0]
    for line in open("/proc/self/maps"):
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            return line.split()[4]
    raise AssertionError("not mapped")


def test_memory_of_copies_is_bounded_by_a_tenth_of_the_limit():
    with Executor(memory_limit=100 * MEGABYTE) as executor:
        for number in range(4):
            executor.outcome(executor.begin(numpy.zeros, 4 * MEGABYTE, "u1", key=f"copy-{number}"))
        executor.fetch("copy-0")
        before = open_descriptors(executor)
        for number in range(1, 4):
            executor.fetch(f"copy-{number}")
        assert open_descriptors(executor) == before + 1
        one, other = (executor.fetch("copy-3")[0]["copy-3"][1][0] for _ in range(2))
        assert inode(one) == inode(other)


def test_descriptors_are_closed_when_values_are_dropped():
    with Executor() as executor:
        executor.run(abs, 1)
        before = open_descriptors(executor)
        for number in range(5):
            executor.put(f"in-{number}", THINGS["numpy"])
            executor.outcome(executor.begin(numpy.zeros, MEGABYTE, key=f"out-{number}"))
        executor.run(lambda *arrays: None, *(TaskRef(f"in-{n}") for n in range(3)), dependencies=["in-0", "in-1", "in-2"], key="uses")
        executor.fetch(*(f"out-{n}" for n in range(5)))
        assert open_descriptors(executor) > before
        executor.send(["drop", [f"{way}-{n}" for way in ("in", "out") for n in range(5)]])
        executor.settled()
        while open_descriptors(executor) > before:
            pass


def test_a_put_or_a_result_under_a_known_key_replaces_what_was_given(executor):
    executor.put("replaced", numpy.zeros(MEGABYTE))
    executor.run(lambda array: None, TaskRef("replaced"), dependencies=["replaced"])
    assert executor.value("replaced").sum() == 0
    executor.outcome(executor.begin(numpy.ones, MEGABYTE, key="replaced"))
    assert executor.value("replaced").sum() == MEGABYTE
    executor.put("replaced", numpy.full(MEGABYTE, 2.0))
    assert executor.value("replaced").sum() == 2 * MEGABYTE


def test_a_hundred_large_values_come_in_parts(executor):
    keys = [f"part-{number}" for number in range(100)]
    for number, key in enumerate(keys):
        executor.outcome(executor.begin(numpy.full, 10_000, number, key=key))
    found, failed = executor.fetch(*keys, "missing")
    assert [thing_of(found[key])[0] for key in keys] == list(range(100))
    assert failed == {"missing": (None, "not held here")}


def test_what_cannot_be_serialised_is_given_as_stock_gives_it_and_told(executor):
    import threading

    executor.outcome(executor.begin(threading.Lock, key="lock"))
    found, failed = executor.fetch("lock")
    with pytest.raises(TypeError, match="Could not serialize object of type lock"):
        thing_of(found["lock"])
    exception, text = failed["lock"]
    assert "Could not serialize" in text and isinstance(pickle.loads(exception), TypeError)
    assert executor.run(lambda lock: lock.locked(), TaskRef("lock"), dependencies=["lock"]) is False


def test_a_value_that_cannot_be_opened_is_the_error_of_the_task_that_needs_it(executor):
    executor.send(["put", "nonsense", [pack({"serializer": "pickle", "writeable": [], "num-sub-frames": 1, "compression": [None]}), [b"nonsense"]]])
    message = executor.outcome(executor.begin(abs, TaskRef("nonsense"), dependencies=["nonsense"]))
    assert message[0] == "erred" and "UnpicklingError" in message[4]


def test_a_frame_beyond_its_memory_is_the_error_of_the_task_that_needs_it(executor):
    header, _ = value_of(numpy.zeros(100_000, "u1"))
    descriptor, _ = memfd(bytes(64 << 10))
    executor.send(["put", "short", [header, [[0, 0, 100_000]]]], descriptors=[descriptor])
    os.close(descriptor)
    message = executor.outcome(executor.begin(abs, TaskRef("short"), dependencies=["short"]))
    assert message[0] == "erred" and "beyond" in message[4]


def test_a_memfd_sealed_against_writing_is_copied_instead(executor):
    import fcntl

    array = numpy.arange(100_000)
    descriptor = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.write(descriptor, array)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
    executor.send(["put", "sealed", [value_of(array)[0], [[0, 0, array.nbytes]]]], descriptors=[descriptor])
    os.close(descriptor)
    assert executor.run(lambda a: int(a.sum()), TaskRef("sealed"), dependencies=["sealed"]) == int(array.sum())


def test_compressed_frames_are_opened(executor):
    import zlib

    header, frames = value_of({"a": list(range(1000))})
    header = {**unpack(header), "compression": ["zlib"]}
    executor.send(["put", "compressed", [pack(header), [zlib.compress(frames[0])]]])
    assert executor.run(lambda d: d["a"][999], TaskRef("compressed"), dependencies=["compressed"]) == 999


def test_a_spec_may_bring_buffers_of_its_own(executor):
    from dask._task_spec import Task

    buffers = []
    data = pickle.dumps(Task("sum", numpy.sum, numpy.ones(MEGABYTE)), protocol=5, buffer_callback=buffers.append)
    descriptor, places = memfd(buffers[0].raw())
    header = pack({"pickled-obj": data, "num-sub-frames": 1, "compression": [None]})
    executor.send(["execute", 300_001, "sum", [header, [[0, *places[0]]]], [], {}], descriptors=[descriptor])
    os.close(descriptor)
    assert executor.outcome(300_001)[0] == "done"
    assert executor.value("sum") == MEGABYTE


def test_large_requests_and_replies_go_through_shared_memory(executor):
    from distributed.protocol import to_serialize

    descriptor, places = memfd(bytes(MEGABYTE))
    frames = message_frames({"op": "echo", "data": to_serialize(numpy.zeros(MEGABYTE, "u1"))})
    named = [[0, *places[0]] if len(frame) == MEGABYTE else frame for frame in frames]
    assert named != frames
    executor.send(["call", 300_002, "echo", named], descriptors=[descriptor])
    os.close(descriptor)
    reply = loads(executor.expect("answer", 300_002)[2])
    assert reply.nbytes == MEGABYTE


def test_the_probe_lies_where_it_is_said_to_lie(executor):
    address, content = executor.ready["probe"]
    assert len(content) >= 16 and executor.read_there(address, len(content)) == content


def test_what_is_lent_is_read_where_it_is_and_stays_until_it_is_returned():
    def tracked(count):
        import builtins
        import weakref

        array = numpy.arange(count)
        builtins.tracked = weakref.ref(array)
        return array

    def is_alive():
        import builtins

        return builtins.tracked() is not None

    with Executor() as executor:
        executor.send(["lend", True])
        executor.outcome(executor.begin(tracked, MEGABYTE, key="lent"))
        request = 400_000
        executor.send(["fetch", request, ["lent"]])
        _, _, [(_, (header, frames))], failed, more = executor.expect("values", request)
        assert not failed and not more
        assert same(thing_of((header, frames)), numpy.arange(MEGABYTE))
        executor.send(["drop", ["lent"]])
        executor.settled()
        assert executor.client_run(is_alive)
        executor.send(["returned", [request, 12_345]])
        while executor.client_run(is_alive):
            pass


def poured_with(executor, request, keys):
    """What comes out of a pipe that a fetch brings, and what it should be: the lent frames one behind the other."""
    outlet, inlet = os.pipe()
    executor.send(["fetch", request, keys, 0], descriptors=[inlet])
    os.close(inlet)
    _, _, found, failed, more = executor.expect("values", request)
    assert not failed and not more
    large = [bytes(frame) for _, (_, frames) in found for frame in frames if len(frame) >= 64 << 10]
    return outlet, b"".join(large)


def test_what_is_lent_is_poured_into_a_pipe_in_order():
    with Executor() as executor:
        executor.send(["lend", True])
        names = ("numpy", "numpy 2d, other order", "pandas", "bytes", "list of arrays")
        for name in names:
            executor.outcome(executor.begin(pickle.loads, pickle.dumps(THINGS[name]), key=name))
        executor.outcome(executor.begin(numpy.arange, 3 * MEGABYTE, key="larger than a pipe"))
        outlet, expected = poured_with(executor, 500_000, [*names, "larger than a pipe"])
        with open(outlet, "rb") as pipe:
            assert len(expected) > 24 * MEGABYTE and pipe.read() == expected


def test_a_pipe_is_closed_where_nothing_is_lent_into_it(executor):
    executor.outcome(executor.begin(int, 5, key="small"))
    for request, keys in [(600_000, ["small"]), (600_001, ["nobody has it"])]:
        outlet, inlet = os.pipe()
        executor.send(["fetch", request, keys, 0], descriptors=[inlet])
        os.close(inlet)
        with open(outlet, "rb") as pipe:
            assert pipe.read() == b""


def test_whoever_reads_no_further_ends_the_pouring_and_nothing_else():
    def pouring_threads():
        import threading

        return sum(thread.name == "daskjob-pour" for thread in threading.enumerate())

    with Executor() as executor:
        executor.send(["lend", True])
        # A task may have given the signal its own meaning again.
        executor.client_run(lambda: __import__("signal").signal(13, __import__("signal").SIG_DFL))
        executor.outcome(executor.begin(numpy.arange, 3 * MEGABYTE, key="value"))
        outlet, expected = poured_with(executor, 700_000, ["value"])
        assert os.read(outlet, 1000) == expected[:1000] and executor.client_run(pouring_threads) == 1
        os.close(outlet)
        while executor.client_run(pouring_threads):
            pass
        assert same(executor.value("value"), numpy.arange(3 * MEGABYTE))


def test_an_executor_that_lends_takes_no_memory_for_what_it_serves():
    with Executor() as executor:
        executor.send(["lend", True])
        for name in ("numpy", "numpy 2d, other order", "pandas", "bytes", "bytearray", "list of arrays"):
            executor.outcome(executor.begin(pickle.loads, pickle.dumps(THINGS[name]), key=name))
        before = open_descriptors(executor)
        for name in ("numpy", "numpy 2d, other order", "pandas", "bytes", "bytearray", "list of arrays"):
            assert same(executor.value(name), THINGS[name]), name
        # It may have had a file open of something it was importing.
        assert open_descriptors(executor) <= before


def test_an_executor_that_is_to_lend_no_more_copies(executor):
    executor.outcome(executor.begin(numpy.arange, MEGABYTE, key="no longer lent"))
    executor.send(["lend", True], ["lend", False])
    before = open_descriptors(executor)
    assert same(executor.value("no longer lent"), numpy.arange(MEGABYTE))
    assert open_descriptors(executor) > before
    executor.send(["drop", ["no longer lent"]])


def test_memory_that_came_is_released_when_nothing_is_made_of_it_any_more():
    def view(array):
        return array[5:]

    whole = numpy.arange(MEGABYTE)
    with Executor() as executor:
        number = put_whole(executor, "came", whole)
        executor.outcome(executor.begin(view, TaskRef("came"), dependencies=["came"], key="view"))
        executor.send(["drop", ["came"]])
        assert executor.run(lambda array: int(array[0]), TaskRef("view"), dependencies=["view"]) == 5
        assert not [message for message in executor.messages if message[0] == "released"]
        executor.send(["drop", ["view"]])
        assert executor.expect("released")[1:] == ((number,), ())


def put_whole(executor, key, array) -> int:
    """The number of the memfd it came in."""
    descriptor, places = memfd(array)
    executor.send(["put", key, [value_of(array)[0], [[0, *places[0]]]]], descriptors=[descriptor])
    number = number_of(descriptor)
    os.close(descriptor)
    return number


def test_memory_that_came_and_was_never_opened_is_released_too():
    with Executor() as executor:
        number = put_whole(executor, "sealed up", numpy.zeros(MEGABYTE))
        executor.send(["drop", ["sealed up"]])
        assert executor.expect("released")[1:] == ((number,), ())


def test_memory_that_a_forked_process_may_see_is_told_apart():
    def fork(array):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

    with Executor() as executor:
        number = put_whole(executor, "seen", numpy.zeros(MEGABYTE))
        executor.run(fork, TaskRef("seen"), dependencies=["seen"])
        executor.send(["drop", ["seen"]])
        assert executor.expect("released")[1:] == ((), (number,))


def available_bytes() -> int:
    line = next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    return int(line.split()[1]) << 10


@pytest.mark.skipif(available_bytes() < 8 << 30, reason="needs 8 GiB of free memory")
def test_values_of_more_than_2_gib_come_and_go():
    size = (2 << 30) + (3 << 20) + 5
    with Executor(memory_limit=10 << 30) as executor:
        executor.outcome(executor.begin(numpy.full, size, 3, "u1", key="large"))
        found, failed = executor.fetch("large")
        assert not failed
        header, frames = found["large"]
        assert sum(len(frame) for frame in frames) == size and frames[0][0] == frames[-1][-1] == 3
        executor.send(["drop", ["large"]])
        executor.settled()
        descriptor, _ = memfd(*frames)
        del found
        lengths = [len(frame) for frame in frames]
        del frames
        offsets = [sum(lengths[:index]) for index in range(len(lengths))]
        executor.send(["put", "again", [header, [[0, *place] for place in zip(offsets, lengths)]]], descriptors=[descriptor])
        os.close(descriptor)
        assert executor.run(lambda a: (a.nbytes, int(a[-1])), TaskRef("again"), dependencies=["again"]) == (size, 3)

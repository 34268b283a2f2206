"""What the executor costs: CPU of a trivial task and where it goes, MB/s of values in both directions beside a memcpy.

    python tests/executor/measure.py [--tasks N] [--threads 1,4] [--megabytes 64]

Tasks are as `client.map` makes them under our scheduler: the function in front, once for all. The harness sends them in
packets; what is printed as CPU is the executor's own (user and system, of its process).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import struct
import sys
import time

import harness
import numpy
from dask._task_spec import Task

TASKS_IN_A_PACKET = 200


def specs_with_start(count: int, function=lambda x: x + 1) -> list:
    """As the scheduler writes them: what is common first, then the state of each task."""
    sys.path.insert(0, str(harness.SOURCES.parents[0]))
    import graph_helper

    writer = graph_helper.SpecWriter(graph_helper.splice_state(), False)
    tasks = [Task(f"trivial-{number:032x}", function, number) for number in range(count)]
    ends, prefix_of, _ = writer.write(tasks)
    data, start, specs = writer.file.getvalue(), 0, []
    for end, prefix in zip(ends, prefix_of):
        body = data[start:end]
        whole = writer.prefixes[prefix - 1] + graph_body(body) if prefix else body
        specs.append([harness.pack({"pickled-obj": whole, "num-sub-frames": 0, "compression": []}), []])
        start = end
    return specs


def graph_body(body: bytes) -> bytes:
    """The state's own pickle without its frame and end, then BUILD and STOP, as the scheduler joins them."""
    assert body[:2] == b"\x80\x05" and body[-1:] == b"."
    body = body[2:-1]
    if body[:1] == b"\x95":
        body = body[9:]
    return body + b"b."


def cpu_seconds(pid: int) -> tuple[float, float]:
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return tuple(int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])


def switches(pid: int) -> int:
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        for line in open(f"/proc/{pid}/task/{thread}/status"):
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total


def trivial(count: int, threads: int, duration: float | None) -> None:
    environment = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "true"}
    with harness.Executor(nthreads=threads, environment=environment) as executor:
        pid = executor.process.pid
        options = {} if duration is None else {"duration": duration}
        specs = specs_with_start(count)
        packets = []
        for first in range(0, count, TASKS_IN_A_PACKET):
            messages = [
                ["execute", number + 1, f"trivial-{number}", specs[number], [], options]
                for number in range(first, min(first + TASKS_IN_A_PACKET, count))
            ]
            body = harness.pack(messages)
            packets.append(struct.pack("<II", len(body), 0) + body)
        executor.run(lambda: None)
        user, system = cpu_seconds(pid)
        before, started = switches(pid), time.perf_counter()
        for packet in packets:
            executor.ours.sendall(packet)
        executor.outcome(count)
        with executor.changed:
            while sum(message[0] == "done" for message in executor.messages) < count - 1:
                executor.changed.wait(1)
        wall = time.perf_counter() - started
        user, system = (after - earlier for after, earlier in zip(cpu_seconds(pid), (user, system)))
        print(
            f"{count} trivial tasks, {threads} thread(s), duration {duration}: {1e6 * (user + system) / count:.1f} µs CPU a task "
            f"({1e6 * user / count:.1f} user, {1e6 * system / count:.1f} system), {1e6 * wall / count:.1f} µs wall, "
            f"{(switches(pid) - before) / count:.3f} context switches"
        )


def part(name: str):
    """A module of the executor, loaded here."""
    if "executor" not in sys.modules:
        places = [str(harness.SOURCES)]
        spec = importlib.util.spec_from_file_location("executor", harness.SOURCES / "__init__.py", submodule_search_locations=places)
        sys.modules["executor"] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"executor.{name}")


def split() -> None:
    """Where the time of a trivial task goes, step by step in this process."""
    specs, outcomes, memory, line = map(part, ("specs", "outcomes", "memory", "line"))
    count = 5000
    values = specs_with_start(count)
    body = harness.pack([["execute", n, f"trivial-{n}", values[n], [], {"duration": 0.0001}] for n in range(count)])
    starts, types = specs.SharedStarts(), outcomes.Types()
    parcels = [memory.Parcel(*value) for value in values]
    tasks = [specs.open_spec(parcel, starts)[0] for parcel in parcels]
    messages = [outcomes.done(n, n, types, time.time(), time.time(), 1) for n in range(count)]
    steps = {
        "decode the packet": lambda: line.unpack(body),
        "open the spec": lambda: [specs.open_spec(parcel, starts) for parcel in parcels],
        "call the task": lambda: [task({}) for task in tasks],
        "make the message": lambda: [outcomes.done(n, n, types, 0.0, 0.0, 1) for n in range(count)],
        "encode the packet": lambda: line.pack(messages),
    }
    for name, step in steps.items():
        step()
        begun = time.process_time()
        step()
        print(f"  {name}: {1e6 * (time.process_time() - begun) / count:.2f} µs")


def megabytes(size: int) -> None:
    block = numpy.random.default_rng(1).integers(0, 255, size, dtype="u1")
    rounds = 8
    copy = numpy.empty_like(block)
    numpy.copyto(copy, block)
    begun = time.perf_counter()
    for _ in range(rounds):
        numpy.copyto(copy, block)
    report("memcpy into memory in use", size * rounds, begun)
    begun = time.perf_counter()
    for _ in range(rounds):
        block.copy()
    report("memcpy into new memory", size * rounds, begun)
    with harness.Executor(nthreads=1) as executor:
        make = lambda n: numpy.full(n, 7, dtype="u1")  # noqa: E731
        for number in range(rounds):
            executor.outcome(executor.begin(make, size, key=f"out-{number}"))
        begun = time.perf_counter()
        for number in range(rounds):
            executor.fetch(f"out-{number}")
        report("fetch of what a task made (one copy)", size * rounds, begun)
        begun = time.perf_counter()
        executor.fetch("out-7")
        report("fetch once more", size, begun)
        header = harness.value_of(block)[0]
        places = []
        for number in range(rounds):
            descriptor, _ = harness.memfd(block)
            frames = [[0, offset, min(64 << 20, size - offset)] for offset in range(0, size, 64 << 20)]
            places.append((number, descriptor, frames))
        begun = time.perf_counter()
        for number, descriptor, frames in places:
            executor.send(["put", f"in-{number}", [header, frames]], descriptors=[descriptor])
        for number in range(rounds):
            run = executor.begin(first_and_last, harness_ref(f"in-{number}"), dependencies=[f"in-{number}"])
            assert executor.outcome(run)[0] == "done"
        report("put and open in a task (mapped)", size * rounds, begun)
        run = executor.begin(numpy.sum, harness_ref("in-0"), dependencies=["in-0"])
        done = executor.outcome(run)
        print(f"  sum of a received block: {size / (done[6] - done[5]) / 1e6:.0f} MB/s")


def first_and_last(array):
    return int(array[0]) + int(array[-1])


def harness_ref(key):
    from dask._task_spec import TaskRef

    return TaskRef(key)


def report(name: str, size: int, begun: float) -> None:
    print(f"  {name}: {size / (time.perf_counter() - begun) / 1e6:.0f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--threads", default="1,4")
    parser.add_argument("--megabytes", type=int, default=64)
    options = parser.parse_args()
    for threads in map(int, options.threads.split(",")):
        for duration in (0.0001, None):
            trivial(options.tasks, threads, duration)
    print("steps of a trivial task:")
    split()
    print(f"values of {options.megabytes} MiB:")
    megabytes(options.megabytes << 20)


if __name__ == "__main__":
    main()

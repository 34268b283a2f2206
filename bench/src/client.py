"""The client of the benchmark: an unmodified distributed.Client that runs scenarios on request.

Reads `<scenario> <size>` lines, answers each with one line of JSON: what the scenario's tasks took, or figures with units of
their own. Results of tasks are awaited, never gathered, so that fake workers need not have any.
"""

import gc
import json
import operator
import math
import statistics
import sys
import time
import warnings

from bench_tasks import BLOCK_BYTES, keep_busy, make_block, spin, touch
from distributed import Client, wait

held = []


def run_map(client, size):
    futures = client.map(operator.neg, range(size))
    wait(futures)
    return futures, size


def run_held(client, size):
    return run_map(client, size)


def run_tree(client, size):
    graph = {("leaf", i): (operator.neg, i) for i in range(size)}
    level, depth = list(graph), 0
    while len(level) > 1:
        above = []
        for i in range(0, len(level) - 1, 2):
            key = ("node", depth, i // 2)
            graph[key] = (operator.add, level[i], level[i + 1])
            above.append(key)
        if len(level) % 2:
            above.append(level[-1])
        level, depth = above, depth + 1
    return run_graph(client, graph, level[0])


def run_all_to_all(client, size):
    graph = {("in", i): (operator.neg, i) for i in range(size)}
    for i in range(size):
        for j in range(size):
            graph["part", i, j] = (operator.add, ("in", i), j)
    for j in range(size):
        graph["out", j] = (sum, [("part", i, j) for i in range(size)])
    return run_graph(client, graph, [("out", j) for j in range(size)])


def run_chain(client, size):
    graph = {("link", 0): (operator.neg, 1)}
    for i in range(1, size):
        graph["link", i] = (operator.neg, ("link", i - 1))
    return run_graph(client, graph, ("link", size - 1))


def run_graph(client, graph, keys):
    futures = client.get(graph, keys, sync=False)
    wait(futures)
    return futures, len(graph)


def run_latency(client, size):
    times = []
    for i in range(size):
        start = time.perf_counter()
        future = client.submit(operator.neg, i, pure=False)
        wait(future)
        times.append(time.perf_counter() - start)
    return None, size, statistics.median(times)


# ---- figures ----------------------------------------------------------------------------------------------------

MB = 1e6


def figure(title, unit, value):
    return {"title": title, "unit": unit, "value": value}


def blocks_on(client, count, workers):
    futures = [client.submit(make_block, i, workers=workers, pure=False) for i in range(count)]
    wait(futures)
    return futures


def megabytes_per_second(count, seconds):
    return count * BLOCK_BYTES / MB / seconds


def addresses_of(client):
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def figures_gather(client, count):
    figures = []
    futures = [future for address in addresses_of(client) for future in blocks_on(client, count // 2, [address])]
    for title, direct in [("gather", False), ("gather, past the scheduler", True)]:
        start = time.perf_counter()
        blocks = client.gather(futures, direct=direct)
        seconds = time.perf_counter() - start
        assert len(blocks) == len(futures)
        del blocks
        figures.append(figure(title, "MB/s", megabytes_per_second(len(futures), seconds)))
    return figures


def figures_scatter(client, count):
    figures = []
    blocks = [make_block(i) for i in range(count)]
    for title, direct in [("scatter", False), ("scatter, past the scheduler", True)]:
        start = time.perf_counter()
        futures = client.scatter(blocks, direct=direct, hash=False)
        wait(futures)
        seconds = time.perf_counter() - start
        figures.append(figure(title, "MB/s", megabytes_per_second(count, seconds)))
        del futures
    return figures


def figures_transfer(client, count):
    here, there = addresses_of(client)
    futures = blocks_on(client, count, [here])
    start = time.perf_counter()
    touched = [client.submit(touch, future, workers=[there], pure=False) for future in futures]
    wait(touched)
    seconds = time.perf_counter() - start
    return [figure("worker to worker", "MB/s", megabytes_per_second(count, seconds))]


def figures_spill(client, count):
    """The memory of the worker holds about half of the blocks."""
    start = time.perf_counter()
    futures = blocks_on(client, count, None)
    made = time.perf_counter() - start
    oldest = futures[: count // 3]
    start = time.perf_counter()
    wait([client.submit(touch, future, pure=False) for future in oldest])
    read = time.perf_counter() - start
    return [
        figure("blocks made, the older half to disk", "MB/s", megabytes_per_second(count, made)),
        figure("blocks read again from disk", "MB/s", megabytes_per_second(len(oldest), read)),
    ]


def figures_neighbour(client, repetitions):
    def median_ms():
        return run_latency(client, repetitions)[2] * 1e3

    alone = median_ms()
    busy = client.submit(keep_busy, 120, pure=False)
    time.sleep(0.5)
    beside = median_ms()
    client.cancel([busy], force=True)
    return [
        figure("submit to done, worker idle", "ms", alone),
        figure("submit to done, beside a busy task", "ms", beside),
    ]


def parallel_graph(width, steps, seconds):
    graph = {("spin", step, place): (spin, seconds) for step in range(steps) for place in range(width)}
    return graph, list(graph)


def stencil_graph(width, steps, seconds):
    graph = {("spin", 0, place): (spin, seconds) for place in range(width)}
    for step in range(1, steps):
        for place in range(width):
            near = [n for n in (place - 1, place, place + 1) if 0 <= n < width]
            graph["spin", step, place] = (spin, seconds, *(("spin", step - 1, n) for n in near))
    return graph, [("spin", steps - 1, place) for place in range(width)]


MOST_STEPS = 2_000


def efficiency(client, make_graph, seconds, budget_seconds):
    """How much of the workers' time is spent in tasks of this length."""
    width = sum(client.nthreads().values())
    steps = max(20, min(MOST_STEPS, round(budget_seconds / seconds)))
    graph, keys = make_graph(width, steps, seconds)
    start = time.perf_counter()
    futures = client.get(graph, keys, sync=False)
    wait(futures)
    wall = time.perf_counter() - start
    del futures
    return steps * seconds / wall


def metg(client, title, make_graph, budget_ms):
    """Halves tasks until less than half of the time is spent in them; what lies between is interpolated."""
    length, before = 0.032, None
    while True:
        reached = efficiency(client, make_graph, length, budget_ms / 1e3)
        time.sleep(0.2)
        if reached < 0.5 or length < 50e-6:
            break
        length, before = length / 2, reached
    if before is None or reached >= 0.5:
        shortest = length
    else:
        share = (before - 0.5) / (before - reached)
        shortest = math.exp(math.log(length * 2) + share * (math.log(length) - math.log(length * 2)))
    return [figure(title, "ms", shortest * 1e3)]


def figures_metg_parallel(client, budget_ms):
    return metg(client, "METG(50 %), no dependencies", parallel_graph, budget_ms)


def figures_metg_stencil(client, budget_ms):
    return metg(client, "METG(50 %), stencil", stencil_graph, budget_ms)


def release(client):
    held.clear()
    gc.collect()
    deadline = time.monotonic() + 60
    while client.nbytes(summary=True):
        if time.monotonic() > deadline:
            raise TimeoutError("the scheduler still holds results a minute after their release")
        time.sleep(0.05)
    # Heartbeats and timers catch up outside of what is measured.
    time.sleep(0.3)


def main():
    warnings.simplefilter("ignore")
    with Client(sys.argv[1]) as client:
        client.wait_for_workers(int(sys.argv[2]))
        held.append(run_map(client, 100))
        held.append(run_tree(client, 10))
        release(client)
        print("ready", flush=True)
        for line in sys.stdin:
            name, size = line.split()
            if name == "release":
                release(client)
                print("released", flush=True)
                continue
            if figures := globals().get(f"figures_{name}"):
                print(json.dumps(figures(client, int(size))), flush=True)
                continue
            start, cpu = time.perf_counter(), time.process_time()
            futures, tasks, *median = globals()[f"run_{name}"](client, int(size))
            result = {
                "tasks": tasks,
                "wall_seconds": time.perf_counter() - start,
                "client_cpu_seconds": time.process_time() - cpu,
                "median_seconds": median[0] if median else None,
            }
            held.append(futures)
            del futures
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

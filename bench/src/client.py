"""The client of the benchmark: an unmodified distributed.Client that runs scenarios on request.

Reads `<scenario> <size>` lines, answers each with one line of JSON. Results are awaited, never gathered, so that the
workers need not have any.
"""

import gc
import json
import operator
import statistics
import sys
import time
import warnings

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

"""Run by the tests with the name of a rule, as `driver.py` is, whose scheduler and workers it uses: what must go well when
something goes wrong.

A rule is a generator: what it yields first is what its workers are started with, what it is sent then is the scene.
"""

import contextlib
import ctypes
import os
import pathlib
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from types import SimpleNamespace

import driver
import numpy
from distributed import Client, wait
from distributed.comm import connect
from distributed.scheduler import KilledWorker
from distributed.security import Security
from driver import PATIENCE, until

#: How long locks are held and the like; the longer time is that of a full run.
LONG_SECONDS = 60 if os.environ.get("COMPAT_FULL") else 10
MEBIBYTE = 1 << 20


def started(flags=(), names=("first", "second"), environment=None, program=None, python=sys.executable, scheduler=None):
    return SimpleNamespace(
        flags=list(flags), names=names, environment=environment or {}, program=program, python=python, scheduler=scheduler or {}
    )


def inc(number):
    return number + 1


def ones(count):
    return numpy.ones(count)


def losses(client):
    return [event for _, event in client.get_events("worker-lost")]


def executing(client, worker="first"):
    address = address_of(client, worker)
    return bool(client.processing().get(address))


def address_of(client, name):
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return next(address for address, worker in workers.items() if worker["name"] == name)


def metrics_of(client, name):
    worker = client.scheduler_info(n_workers=-1)["workers"][address_of(client, name)]
    with urllib.request.urlopen(f"http://127.0.0.1:{worker['services']['dashboard']}/metrics", timeout=PATIENCE) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, value in lines}


# -- the executor ------------------------------------------------------------------------------------------------------


def an_executor_that_hangs_in_c_is_replaced_and_its_task_runs_again():
    scene = yield started(["--hang-timeout", "3s"])
    with tempfile.TemporaryDirectory() as name:
        marker = pathlib.Path(name, "hung")

        def hangs_once():
            if marker.exists():
                return "done"
            marker.touch()
            ctypes.PyDLL(None).sleep(3600)  # with the lock of the interpreter

        future = scene.client.submit(hangs_once)
        assert future.result(2 * PATIENCE) == "done"
    [event] = losses(scene.client)
    assert "did not answer" in event["reason"] and not event["out-of-memory"], event
    assert list(event["tasks"]) == [future.key]


def a_killed_executor_is_not_said_to_have_run_out_of_memory():
    scene = yield started()
    os.kill(scene.client.run(os.getpid)[address_of(scene.client, "first")], signal.SIGKILL)
    until(lambda: losses(scene.client))
    [event] = losses(scene.client)
    assert "signal 9" in event["reason"] and "memory" not in event["reason"] and not event["out-of-memory"], event


def eat(seconds=0.02):
    eaten = []
    while True:
        eaten.append(numpy.ones(4 * MEBIBYTE))
        time.sleep(seconds)


def a_task_that_eats_all_memory_is_given_up_and_the_cause_is_told():
    scene = yield started()
    future = scene.client.submit(eat, pure=False)
    wait(future, 4 * PATIENCE)
    assert isinstance(future.exception(), KilledWorker)
    # The last of them is told right after the task is given up.
    until(lambda: len(losses(scene.client)) == 4)
    events = losses(scene.client)
    assert all(event["out-of-memory"] for event in events), events
    assert all("MiB of memory" in event["reason"] and list(event["tasks"]) == [future.key] for event in events)
    scene.client.wait_for_workers(2, PATIENCE)
    assert scene.client.submit(inc, 1).result(PATIENCE) == 2


def what_the_kernel_kills_for_memory_is_said_to_have_run_out_of_it():
    group = pathlib.Path("/sys/fs/cgroup/memory", f"daskjob-test-{os.getpid()}")
    version_two = not group.parent.is_dir()
    if version_two:
        group = pathlib.Path("/sys/fs/cgroup", group.name)
    try:
        group.mkdir()
    except OSError as error:
        return print(f"skipped: a control group cannot be made here: {error}")
    try:
        limit = group / ("memory.max" if version_two else "memory.limit_in_bytes")
        if not limit.exists():
            return print("skipped: control groups here do not limit memory")
        limit.write_text(str(600 << 20))
        enter = f"echo $$ > {group}/cgroup.procs; exec \"$@\""
        scene = yield started(["--memory-limit", "0"], ["first"], program=["/bin/sh", "-c", enter, "sh"])
        future = scene.client.submit(eat, 0, pure=False)
        until(lambda: losses(scene.client))
        event = losses(scene.client)[0]
        assert "out of memory" in event["reason"] and event["out-of-memory"], event
        future.cancel()
    finally:
        while group.exists():
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.1)
                for process in (group / "cgroup.procs").read_text().split():
                    os.kill(int(process), signal.SIGKILL)


def without_a_nanny_a_worker_ends_with_its_executor():
    scene = yield started(["--no-nanny"])
    address = address_of(scene.client, "first")
    assert scene.client.scheduler_info(n_workers=-1)["workers"][address]["nanny"] is None
    os.kill(scene.client.run(os.getpid)[address], signal.SIGKILL)
    assert scene.workers[0].wait(PATIENCE) == 1
    until(lambda: address not in scene.client.scheduler_info(n_workers=-1)["workers"])
    assert scene.client.submit(inc, 1).result(PATIENCE) == 2


def a_worker_with_a_port_of_its_own_comes_back_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scene = yield started(["--worker-port", str(port)], ["first"])
    address = address_of(scene.client, "first")
    assert address.endswith(f":{port}")
    for _ in range(2):
        before = scene.client.scheduler_info(n_workers=-1)["workers"][address]["id"]
        executor = scene.client.run(os.getpid)[address]
        held = scene.client.submit(inc, 1, pure=False)
        assert held.result(PATIENCE) == 2
        os.kill(executor, signal.SIGKILL)
        until(lambda: scene.client.run(os.getpid, on_error="ignore").get(address) not in (executor, None))
        assert held.result(PATIENCE) == 2, before


def the_lock_of_the_interpreter_is_held_for_long_while_others_ask_for_values():
    scene = yield started(["--hang-timeout", "10 minutes"], scheduler={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s"})
    client = scene.client
    value = client.submit(ones, MEBIBYTE, workers=["first"], key="value")
    wait(value)
    holding = client.submit(hold, LONG_SECONDS, workers=["first"], pure=False)
    until(lambda: executing(client))
    fetched = client.submit(numpy.sum, value, workers=["second"])
    assert client.submit(inc, 1, workers=["second"]).result(PATIENCE) == 2
    assert fetched.result(LONG_SECONDS + PATIENCE) == MEBIBYTE
    assert holding.result(PATIENCE) == "held" and not losses(client)
    log = client.get_events(address_of(client, "first"))
    assert not [event for _, event in log if "removed" in str(event) or "ttl" in str(event)], log


def hold(seconds):
    ctypes.PyDLL(None).sleep(seconds)
    return "held"


def an_executor_that_dies_while_its_worker_hands_over_is_told_and_waited_for_no_longer():
    scene = yield started(["--drain-timeout", "1 hour"])
    client = scene.client
    executor = client.run(os.getpid)[address_of(client, "first")]
    held = client.submit(inc, 41, workers=["first"], key="only-here", allow_other_workers=True)
    wait(held, PATIENCE)
    address = address_of(client, "first")
    # Who is to take the value does not.
    scene.workers[1].send_signal(signal.SIGSTOP)
    try:
        scene.workers[0].send_signal(signal.SIGTERM)
        until(lambda: client.scheduler_info(n_workers=-1)["workers"][address]["status"] == "closing_gracefully")
        os.kill(executor, signal.SIGKILL)
        assert scene.workers[0].wait(PATIENCE) == 0
    finally:
        scene.workers[1].send_signal(signal.SIGCONT)
    [event] = losses(client)
    assert "signal 9" in event["reason"] and event["worker"] == address, event
    assert held.result(PATIENCE) == 42


# -- memory and disk ---------------------------------------------------------------------------------------------------

NO_LIMITS_BUT_TARGET = {
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "0.3",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
}


def noise(number):
    return numpy.random.default_rng(number).random(10 * MEBIBYTE)


def a_full_disk_costs_no_value():
    with tempfile.TemporaryDirectory() as name:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", name], stderr=subprocess.DEVNULL).returncode:
            return print("skipped: no file system can be mounted here")
        try:
            flags = ["--local-directory", name]
            scene = yield started(flags, ["first"], NO_LIMITS_BUT_TARGET)
            values = scene.client.map(noise, range(5))
            wait(values, 2 * PATIENCE)
            until(lambda: metrics_of(scene.client, "first")["dask_worker_spill_failures_total"] > 0)
            sums = scene.client.gather(scene.client.map(numpy.sum, values), direct=False)
            assert numpy.allclose(sums, [noise(number).sum() for number in range(5)])
            assert not losses(scene.client)
        finally:
            for worker in scene.workers:
                worker.kill()
                worker.wait()
            subprocess.run(["umount", "-l", name], check=True)


def a_paused_worker_begins_nothing_and_gives_what_it_has():
    environment = {
        **NO_LIMITS_BUT_TARGET,
        "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
        "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "0.5",
    }
    scene = yield started(["--memory-limit", "700MB"], environment=environment)
    client = scene.client
    value = client.submit(ones, MEBIBYTE, workers=["first"], key="value")
    wait(value)
    large = client.submit(ones, 50 * MEBIBYTE, workers=["first"], key="large")
    wait(large)
    status = lambda: client.scheduler_info(n_workers=-1)["workers"][address_of(client, "first")]["status"]  # noqa: E731
    until(lambda: status() == "paused")
    waiting = client.submit(inc, 1, workers=["first"], pure=False)
    assert client.submit(numpy.sum, value, workers=["second"]).result(PATIENCE) == MEBIBYTE
    assert waiting.status == "pending"
    del large
    assert waiting.result(PATIENCE) == 2 and status() == "running"


def four_gibibytes_pass_between_workers_of_one():
    scene = yield started(["--memory-limit", "1GiB"])
    count = 64
    blocks = scene.client.map(lambda number: numpy.full(8 * MEBIBYTE, number * 1.0), range(count), workers=["first"])
    sums = scene.client.map(lambda block: float(block[0] + block[-1]), blocks, workers=["second"])
    until(lambda: losses(scene.client) or all(future.done() for future in sums))
    assert not losses(scene.client), losses(scene.client)
    assert scene.client.gather(sums) == [2.0 * number for number in range(count)]


def what_killed_workers_left_on_disk_goes_and_what_the_living_have_stays():
    from distributed.diskutils import WorkSpace

    scene = yield started()
    workers = lambda: scene.client.scheduler_info(n_workers=-1)["workers"].values()  # noqa: E731
    directory_of = lambda name: pathlib.Path(  # noqa: E731
        next(worker["local_directory"] for worker in workers() if worker["name"] == name)
    )
    ours, living = directory_of("first"), directory_of("second")
    stocks = WorkSpace(str(living.parent))
    kept = stocks.new_work_dir(prefix="worker-")
    code = f"from distributed.diskutils import WorkSpace as W; d = W({stocks.base_dir!r}).new_work_dir(prefix='w-'); print(d.dir_path, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stock:
        stocks_own = pathlib.Path(stock.stdout.readline().strip())
        assert all(path.is_dir() for path in (ours, living, stocks_own, pathlib.Path(kept.dir_path)))
        stock.kill()
    scene.workers[0].kill()
    scene.workers[0].wait()
    third = scene.start("third")
    until(lambda: not ours.exists() and not stocks_own.exists())
    until(lambda: any(worker["name"] == "third" for worker in workers()))
    left = directory_of("third")
    third.kill()
    third.wait()
    stocks._purge_leftovers()
    assert not left.exists() and living.is_dir() and os.path.isdir(kept.dir_path)


# -- connections -------------------------------------------------------------------------------------------------------


def two_hundred_workers_come_and_go():
    idle = pathlib.Path(scene_program()).parent / "examples" / "idle_executor"
    scene = yield started(["--nthreads", "1"], [], python=str(idle))
    workers = [scene.start(f"idle-{number}") for number in range(200)]
    try:
        scene.client.wait_for_workers(200, 4 * PATIENCE)
        for worker in workers[:100]:
            worker.send_signal(signal.SIGTERM)
        assert all(worker.wait(2 * PATIENCE) == 0 for worker in workers[:100])
        for worker in workers[100:150]:
            worker.kill()
        count = lambda: len(scene.client.scheduler_info(n_workers=-1)["workers"])  # noqa: E731
        until(lambda: count() == 50)
        more = [scene.start(f"idle-{number}") for number in range(200, 210)]
        workers += more
        until(lambda: count() == 60)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def scene_program():
    return sys.argv[2]


def everything_is_encrypted_where_certificates_are_given():
    place = pathlib.Path(os.environ["DASKJOB_TEST_CERTIFICATES"])
    names = {name: str(place / f"{name}.pem") for name in ("ca", "cert", "key")}
    flags = ["--tls-ca-file", names["ca"], "--tls-cert", names["cert"], "--tls-key", names["key"]]
    security = Security(
        tls_ca_file=names["ca"], tls_client_cert=names["cert"], tls_client_key=names["key"], require_encryption=True
    )
    scene = yield SimpleNamespace(**vars(started(flags)), security=security, scheduler_flags=[*flags, "--protocol", "tls"])
    client = scene.client
    assert all(address.startswith("tls://") for address in client.scheduler_info(n_workers=-1)["workers"])
    array = client.submit(ones, MEBIBYTE, workers=["first"])
    assert client.submit(numpy.sum, array, workers=["second"]).result(PATIENCE) == MEBIBYTE
    assert client.gather(array).nbytes == 8 * MEBIBYTE

    def nested():
        from distributed import worker_client

        with worker_client() as inner:
            return inner.submit(inc, 1).result(30)

    assert client.submit(nested).result(PATIENCE) == 2


def what_peers_make_up_harms_nobody_else():
    scene = yield started()
    client = scene.client
    held = client.submit(inc, 41, workers=["first"], key="held")
    assert held.result(PATIENCE) == 42
    address = address_of(client, "first")
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    words = lambda *numbers: b"".join(number.to_bytes(8, "little") for number in numbers)  # noqa: E731
    huge = (1 << 62) - 1
    for nonsense in [
        b"GET / HTTP/1.1\r\n\r\n" * 100,
        words(24, 2, 5, huge),
        words(huge, huge, huge),
        words(0, 0),
        os.urandom(100_000),
    ]:
        with socket.create_connection((host, int(port)), PATIENCE) as peer, contextlib.suppress(OSError):  # it may hang up
            peer.sendall(nonsense)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 16):
                pass
    for number in range(20):
        # Frames that never come, behind a greeting that is right.
        greeting_and_lies(address, words(32, 3, 8, huge // 4, huge // 4) + bytes(200_000))
    replies = client.sync(nonsense_requests, address)
    assert all(reply is None or reply.get("status") in ("OK", "error", "uncaught-error") for reply in replies), replies
    assert client.submit(inc, held).result(PATIENCE) == 43
    assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2 and not losses(client)


def greeting_and_lies(address, lies):
    """As a peer that has introduced itself."""
    from distributed.protocol import dumps

    frames = dumps({"compression": None, "python": (3, 12, 0), "pickle-protocol": 5})
    words = [8 * (1 + len(frames)) + sum(map(len, frames)), len(frames), *map(len, frames)]
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE) as peer, contextlib.suppress(OSError):
        peer.sendall(b"".join(word.to_bytes(8, "little") for word in words) + b"".join(map(bytes, frames)) + lies)


async def nonsense_requests(address):
    replies = []
    for request in [
        {"op": "get_data", "keys": 7},
        {"op": "get_data", "keys": [{"a": 1}]},
        {"op": "update_data", "data": [1, 2]},
        {"op": "update_data", "data": {"x": 1}},
        {"op": "gather", "who_has": {"x": [5]}},
        {"op": "gather", "who_has": "everybody"},
        {"op": "free_keys", "keys": None},
        {"op": "run", "function": b"no pickle", "args": b"", "kwargs": b""},
        {"op": "plugin-add", "plugin": b"no pickle", "name": "p"},
        {"op": "actor_execute", "actor": "nobody", "function": "f", "args": [], "kwargs": {}},
        {"op": "dance"},
    ]:
        comm = await connect(address)
        await comm.write({**request, "reply": True})
        try:
            replies.append(await comm.read())
        except OSError:
            pass  # not worth an answer
        finally:
            comm.abort()
    return [reply if isinstance(reply, dict) else None for reply in replies]


def a_peer_that_lies_about_its_values_is_no_source_of_any():
    from distributed.core import Server
    from distributed.protocol import to_serialize

    answers = [
        lambda keys: {"status": "OK", "data": {"another": to_serialize(1)}},
        lambda keys: {"status": "OK", "data": 5},
        lambda keys: {"status": "OK", "data": {keys[0]: 5}},
        lambda keys: {"status": "nonsense"},
        lambda keys: "nonsense",
        lambda keys: None,
    ]
    scene = yield started()
    client = scene.client

    async def ask():
        given = []

        async def get_data(keys, who=None, serializers=None):
            return given[0](list(keys))

        server = Server({"get_data": get_data})
        await server.listen("tcp://127.0.0.1:0")
        comm = await connect(address_of_now)
        replies = []
        for answer in answers:
            given[:] = [answer]
            await comm.write({"op": "gather", "who_has": {"lie": [server.address]}, "reply": True})
            replies.append(await comm.read())
        comm.abort()
        await server.close()
        return replies

    address_of_now = address_of(client, "first")
    for reply in client.sync(ask):
        assert reply["status"] == "partial-fail" and list(reply["keys"]) == ["lie"], reply
    assert client.submit(inc, 1, workers=["first"]).result(PATIENCE) == 2 and not losses(client)


# -- values and preloads -----------------------------------------------------------------------------------------------


class OpensNowhere:
    """Whose pickle is read by everyone but an executor."""

    def __reduce__(self):
        return open_elsewhere, ()


def open_elsewhere():
    if sys.argv == ["daskjob-executor"]:
        raise pickle.UnpicklingError("this is not for executors")
    return OpensNowhere()


def a_task_whose_pickle_cannot_be_read_fails_with_the_reason():
    scene = yield started()
    future = scene.client.submit(lambda thing: "opened", OpensNowhere(), pure=False)
    wait(future, PATIENCE)
    assert "not for executors" in str(future.exception()), future
    [scattered] = scene.client.scatter([OpensNowhere()])
    after = scene.client.submit(lambda thing: "opened", scattered, pure=False)
    wait(after, PATIENCE)
    assert "not for executors" in str(after.exception()), after
    assert scene.client.submit(inc, 1).result(PATIENCE) == 2 and not losses(scene.client)


def a_result_that_cannot_be_pickled_stays_where_it_is_of_use():
    scene = yield started()
    lock = scene.client.submit(threading.Lock, workers=["first"], key="lock")
    used = scene.client.submit(lambda lock: lock.locked(), lock, workers=["first"])
    assert used.result(PATIENCE) is False
    try:
        lock.result(PATIENCE)
    except TypeError as error:
        assert "lock" in str(error)
    else:
        raise AssertionError("a lock was sent")
    elsewhere = scene.client.submit(lambda lock: None, lock, workers=["second"], pure=False)
    wait(elsewhere, PATIENCE)
    assert isinstance(elsewhere.exception(), TypeError), elsewhere
    assert scene.client.submit(inc, 1, workers=["second"]).result(PATIENCE) == 2 and not losses(scene.client)


def a_preload_that_cannot_be_imported_ends_the_worker_with_its_reason():
    scene = yield started(names=[])
    with tempfile.TemporaryDirectory() as name:
        preload = pathlib.Path(name, "preload.py")
        preload.write_text("raise RuntimeError('not on this day')\n")
        worker = scene.start("refused", "--preload", str(preload), stderr=subprocess.PIPE)
        _, said = worker.communicate(timeout=PATIENCE)
        assert worker.returncode == 1 and b"not on this day" in said, (worker.returncode, said)
        preload.write_text("def dask_setup(worker):\n    raise RuntimeError('not on this day')\n")
        worker = scene.start("goes on", "--preload", str(preload))
        scene.client.wait_for_workers(1, PATIENCE)
        assert scene.client.submit(inc, 1).result(PATIENCE) == 2
        worker.kill()
        worker.wait()


def what_is_preloaded_in_a_nanny_is_there_before_its_worker():
    with tempfile.TemporaryDirectory() as name:
        preload = pathlib.Path(name, "preload.py")
        preload.write_text("def dask_setup(nanny):\n    nanny.env['OF_A_PRELOAD'] = nanny.name\n")
        scene = yield started(["--preload-nanny", str(preload)], ["first"])
        assert list(scene.client.run(lambda: os.environ["OF_A_PRELOAD"]).values()) == ["first"]
        preload.write_text("raise RuntimeError('not on this day')\n")
        refused = scene.start("refused", stderr=subprocess.PIPE)
        _, said = refused.communicate(timeout=PATIENCE)
        assert refused.returncode == 1 and b"not on this day" in said, (refused.returncode, said)


# -- lives -------------------------------------------------------------------------------------------------------------


def at_the_end_of_its_lifetime_a_worker_hands_over_and_begins_again():
    scene = yield started(["--lifetime", "4s", "--lifetime-stagger", "1s", "--lifetime-restart"])
    workers = lambda: set(scene.client.scheduler_info(n_workers=-1)["workers"])  # noqa: E731
    before = workers()
    future = scene.client.submit(inc, 41, pure=False)
    assert future.result(PATIENCE) == 42
    until(lambda: len(workers()) == 2 and not workers() & before)
    assert future.result(PATIENCE) == 42 and all(worker.poll() is None for worker in scene.workers)


def run(rules, rule, worker_program, scheduler_program=""):
    steps = rules[rule]()
    try:
        wanted = next(steps)
    except StopIteration:
        return  # it said why
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        file = directory / "scheduler.json"
        os.environ.update(wanted.scheduler)
        scheduler = driver.start_scheduler(scheduler_program, file, getattr(wanted, "scheduler_flags", ()))
        for variable in wanted.scheduler:
            del os.environ[variable]
        started_here = []

        def start(name, *flags, **more):
            given = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--nthreads", "1", "--memory-limit", "700MB"]
            given += ["--name", name, "--local-directory", str(directory), "--python", wanted.python]
            command = [*(wanted.program or []), worker_program, *given, *wanted.flags, *flags]
            process = subprocess.Popen(command, env={**os.environ, **wanted.environment}, **more)
            started_here.append(process)
            return process

        try:
            until(lambda: file.exists() or scheduler.poll() is not None)
            workers = [start(name) for name in wanted.names]
            security = getattr(wanted, "security", None)
            with Client(scheduler_file=str(file), timeout=PATIENCE, security=security) as client:
                until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == len(workers))
                scene = SimpleNamespace(client=client, workers=workers, start=start)
                try:
                    steps.send(scene)
                except StopIteration:
                    pass
                else:
                    raise AssertionError("a rule has one scene")
        finally:
            for process in [*started_here, scheduler]:
                process.kill()
                process.wait()


if __name__ == "__main__":
    run(globals(), *sys.argv[1:])

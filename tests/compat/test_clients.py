"""Several clients, clients that die, asynchronous clients."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest
from distributed import Client, Future, wait

import tasks
from eventually import eventually


def test_clients_share_results_by_key(cluster, client):
    mine = client.submit(tasks.increment, 1, key="shared")
    mine.result()
    with cluster.client(set_as_default=False) as other:
        assert other.who_has()["shared"]
        theirs = other.submit(tasks.increment, 99, key="shared")
        assert theirs.result() == 2


def test_result_lives_until_the_last_client_releases(cluster, client):
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(tasks.increment, 1, key="two-owners")
        theirs = other.submit(tasks.increment, 1, key="two-owners")
        wait(theirs)
        mine.release()
        assert theirs.result() == 2
        theirs.release()
        eventually(lambda: "two-owners" not in client.who_has())


def test_equal_work_of_two_clients_runs_once(cluster, client, tmp_path):
    path = str(tmp_path / "calls")
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(tasks.fail_until, path, 0)
        theirs = other.submit(tasks.fail_until, path, 0)
        assert (mine.key, mine.result(), theirs.result()) == (theirs.key, 1, 1)


def test_future_passed_between_clients(cluster, client):
    with cluster.client(set_as_default=False) as other:
        mine = client.submit(tasks.increment, 1, key="passed")
        wait(mine)
        theirs = other.submit(tasks.increment, Future("passed", client=other))
        assert theirs.result(timeout=10) == 3


def test_closing_a_client_releases_its_keys(cluster, client):
    other = cluster.client(set_as_default=False)
    futures = other.map(tasks.increment, range(20), key="closing")
    wait(futures)
    assert len(client.who_has()) == 20
    other.close()
    eventually(lambda: client.who_has() == {})


def test_killed_client_releases_its_keys(cluster, client):
    program = """
        import sys, time
        from distributed import Client, wait
        client = Client(sys.argv[1])
        futures = client.map(abs, range(20), key="doomed")
        wait(futures)
        print("ready", flush=True)
        time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), cluster.address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        assert len(client.who_has()) == 20
    finally:
        child.kill()
        child.wait()
    eventually(lambda: client.who_has() == {})


def test_killed_client_in_the_middle_of_work(cluster, client, tmp_path):
    program = """
        import sys
        from distributed import Client, wait
        import tasks
        client = Client(sys.argv[1])
        futures = client.map(tasks.wait_for_file, [sys.argv[2]] * 30, range(30), key="midway")
        done = client.submit(abs, -1).result
        print("ready", flush=True)
        wait(futures)
    """
    gate = tmp_path / "gate"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), cluster.address, str(gate)],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment(),
    )
    try:
        assert child.stdout.readline() == "ready\n"
        eventually(lambda: sum(len(keys) for keys in client.processing().values()) >= 4)
    finally:
        child.kill()
        child.wait()
    gate.touch()
    eventually(lambda: client.who_has() == {})
    assert client.submit(tasks.increment, 1).result() == 2


def test_asynchronous_client(cluster):
    async def work():
        async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
            future = client.submit(tasks.increment, 1)
            assert await future == 2
            assert await future.result() == 2
            futures = client.map(tasks.increment, range(10))
            assert await client.gather(futures) == list(range(1, 11))
            scattered = await client.scatter([1, 2])
            assert await client.gather(scattered) == [1, 2]
            failed = client.submit(tasks.fail, "awaited")
            with pytest.raises(ValueError, match="awaited"):
                await failed
            assert len(await client.who_has()) >= 12

    asyncio.run(work())


def test_asynchronous_as_completed(cluster):
    from distributed import as_completed

    async def work():
        async with Client(cluster.address, asynchronous=True) as client:
            return sorted([await future async for future in as_completed(client.map(tasks.increment, range(5)))])

    assert asyncio.run(work()) == [1, 2, 3, 4, 5]


def test_client_of_a_scheduler_that_goes_away(new_cluster):
    cluster = new_cluster(workers={})
    client = cluster.client(set_as_default=False, timeout=2)
    try:
        cluster.scheduler.kill()
        eventually(lambda: client.status != "running")
    finally:
        client.close(timeout=2)

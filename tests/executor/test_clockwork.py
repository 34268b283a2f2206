"""The clockwork by itself: it sleeps for good when nothing runs, so whoever wakes it must neither be missed nor come to harm."""

import importlib.util
import threading
import time
from types import SimpleNamespace

from harness import SOURCES, WAIT_SECONDS


def clockwork(tasks):
    source = importlib.util.spec_from_file_location("clockwork", SOURCES / "clockwork.py")
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    line = SimpleNamespace(outbox=[], flush=lambda: None)
    return module.Clockwork(line, tasks, SimpleNamespace(active_threads={}), None)


class WokenWhileItLooks:
    """Something comes just when it looks a last time before it sleeps."""

    clockwork = None

    @property
    def runs(self):
        self.clockwork.wake()
        return {1: "run"}


def test_who_wakes_it_on_its_way_to_sleep_comes_to_no_harm():
    tasks = WokenWhileItLooks()
    tasks.clockwork = clockwork(tasks)
    for _ in range(3):
        tasks.clockwork.sleep()
    assert not tasks.clockwork.is_asleep


def test_it_sleeps_until_it_is_woken():
    tasks = WokenWhileItLooks()
    tasks.clockwork = ours = clockwork(tasks)
    ours.sleep()
    ours.tasks = SimpleNamespace(runs={})
    for _ in range(3):
        sleeper = threading.Thread(target=ours.sleep, daemon=True)
        sleeper.start()
        deadline = time.monotonic() + WAIT_SECONDS
        while not ours.is_asleep:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert sleeper.is_alive()
        ours.wake()
        sleeper.join(WAIT_SECONDS)
        assert not sleeper.is_alive() and not ours.is_asleep

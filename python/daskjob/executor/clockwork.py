"""What must happen now and then while tasks run: results that a short task left behind are sent, profiles are taken.

Sleeps for good when nothing ran for a second, until `wake`. Must not know what it sends.
"""

from __future__ import annotations

import threading
import time
import traceback

TICK_SECONDS = 0.01
IDLE_TICKS = 100


class Clockwork:
    def __init__(self, line, tasks, worker, profile_seconds: tuple[float, float] | None):
        self.line, self.tasks, self.worker = line, tasks, worker
        self.profile_seconds = profile_seconds
        self.is_asleep = False
        self.bell = threading.Event()
        self.next_cycle = 0.0

    def wake(self) -> None:
        """By the control thread only, behind what it queued."""
        if self.is_asleep:
            self.is_asleep = False
            self.bell.set()

    def run(self) -> None:
        idle_ticks = 0
        tick = self.profile_seconds[0] if self.profile_seconds else TICK_SECONDS
        while True:
            time.sleep(tick)
            if self.line.outbox:
                self.line.flush()
            if self.worker.active_threads:
                idle_ticks = 0
                self.profile()
            elif (idle_ticks := idle_ticks + 1) >= IDLE_TICKS:
                idle_ticks = 0
                self.sleep()

    def profile(self) -> None:
        if self.profile_seconds is None:
            return
        try:
            self.worker.trigger_profile()
        except Exception:  # a frame that cannot be described is one sample less
            traceback.print_exc()
            self.profile_seconds = None
            return
        if (now := time.monotonic()) >= self.next_cycle:
            self.next_cycle = now + self.profile_seconds[1]
            self.worker.cycle_profile()

    def sleep(self) -> None:
        self.bell.clear()  # it may have rung when this did not sleep after all
        self.is_asleep = True
        if self.tasks.runs or self.line.outbox:  # came before it could know
            self.is_asleep = False
            return
        self.bell.wait()

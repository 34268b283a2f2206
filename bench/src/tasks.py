"""What the benchmark's tasks do, as a module that schedulers, workers and the client import."""

import time

BLOCK_BYTES = 64 * 2**20


def make_block(seed):
    """Bytes that no compression makes smaller."""
    import numpy as np

    return np.random.Generator(np.random.SFC64(seed)).integers(0, 2**63, BLOCK_BYTES // 8, dtype=np.int64)


def touch(block):
    return len(block)


def keep_busy(seconds):
    """In the interpreter, which it gives away only when it must."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += 1
    return count


def spin(seconds, *_before):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

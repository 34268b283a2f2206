"""How collections move data between workers, while a cluster of ours is there.

Dask's own choice, where a client is connected, is peer to peer, which our scheduler does not have yet; `daskjob run` chooses
for its programs likewise. Invariant: what somebody chose stays, and with the last cluster goes what was chosen here.
"""

from __future__ import annotations

import threading

import dask.config

TASKS = "tasks"
METHODS = ("dataframe.shuffle.method", "array.rechunk.method")

_lock = threading.Lock()
_clusters = 0
_chosen: list[str] = []


def choose() -> None:
    """For one cluster more."""
    global _clusters
    with _lock:
        _clusters += 1
        if _clusters == 1:
            _chosen[:] = [method for method in METHODS if dask.config.get(method, None) is None]
            dask.config.set(dict.fromkeys(_chosen, TASKS))


def let_go() -> None:
    """For one cluster less."""
    global _clusters
    with _lock:
        _clusters -= 1
        if _clusters == 0:
            dask.config.set({method: None for method in _chosen if dask.config.get(method, None) == TASKS})
            _chosen.clear()

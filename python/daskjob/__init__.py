"""Python side of daskjob.

`LocalCluster` is for programs: a Dask cluster of our scheduler and workers on this machine. The rest is Python that the
programs carry with them and run in the *user's* interpreter (3.10 or newer) next to the user's own ``dask`` and
``distributed``, so that this package need not be installed for a cluster to work: ``graph_helper`` and ``scheduler_shim``
for the scheduler, ``executor`` for the worker.

Importing this package imports nothing else; ``distributed`` comes with the first use of a class that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskjob.local_cluster import LocalCluster

__version__ = "0.1.0"
__all__ = ["LocalCluster"]


def __getattr__(name: str):
    if name == "LocalCluster":
        from daskjob.local_cluster import LocalCluster

        return LocalCluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

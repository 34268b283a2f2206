"""Python side of daskjob.

What lives here runs in the *user's* interpreter (Python 3.10 or newer) next to the user's own ``dask`` and
``distributed``; nothing else may be imported. ``graph_helper`` and ``scheduler_shim`` are embedded in the scheduler
program and sent to a plain interpreter at start, so this package need not be installed for a cluster to work.
"""

__version__ = "0.1.0"

"""The executor: the process that runs a worker's Python, beside the Rust worker that does everything else.

`docs/executor-protocol.md` is the whole contract between the two. The worker starts the user's interpreter with the
text of `bootstrap.py` and hands over the text of the other files, so nothing of this need be installed.

    bootstrap.py   makes the handed-over texts a package; the only file that runs by itself
    life.py        from start to end: signals, settings, preloads, the loop of the main thread
    line.py        packets: messages and descriptors, in and out
    memory.py      frames in shared memory, in and out
    control.py     the reading thread: what each message of the worker does
    values.py      the values held, live or still sealed; what `worker.data` shows of them
    specs.py       from the bytes of a run_spec to a task
    outcomes.py    from what a task did to the message that says so
    tasks.py       the task threads
    worker.py      what `get_worker()` gives
    requests.py    handlers of plugins, actors and `client.run`, called as stock's server does
    nanny.py       the same for nannies, in a process of its own, where users bring something for them
    clockwork.py   what must happen now and then while tasks run: results sent, profiles taken

Threads: *main* runs the event loop (plugins, handlers, coroutine tasks: as in a stock worker), *control* reads the line,
*values* serialises, *clockwork* ticks, the others run tasks. Python 3.10 or newer, nothing but dask and distributed.
"""

"""Run with `-c`: takes the sources of the executor from the channel, makes them a package and starts it.

It cannot import anything of ours and must not print. `__main__` stays this text, which has no file: processes that tasks
spawn therefore import nothing of us.
"""

import importlib.abc
import importlib.util
import json
import os
import socket
import sys

PACKAGE = "_daskjob_executor"


class Sources(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Modules from texts in memory. Their file names do not exist, so tracebacks ask `get_source` for the lines."""

    def __init__(self, texts):
        self.texts = {PACKAGE if name == "__init__" else f"{PACKAGE}.{name}": text for name, text in texts.items()}

    def find_spec(self, name, path=None, target=None):
        if name not in self.texts:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name == PACKAGE)

    def is_package(self, name):
        return name == PACKAGE

    def get_source(self, name):
        return self.texts[name]

    def get_filename(self, name):
        return f"daskjob/executor/{name.partition('.')[2] or '__init__'}.py"


def take(channel, size):
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def start():
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    sys.argv[:] = ["daskjob-executor"]
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    channel = socket.socket(fileno=int(options["--channel"]))
    channel.set_inheritable(False)
    lifeline = int(options["--lifeline"]) if "--lifeline" in options else None
    texts = json.loads(take(channel, int.from_bytes(take(channel, 4), "little")))
    sys.meta_path.insert(0, Sources(texts))
    importlib.import_module(f"{PACKAGE}.life").main(channel, lifeline)


start()

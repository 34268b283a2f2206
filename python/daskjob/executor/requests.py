"""Requests of peers and messages of the scheduler's stream that are for Python, called as stock's server calls them.

All on the event loop of the main thread, as in a stock worker: handlers of plugins and `client.run` rely on it.
"""

from __future__ import annotations

import inspect
import logging

from distributed.core import Status, _expects_comm, error_message
from distributed.protocol import dumps, loads
from distributed.utils import has_keyword

from . import memory

logger = logging.getLogger("distributed.core")
OURS = {"heartbeat": "heartbeat_parts"}


class Peer:
    """Given to handlers that want the connection: it stays with the worker."""

    name = peer_address = local_address = "daskjob-worker"

    def closed(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def read(self, *arguments, **named):
        raise NotImplementedError("handlers in Python answer requests; the connection stays with the worker")

    write = read


async def answer(worker, line, request, op: str, frames: list) -> None:
    serializers, wants_reply = None, True
    try:
        message = loads(frames) if frames else {}
        message.pop("op", None)
        message.pop("close", None)
        wants_reply = message.pop("reply", True)
        serializers = message.pop("serializers", None)
        result = await call(worker, op, message, serializers)
    except Exception as error:
        logger.exception("the handler of %s failed", op)
        result = error_message(error, status="uncaught-error")
    if not wants_reply or result is Status.dont_reply:
        line.post(["answer", request, []])
        return
    try:
        reply = dumps(result, serializers=serializers, context=memory.UNCOMPRESSED)
    except Exception as error:
        reply = dumps(error_message(error, status="uncaught-error"))
    departures = memory.Departures()
    line.post_with(["answer", request, departures.frames(memory.shared(reply))], departures.descriptors)


async def call(worker, op: str, message: dict, serializers):
    if op in worker.blocked_handlers:
        raise ValueError(f"requests of kind {op!r} are blocked by this worker's configuration")
    handler = worker.handlers.get(op)
    if handler is None:
        if op in OURS:
            return getattr(worker, OURS[op])()
        logger.warning("nobody here answers %s", op)
        return None
    if serializers is not None and has_keyword(handler, "serializers"):
        message["serializers"] = serializers
    result = handler(Peer(), **message) if _expects_comm(handler) else handler(**message)
    return await result if inspect.isawaitable(result) else result


async def hear(worker, op: str, frames: list) -> None:
    """A message of the scheduler's stream."""
    try:
        messages = loads(frames)
        for message in messages if isinstance(messages, (list, tuple)) else [messages]:
            message.pop("op", None)
            handler = worker.stream_handlers.get(op)
            if handler is None:
                logger.warning("nobody here listens to %s", op)
                continue
            result = handler(**message)
            if inspect.isawaitable(result):
                await result
    except Exception:
        logger.exception("the listener to %s failed", op)

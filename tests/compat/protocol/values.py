"""Random values of the kinds Dask messages hold, from a seed."""

from __future__ import annotations

import math
import random
import string
import struct

from distributed.core import Status
from distributed.protocol import to_serialize
from distributed.protocol.serialize import ToPickle

ALPHABET = string.ascii_letters + string.digits + "-_'\"\\ \n\té日本🙂\x7f"


def text(rng: random.Random) -> str:
    length = rng.choice([0, 1, 5, 31, 32, 33, 255, 256, 300, 70_000] if rng.random() < 0.1 else [0, 3, 8, 12])
    return "".join(rng.choices(ALPHABET, k=length))


def integer(rng: random.Random) -> int:
    edge = rng.choice([0, 1 << 5, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, (1 << 63) - 2])
    return rng.choice([1, -1]) * (edge + rng.randint(-1, 1))


def real(rng: random.Random) -> float:
    if rng.random() < 0.3:
        return rng.choice([0.0, -0.0, 1.0, -3.0, 0.1, 1e-5, 1e16, 1e22, 123456.75, math.inf, -math.inf, 5e-324])
    value = struct.unpack("<d", rng.randbytes(8))[0]
    return 0.5 if math.isnan(value) else value


def key(rng: random.Random, depth: int = 0):
    kinds = [text, text, integer, real]
    if depth < 3:
        kinds.append(lambda rng: tuple(key(rng, depth + 1) for _ in range(rng.randint(0, 20 if depth == 0 else 3))))
    return rng.choice(kinds)(rng)


def scalar(rng: random.Random):
    kinds = [
        text,
        integer,
        real,
        lambda rng: rng.randbytes(rng.choice([0, 1, 255, 256, 66_000] if rng.random() < 0.1 else [0, 9])),
        lambda rng: None,
        lambda rng: rng.random() < 0.5,
        lambda rng: (1 << 63) + rng.randint(0, 1 << 62),
        lambda rng: rng.choice(list(Status)),
    ]
    return rng.choice(kinds)(rng)


def plain(rng: random.Random, depth: int = 0):
    """Data that pickles without any class."""
    if depth == 4 or rng.random() < 0.4:
        return rng.choice([text, integer, real, lambda rng: None, lambda rng: True, lambda rng: rng.randbytes(300)])(rng)
    count = rng.randint(0, 5)
    if rng.random() < 0.2:
        count = rng.choice([1001, 300]) if depth == 0 else 0
    items = [plain(rng, 4 if count > 100 else depth + 1) for _ in range(count)]
    shape = rng.choice(["list", "tuple", "dict", "set", "frozenset"])
    if shape == "dict":
        return {key(rng): item for item in items}
    if shape in ("set", "frozenset"):
        return {"set": set, "frozenset": frozenset}[shape](key(rng) for _ in items)
    return {"list": list, "tuple": tuple}[shape](items)


def message(rng: random.Random, depth: int = 0):
    """A message as Python decodes it: arrays are tuples."""
    if depth == 4 or rng.random() < 0.3:
        return scalar(rng)
    count = rng.choice([0, 1, 2, 3, 15, 16, 17]) if rng.random() < 0.95 else 70
    if depth > 0:
        count = min(count, 3)
    shape = rng.choice(["map", "map", "array", "set"])
    if shape == "map":
        return {key(rng): message(rng, depth + 1) for _ in range(count)}
    if shape == "set":
        return {key(rng) for _ in range(count)}
    return tuple(message(rng, depth + 1) for _ in range(count))


class Opaque:
    """Equal to another of the same content; travels by pickle only."""

    def __init__(self, content):
        self.content = content

    def __repr__(self):
        """The same in every process: tests are named by it."""
        return f"Opaque({self.content!r})"

    def __eq__(self, other):
        return type(other) is Opaque and same(self.content, other.content)

    def __hash__(self):
        return 0


def with_payloads(rng: random.Random, value, put):
    """Replaces some parts by payloads. `put(placeholder, content)` says what stands there."""
    if rng.random() < 0.15:
        content = rng.choice(
            [
                lambda: Opaque(plain(rng)),
                lambda: rng.randbytes(rng.choice([0, 10, 70_000, 200_000])),
                lambda: plain(rng),
            ]
        )()
        return put(rng.choice([to_serialize, ToPickle])(content), content)
    if type(value) is dict:
        return {name: with_payloads(rng, item, put) for name, item in value.items()}
    if type(value) is tuple:
        return tuple(with_payloads(rng, item, put) for item in value)
    return value


def same(left, right) -> bool:
    """Equal in value, type and order; lists and tuples are one where they travelled as an array."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return all(map(same, left.items(), right.items())) and len(left) == len(right)
    if isinstance(left, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return left == right

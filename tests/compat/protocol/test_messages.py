"""What stock Dask writes, we read; what we write, stock Dask reads; and nothing changes on the way."""

from __future__ import annotations

import random
import struct

import numpy
import pytest
from distributed.comm.tcp import _add_frames_header
from distributed.protocol import dumps, to_serialize
from distributed.protocol.serialize import ToPickle
from probe import Refused, frames_of, from_stream, to_stream

import values

SEEDS = range(240)
PAYLOAD_SEEDS = range(60)


@pytest.mark.parametrize("batch", [SEEDS[start : start + 60] for start in SEEDS[::60]], ids=str)
def test_any_message_comes_back_as_it_was(probe, batch):
    for seed in batch:
        message = values.message(random.Random(seed))
        assert values.same(probe.ask_message("m", message), message), f"seed {seed}"


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_payloads_keep_their_frames_and_their_place(probe, compression):
    for seed in PAYLOAD_SEEDS:
        rng = random.Random(seed)
        shape = values.message(rng)
        state = rng.getstate()
        sent = values.with_payloads(rng, shape, lambda placeholder, content: placeholder)
        rng.setstate(state)
        expected = values.with_payloads(rng, shape, lambda placeholder, content: content)
        how = {"context": {"compression": compression}, "frame_split_size": rng.choice([None, 30_000])}
        assert values.same(probe.ask_message("m", sent, **how), expected), f"seed {seed}"


def test_headers_are_forwarded_byte_for_byte(probe):
    array = numpy.arange(100_000.0)
    frames = dumps({"op": "x", "data": {("x", 1): to_serialize(array), 2: to_serialize(b"abc")}, "p": ToPickle(array)})
    pieces, _, _ = _add_frames_header(frames)
    ours = probe.ask("m", b"".join(bytes(piece) for piece in pieces))
    theirs = [bytes(frame) for frame in frames[1:]]
    assert [bytes(frame) for frame in frames_of(ours)[1:]] == theirs
    back = from_stream(ours)
    assert numpy.array_equal(back["data"][("x", 1)], array) and numpy.array_equal(back["p"], array)


def test_value_that_msgpack_refuses_travels_as_pickle(probe):
    message = {"op": "set_metadata", "value": numpy.int64(5), "odd": [values.Opaque(1), 2]}
    back = probe.ask_message("m", message)
    assert back["value"] == 5 and back["odd"][0] == values.Opaque(1)


def test_frames_of_no_bytes_are_kept(probe):
    empty = numpy.zeros(0)
    back = probe.ask_message("m", {"a": ToPickle([empty, numpy.ones(3), empty]), "b": to_serialize(b"")})
    assert [len(part) for part in back["a"]] == [0, 3, 0] and back["b"] == b""


def test_big_frames_stay_outside_the_first_read(probe):
    big, small = numpy.random.default_rng(1).random(100_000), numpy.ones(10)
    ours = probe.ask("m", to_stream({"big": ToPickle(big), "small": ToPickle(small)}))
    first_read, count = struct.unpack_from("<QQ", ours)
    lengths = struct.unpack_from(f"<{count}Q", ours, 16)
    before_the_big_one = next(index for index, length in enumerate(lengths) if length >= 64 * 1024)
    assert first_read == 8 * (1 + count) + sum(lengths[:before_the_big_one])
    assert numpy.array_equal(from_stream(ours)["big"], big)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_frames_are_opened(probe, compression):
    content = b"spam and eggs " * 100_000
    (frame,) = probe.ask_message("x", to_serialize(content), context={"compression": compression})
    assert frame == content


def test_compression_we_do_not_have_is_named(probe):
    with pytest.raises(Refused, match="compression zlib is not supported"):
        probe.ask_message("x", to_serialize(b"spam and eggs " * 100_000), context={"compression": "zlib"})

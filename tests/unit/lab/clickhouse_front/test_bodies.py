"""Every frame of a body is read, none beyond the limit, and a damaged one is an error and never fewer rows."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2lab.clickhouse_front import blocks, frames
from k2lab.clickhouse_front.errors import ClickHouseError

LIMIT = 1 << 20
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": lambda data: frames.compress(data, "zstd"),
}


@pytest.mark.parametrize("encoding", PACK)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_every_frame_is_read(encoding: str, parts: list[bytes]) -> None:
    body = b"".join(PACK[encoding](part) for part in parts)
    assert frames.decompress(body, encoding, LIMIT) == b"".join(parts)


@pytest.mark.parametrize("encoding", PACK)
def test_exactly_the_limit_is_allowed_and_one_byte_more_is_not(encoding: str) -> None:
    halves = PACK[encoding](bytes(500)) * 2
    assert len(frames.decompress(halves, encoding, 1000)) == 1000
    with pytest.raises(ClickHouseError) as caught:
        frames.decompress(halves, encoding, 999)
    assert caught.value.status == 413


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_cut_short_is_refused(encoding: str) -> None:
    whole = PACK[encoding](b"row\n" * 100)
    for body in (whole[:-3], whole + whole[:-3]):
        with pytest.raises(ClickHouseError) as caught:
            frames.decompress(body, encoding, LIMIT)
        assert caught.value.code == 271


@pytest.mark.parametrize("encoding", PACK)
def test_noise_is_refused(encoding: str) -> None:
    with pytest.raises(ClickHouseError) as caught:
        frames.decompress(b"no frame at all, just text", encoding, LIMIT)
    assert caught.value.code == 271


def test_unknown_encodings_are_named() -> None:
    with pytest.raises(ClickHouseError, match="'br', expected one of zstd, lz4, gzip, deflate"):
        frames.decompress(b"x", "br", LIMIT)


@pytest.mark.parametrize("encoding", frames.ENCODINGS)
@given(data=st.binary(max_size=1000))
def test_answers_unpack_to_themselves(encoding: str, data: bytes) -> None:
    assert frames.decompress(frames.compress(data, encoding), encoding, LIMIT) == data


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, lz4;q=0.5", "lz4"),
        ("gzip", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("zstd;q=0.0", None),
        ("br", None),
        ("", None),
    ],
)
def test_the_encoding_of_an_answer(accept: str, chosen: str | None) -> None:
    assert frames.choose_encoding(accept) == chosen


@given(st.binary(max_size=3000))
def test_blocks_unpack_to_themselves(data: bytes) -> None:
    assert blocks.unpack(blocks.pack(data) + blocks.pack(data), LIMIT) == data + data


def test_long_data_takes_several_blocks() -> None:
    data = bytes(range(256)) * 10_000
    assert blocks.unpack(blocks.pack(data), len(data)) == data
    with pytest.raises(ClickHouseError, match="more than"):
        blocks.unpack(blocks.pack(data), len(data) - 1)


def test_a_block_as_the_engine_writes_it() -> None:
    # The file of a UInt8 column with the values 1, 2, 3, taken from a MergeTree part.
    body = bytes.fromhex("d9a2a5fb6cd40dad7f5693f08062f052820d0000000300000030010203")
    assert blocks.unpack(body, LIMIT) == b"\x01\x02\x03"


@pytest.mark.parametrize("position", [0, 16, 20, 24, -1])
def test_a_damaged_block_is_refused(position: int) -> None:
    body = bytearray(blocks.pack(b"some rows\n" * 10))
    body[position] ^= 1
    with pytest.raises(ClickHouseError) as caught:
        blocks.unpack(bytes(body), LIMIT)
    assert caught.value.code == 271


def test_a_block_cut_short_is_refused() -> None:
    body = blocks.pack(b"some rows\n" * 10)
    for length in range(1, len(body)):
        with pytest.raises(ClickHouseError):
            blocks.unpack(body[:length], LIMIT)

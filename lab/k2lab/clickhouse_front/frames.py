# SPDX-License-Identifier: Apache-2.0
"""Bodies in the encodings of HTTP that ClickHouse speaks: gzip, deflate, zstd and lz4 frames.

A client may send one frame per block of rows, so a body is read until its last byte: a reader that stops behind the
first frame loses rows without an error. Every size is bounded, because a small body can unpack to a huge one.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

import lz4.frame

from .errors import BAD_ARGUMENTS, CANNOT_DECOMPRESS, QUERY_IS_TOO_LARGE, ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS: Final = ("zstd", "lz4", "gzip", "deflate")  # in the order we prefer to answer in


class _Frame(Protocol):
    """What all the libraries' incremental decompressors of one frame have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Unpack every frame of `body`; raises ClickHouseError 271 if it is damaged, 223 if it exceeds `limit` bytes."""
    make = _FRAMES.get(encoding.lower())
    if make is None:
        raise ClickHouseError.of(
            BAD_ARGUMENTS, f"Unknown Content-Encoding {encoding!r}, expected one of {', '.join(ENCODINGS)} or none"
        )
    unpacked, size, rest = [], 0, body
    while rest:
        frame = make()
        try:
            piece = frame.decompress(rest, limit + 1 - size)
        except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
            raise ClickHouseError.of(
                CANNOT_DECOMPRESS, f"The {encoding} body is damaged at byte {len(body) - len(rest)}: {error}"
            ) from error
        size += len(piece)
        if size > limit:
            raise ClickHouseError.of(
                QUERY_IS_TOO_LARGE, f"The body unpacks to more than {limit} bytes; send it in smaller inserts"
            )
        if not frame.eof:
            raise ClickHouseError.of(
                CANNOT_DECOMPRESS, f"The {encoding} body ends in the middle of a frame: it was cut short"
            )
        unpacked.append(piece)
        rest = frame.unused_data or b""
    return b"".join(unpacked)


def compress(body: bytes, encoding: str) -> bytes:
    """Pack an answer as one frame."""
    if encoding == "zstd":
        return zstd.compress(body, 1)
    if encoding == "lz4":
        return bytes(lz4.frame.compress(body))
    packer = zlib.compressobj(1, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return packer.compress(body) + packer.flush()


def choose_encoding(accept_encoding: str) -> str | None:
    """The encoding to answer in for an Accept-Encoding header, or None for a plain answer."""
    wanted = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",") if not _refused(part)}
    return next((encoding for encoding in ENCODINGS if encoding in wanted), None)


def _refused(part: str) -> bool:
    quality = part.partition("q=")[2].strip()
    return quality.replace(".", "").strip("0") == "" and quality != ""


class _ZlibFrame:
    """zlib's decompressor with the names the others use."""

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._inner.decompress(data, max_length)


_FRAMES: Final[dict[str, Callable[[], _Frame]]] = {
    "gzip": lambda: _ZlibFrame(31),
    "deflate": lambda: _ZlibFrame(15),
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}

# SPDX-License-Identifier: Apache-2.0
"""ClickHouse's own compressed blocks: the bodies of `compress=1` answers and `decompress=1` requests.

A block is a CityHash128 checksum (16 bytes) of what follows, a method byte, the size of the block without the checksum
and of the data (both uint32, little endian), and the data. Layout: src/Compression/CompressedReadBufferBase.cpp.
"""

from __future__ import annotations

import struct
import sys
from typing import Final

import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

from .errors import CANNOT_DECOMPRESS, QUERY_IS_TOO_LARGE, ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEADER: Final = struct.Struct("<BII")
_CHECKSUM_BYTES: Final = 16
_BLOCK_BYTES: Final = 1 << 20
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


def pack(data: bytes) -> bytes:
    """Data as a sequence of lz4 blocks of at most 1 MiB each."""
    blocks = []
    for start in range(0, len(data), _BLOCK_BYTES):
        piece = data[start : start + _BLOCK_BYTES]
        packed = lz4.block.compress(piece, store_size=False)
        block = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(piece)) + packed
        blocks += [_checksum(block), block]
    return b"".join(blocks)


def unpack(body: bytes, limit: int) -> bytes:
    """The data of all blocks; raises ClickHouseError 271 for a damaged one, 223 beyond `limit` bytes in all."""
    pieces, size, position = [], 0, 0
    while position < len(body):
        start = position + _CHECKSUM_BYTES
        if start + _HEADER.size > len(body):
            raise _damaged(position, "it ends within a block's header")
        method, block_bytes, data_bytes = _HEADER.unpack_from(body, start)
        block = body[start : start + block_bytes]
        if block_bytes < _HEADER.size or len(block) < block_bytes:
            raise _damaged(position, f"a block of {block_bytes} bytes is announced, {len(body) - start} are there")
        if _checksum(block) != body[position:start]:
            raise _damaged(position, "the checksum does not match")
        size += data_bytes
        if size > limit:
            raise ClickHouseError.of(
                QUERY_IS_TOO_LARGE, f"The body unpacks to more than {limit} bytes; send it in parts"
            )
        pieces.append(_unpack_one(method, block[_HEADER.size :], data_bytes, position))
        position = start + block_bytes
    return b"".join(pieces)


def _unpack_one(method: int, packed: bytes, data_bytes: int, position: int) -> bytes:
    try:
        if method == _LZ4:
            data = bytes(lz4.block.decompress(packed, uncompressed_size=data_bytes))
        elif method == _ZSTD:
            data = zstd.ZstdDecompressor().decompress(packed, data_bytes + 1)
        elif method == _NONE:
            data = packed
        else:
            raise _damaged(position, f"unknown method 0x{method:02x}, expected lz4, zstd or none")
    except (lz4.block.LZ4BlockError, zstd.ZstdError) as error:
        raise _damaged(position, str(error)) from error
    if len(data) != data_bytes:
        raise _damaged(position, f"{data_bytes} bytes are announced, {len(data)} come out")
    return data


def _checksum(block: bytes) -> bytes:
    # The package gives the two halves as one integer with the first in the upper part; the wire has the first first.
    value: int = CityHash128(block)
    return struct.pack("<QQ", value >> 64, value & (1 << 64) - 1)


def _damaged(position: int, what: str) -> ClickHouseError:
    return ClickHouseError.of(CANNOT_DECOMPRESS, f"The compressed body is damaged at byte {position}: {what}")

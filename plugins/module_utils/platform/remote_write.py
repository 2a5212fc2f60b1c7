# SPDX-License-Identifier: Apache-2.0
"""Samples for a Prometheus that receives remote writes, encoded by hand. Standard library only.

The request is the protobuf message ``prometheus.WriteRequest`` in snappy's block format
(https://prometheus.io/docs/specs/prw/remote_write_spec). Nothing is compressed: the format allows blocks of literals.
"""

from __future__ import annotations

import http.client
import struct
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from .http_api import ApiRefused, ApiUnreachable

# What Prometheus itself writes where a series ends.
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]

_LITERAL = 1 << 15
Sample = tuple[int, float]


def write(url: str, series: Iterable[tuple[Mapping[str, str], Sequence[Sample]]], timeout_s: float = 10.0) -> None:
    """Send samples, (milliseconds since the epoch, value), of each label set (with ``__name__``), in order of time.

    :raises ApiUnreachable, ApiRefused: Prometheus did not answer, or did not take them.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    try:
        connection.request("POST", "/api/v1/write", body=literal_snappy(encoded(series)), headers=headers)
        answer = connection.getresponse()
        said = answer.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise ApiUnreachable(
            "Prometheus did not take samples", expected=f"an answer from {url}", seen=str(error)
        ) from error
    finally:
        connection.close()
    if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT):
        raise ApiRefused(
            "Prometheus did not take samples", expected="status 204", seen=f"status {answer.status}: {said.strip()}"
        )


def encoded(series: Iterable[tuple[Mapping[str, str], Sequence[Sample]]]) -> bytes:
    """The message; labels in the order of their names, as the protocol wants them."""
    return b"".join(_field(1, _time_series(labels, samples)) for labels, samples in series)


def _time_series(labels: Mapping[str, str], samples: Sequence[Sample]) -> bytes:
    parts = [
        _field(1, _field(1, name.encode()) + _field(2, labels[name].encode()))
        for name in sorted(labels)
        if labels[name]
    ]
    parts += [_field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time_ms)) for time_ms, value in samples]
    return b"".join(parts)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def literal_snappy(content: bytes) -> bytes:
    """``content`` in snappy's block format, as literals."""
    out = bytearray(_varint(len(content)))
    for begin in range(0, len(content), _LITERAL):
        part = content[begin : begin + _LITERAL]
        out += bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part
    return bytes(out)

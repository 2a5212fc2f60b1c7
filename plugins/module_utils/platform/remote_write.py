# SPDX-License-Identifier: Apache-2.0
"""Samples for a Prometheus that receives remote writes, encoded by hand. Standard library only.

The request is the protobuf message ``prometheus.WriteRequest`` in snappy's block format
(https://prometheus.io/docs/specs/prw/remote_write_spec). Nothing is compressed: the format allows blocks of literals.
"""

from __future__ import annotations

import http
import struct
from collections.abc import Iterable, Mapping, Sequence

from .http_api import ApiRefused, ApiUnreachable, BodyTooLarge, exchange

# What Prometheus itself writes where a series ends.
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]

_LITERAL = 1 << 15
_SAID = 4096
Sample = tuple[int, float]


def write(url: str, series: Iterable[tuple[Mapping[str, str], Sequence[Sample]]], timeout_s: float = 10.0) -> None:
    """Send samples, (milliseconds since the epoch, value), of each label set (with ``__name__``), in order of time.

    :raises ApiUnreachable, ApiRefused: Prometheus did not answer, or did not take them.
    """
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    try:
        answer = exchange(
            "POST", url, "/api/v1/write", body=literal_snappy(encoded(series)), headers=headers, timeout_s=timeout_s
        )
    except (OSError, BodyTooLarge) as error:
        raise ApiUnreachable(
            "Prometheus did not take samples",
            expected=f"an answer from {url} within {timeout_s:g} s",
            seen=f"{type(error).__name__}: {error}",
            action="check that it runs",
        ) from error
    if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT):
        raise ApiRefused(
            "Prometheus did not take samples",
            status=answer.status,
            expected=f"status 204 from {url}",
            seen=f"status {answer.status}: {answer.body[:_SAID].decode('utf-8', 'replace').strip()}",
            action="mend what it says; it takes samples with --web.enable-remote-write-receiver",
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

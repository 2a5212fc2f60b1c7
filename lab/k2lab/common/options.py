# SPDX-License-Identifier: Apache-2.0
"""argparse types shared by the lab's programs."""

from __future__ import annotations

import argparse
import math

LOOPBACK = "127.0.0.1"


def add_host(parser: argparse.ArgumentParser) -> None:
    """The option --host: where a program listens. A container, which has a network of its own, takes 0.0.0.0."""
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default %(default)s)")


def port(text: str) -> int:
    """A TCP port, 1 to 65535."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"expected a TCP port from 1 to 65535, got {text!r}")
    return value


def host_port(text: str) -> str:
    """One or more `host:port`, separated by commas, as Kafka clients take them."""
    for part in text.split(","):
        host, separator, number = part.rpartition(":")
        if not separator or not host:
            raise argparse.ArgumentTypeError(f"expected host:port[,host:port...], got {text!r}")
        port(number)
    return text


def positive(text: str) -> float:
    """A finite number above zero."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above zero, got {text!r}")
    return value


def not_negative(text: str) -> float:
    """A finite number, zero or above."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected zero or more, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text!r}")
    return value

# SPDX-License-Identifier: Apache-2.0
"""Command-line types refuse what the programs could not work with."""

from __future__ import annotations

import argparse

import pytest

from k2lab.common import options


@pytest.mark.parametrize("text", ["1", "65535"])
def test_port_accepts_the_range(text: str) -> None:
    assert options.port(text) == int(text)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", ""])
def test_port_refuses_others(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="TCP port"):
        options.port(text)


@pytest.mark.parametrize("text", ["127.0.0.1:9092", "a:1,b:2", "[::1]:9092"])
def test_host_port_accepts(text: str) -> None:
    assert options.host_port(text) == text


@pytest.mark.parametrize("text", ["localhost", ":9092", "a:1,b", "a:0"])
def test_host_port_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        options.host_port(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_positive_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        options.positive(text)

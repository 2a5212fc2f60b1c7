# SPDX-License-Identifier: Apache-2.0
"""The way from a container to the outside, read from the kernel's table of its network namespace."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass
from pathlib import Path

from .base import FaultNotPossible

_PROC = Path("/proc")
_EVERYWHERE = ipaddress.ip_network("0.0.0.0/0")
_NO_GATEWAY = "00000000"


@dataclass(frozen=True)
class WayOut:
    """The interface with the default route, and the network that is directly on it."""

    interface: str
    own_network: str


def way_out(pid: int) -> WayOut:
    """The way out of the network namespace of process ``pid``.

    :raises FaultNotPossible: there is none, or more than one, so that one rule could not cut it.
    """
    net = _PROC / str(pid) / "net"
    six = net / "if_inet6"  # absent where the kernel does without IPv6
    try:
        table = (net / "route").read_text(encoding="ascii")
        addresses6 = six.read_text(encoding="ascii") if six.exists() else ""
    except OSError as error:
        raise FaultNotPossible(f"the routes of process {pid} cannot be read", seen=str(error)) from error
    routes = [_parse(line) for line in table.splitlines()[1:]]
    out = {interface for interface, network, _ in routes if network == _EVERYWHERE}
    near = [
        (interface, network)
        for interface, network, gateway in routes
        if interface in out and gateway == _NO_GATEWAY and network != _EVERYWHERE
    ]
    if len(out) != 1 or len(near) != 1:
        raise FaultNotPossible(
            "there is not one way out of the service's network",
            expected="one default route, over an interface with one network",
            seen=f"default routes over {', '.join(sorted(out)) or 'nothing'}, networks there: "
            + (", ".join(str(network) for _, network in near) or "none"),
        )
    if any(_is_global(line) for line in addresses6.splitlines()):
        raise FaultNotPossible(
            "the service may reach the outside by IPv6 too, which would stay open",
            expected="no global IPv6 address in its network",
            seen="one",
            action="take enable_ipv6 off its network for this test",
        )
    interface, network = near[0]
    return WayOut(interface, str(network))


def _parse(line: str) -> tuple[str, ipaddress.IPv4Network, str]:
    fields = line.split()
    interface, destination, gateway, mask = fields[0], fields[1], fields[2], fields[7]
    return interface, ipaddress.IPv4Network((_address(destination), str(_address(mask)))), gateway


def _address(text: str) -> ipaddress.IPv4Address:
    """An address as the kernel prints it: eight hexadecimal digits in the machine's byte order."""
    return ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder))


def _is_global(line: str) -> bool:
    return line.split()[3] == "00"  # the scope: 00 global, 10 host, 20 link

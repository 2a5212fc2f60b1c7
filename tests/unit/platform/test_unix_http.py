"""Sockets below directories deeper than an address of a socket can be."""

from __future__ import annotations

import socket

from ansible_collections.k2.hardening.plugins.module_utils.platform.unix_http import UnixConnection


def test_a_link_leads_from_a_deep_directory_to_a_short_address(tmp_path):
    short = tmp_path / "s"
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "runtime.sock").symlink_to(short)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(short))
        server.listen(1)
        connection = UnixConnection(str(deep / "runtime.sock"), 1.0)
        connection.connect()
        connection.close()

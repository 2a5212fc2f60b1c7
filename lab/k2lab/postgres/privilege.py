# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL refuses to run as root; a lab that root starts runs it as the user of the distribution's package."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from k2lab.common.errors import LabError

USER = "postgres"


def as_server(command: list[str]) -> list[str]:
    """The command line that runs `command` as the server's user; the same command where we are not root.

    Raises LabError when that user or setpriv is missing.
    """
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LabError("setpriv on PATH, to run PostgreSQL as a user", "none", "apt install util-linux")
    # To walk down to a lab below a directory of root's own, and read its configuration, takes one capability.
    capability = "+dac_read_search"
    _server_user()
    return [
        *(setpriv, "--reuid", USER, "--regid", USER, "--clear-groups"),
        *("--inh-caps", capability, "--ambient-caps", capability, "--"),
        *command,
    ]


def give_to_server(path: Path) -> None:
    """Make the server's user the owner of `path`; does nothing where we are not root."""
    if os.geteuid() == 0:
        user = _server_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def _server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(USER)
    except KeyError as error:
        raise LabError(
            f"the user {USER}, since PostgreSQL refuses to run as root", "no such user", "apt install postgresql"
        ) from error

# SPDX-License-Identifier: Apache-2.0
"""Entry point. Checks the interpreter before it imports anything an old Python could not even parse."""

import sys

MINIMUM = (3, 11)

if sys.version_info < MINIMUM:
    sys.stderr.write(
        "set-up: Python {}.{} or newer is needed, this is {}.{} ({}).\n"
        "  Install it (Debian 12 or newer: apt install python3 python3-venv),\n"
        "  then: make setup PYTHON=/path/to/python3.11\n".format(*MINIMUM, *sys.version_info[:2], sys.executable)
    )
    sys.exit(2)

from k2lab.provision.cli import main  # noqa: E402

sys.exit(main())

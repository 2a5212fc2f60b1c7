# SPDX-License-Identifier: Apache-2.0
"""What unit and integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).resolve().parent.parent

# What ansible's command lines do first. It must be done before any test imports the collection, or Ansible would meet
# modules of a collection that it does not know.
init_plugin_loader([str(ROOT / "collections")])


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return ROOT

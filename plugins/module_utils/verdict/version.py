# SPDX-License-Identifier: Apache-2.0
"""The collection's own version."""

from __future__ import annotations

import json
from pathlib import Path

import yaml


def collection_version(root: Path) -> str:
    """The version of the collection at ``root``: from MANIFEST.json where it was installed, from galaxy.yml in a
    checkout.
    """
    manifest = root / "MANIFEST.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"])

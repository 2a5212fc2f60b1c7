# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands share, and how a shell completes them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..verdict.rundir import LATEST, RESULTS

ARTIFACTS = "artifacts"
DEFAULT_RUN = f"{ARTIFACTS}/{LATEST}"


def add_inventory(parser: argparse.ArgumentParser) -> None:
    """``-i``: the platform."""
    parser.add_argument("-i", "--inventory", required=True, help="inventory that describes the platform")


def add_artifacts(parser: argparse.ArgumentParser) -> None:
    """``--artifacts``: where runs are."""
    parser.add_argument("--artifacts", default=ARTIFACTS, help="directory of the runs (default: %(default)s)")


def add_run(parser: argparse.ArgumentParser, name: str, text: str, default: str | None = DEFAULT_RUN) -> None:
    """A positional argument that is a run's directory; one with a default may be left out."""
    optional: dict[str, Any] = {"nargs": "?", "default": default} if default else {}
    shown = f"{text} (default: {default})" if default else text
    argument = parser.add_argument(name, metavar=name.removesuffix("_dir").upper(), help=shown, **optional)
    # argcomplete reads this attribute.
    argument.completer = _runs  # type: ignore[attr-defined]


def _runs(prefix: str, **_more: object) -> list[str]:
    """Runs below the artifacts directory, and whatever directory is being typed."""
    root = Path(prefix).parent if "/" in prefix else Path(ARTIFACTS)
    return sorted(str(path.parent) for path in root.glob(f"*/{RESULTS}"))

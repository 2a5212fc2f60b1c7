# SPDX-License-Identifier: Apache-2.0
"""The files of dashboards, and what they come to on one platform. On the controller only: it takes a YAML library."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from ..core.errors import K2Error
from ..profile.model import Profile
from .alert import Catalogue
from .dashboard import DashboardFile, parse_dashboard
from .dashboard_json import BuiltDashboard, build
from .load import load_catalogue
from .platform_names import names_of

DIRECTORY = Path(__file__).with_name("dashboards")
DEFAULT_SOURCE = "k2-prometheus"


class UnreadableDashboard(K2Error):  # noqa: N818 - see core.errors
    """A dashboard's file is no YAML."""


@cache
def load_dashboards(directory: Path = DIRECTORY) -> tuple[DashboardFile, ...]:
    """All dashboards of ``directory``, the one of the whole pipeline first.

    :raises UnreadableDashboard: no YAML. :raises DashboardError: with every problem of a file.
    """
    found = [_load(path) for path in sorted(directory.glob("*.yml"))]
    return tuple(sorted(found, key=lambda file: (not file.uid.endswith("-overview"), file.title)))


def build_all(
    profile: Profile, source_uid: str = DEFAULT_SOURCE, catalogue: Catalogue | None = None
) -> tuple[BuiltDashboard, ...]:
    """Every dashboard as ``profile``'s platform gets it, also those that have no panel there."""
    files = load_dashboards()
    names = names_of(profile, catalogue or load_catalogue(), source_uid)
    bare = [build(file, names, ()) for file in files]
    links = [(each.uid, each.title) for each in bare if each.panels]
    return tuple(build(file, names, links) for file in files)


def _load(path: Path) -> DashboardFile:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableDashboard(
            f"dashboard {path.name} cannot be read", expected="YAML", seen=" ".join(str(error).split())
        ) from error
    if not isinstance(data, dict):
        raise UnreadableDashboard(f"dashboard {path.name} is no mapping", expected="keys", seen=type(data).__name__)
    return parse_dashboard(path.stem, data)

# SPDX-License-Identifier: Apache-2.0
"""The catalogue's file, wherever the collection is installed. On the controller only: it takes a YAML library."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import K2Error
from .alert import Catalogue
from .parse import parse_catalogue

PATH = Path(__file__).with_name("alerts.yml")


class UnreadableCatalogue(K2Error):  # noqa: N818 - see core.errors
    """The file is not there, is no YAML, or says something twice."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_catalogue(path: Path = PATH) -> Catalogue:
    """Read and check the catalogue at ``path``; raises UnreadableCatalogue, CatalogueError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableCatalogue(
            "the catalogue of alerts cannot be read", expected=f"YAML in {path}", seen=" ".join(str(error).split())
        ) from error
    if not isinstance(data, dict):
        raise UnreadableCatalogue("the catalogue of alerts is no mapping", expected="keys", seen=type(data).__name__)
    return parse_catalogue(data)

# SPDX-License-Identifier: Apache-2.0
"""The pages as a static site with search, by MkDocs with the theme Material: files that work from disk, too.

The site is built anew where a page, the configuration or the generator differs from what it was built from.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ...core.errors import K2Error
from ...profile.runbooks import GENERAL, ON_CALL
from .pages import ARCHITECTURE

STAMP = ".built-from"
# What the theme loads from elsewhere so that its search works from disk.
_SHIM = "https://unpkg.com/iframe-worker/shim"
_BUILD_S = 120.0
_GENERATORS = ("mkdocs", "mkdocs-material")


class SiteError(K2Error):
    """The site cannot be built; the Markdown is there all the same."""


class Site:
    """The site of the pages in ``pages``, in the directory ``out``."""

    def __init__(self, pages: Path, out: Path, platform: str, worker: Path) -> None:
        """:arg worker: the script that lets the search run from disk."""
        self._worker = worker
        self._pages = pages
        self._out = out
        self._platform = platform

    @property
    def index(self) -> Path:
        """Its first page."""
        return self._out / "index.html"

    def build(self, names: Sequence[str], *, check: bool) -> bool:
        """Build it where it is not as it should be; whether it was, or would be.

        :raises SiteError: there is no generator, or it failed.
        """
        config = self._config(names)
        # In check mode pages may not be there yet: then there is something to build.
        if self.index.is_file() and self._stamp() == self._digest(config, names):
            return False
        if not check:
            self._run(config, names)
        return True

    def _config(self, names: Sequence[str]) -> dict[str, Any]:
        first = ("index", ON_CALL, ARCHITECTURE)
        runbooks = [name for name in names if name not in (*first, *GENERAL)]
        return {
            "site_name": f"{self._platform}: runbooks",
            "docs_dir": str(self._pages.resolve()),
            "use_directory_urls": False,
            "strict": True,
            # No fonts from elsewhere: it is read where there may be no network.
            "theme": {"name": "material", "font": False, "features": ["content.code.copy", "navigation.top"]},
            "plugins": ["search", "offline"],
            "markdown_extensions": [
                "tables",
                {"toc": {"permalink": True}},
                "pymdownx.superfences",
                "pymdownx.highlight",
            ],
            "nav": [
                {"Start": "index.md"},
                {"On call": f"{ON_CALL}.md"},
                {"Architecture": f"{ARCHITECTURE}.md"},
                {"Runbooks": [{name: f"{name}.md"} for name in (*runbooks, *GENERAL)]},
            ],
        }

    def _digest(self, config: dict[str, Any], names: Sequence[str]) -> str:
        seen = hashlib.sha256(json.dumps([config, [_version(name) for name in _GENERATORS]]).encode())
        seen.update(self._worker.read_bytes())
        for name in sorted(names):
            path = self._pages / f"{name}.md"
            seen.update(name.encode() + (path.read_bytes() if path.is_file() else b""))
        return seen.hexdigest()

    def _stamp(self) -> str:
        path = self._out / STAMP
        return path.read_text(encoding="ascii").strip() if path.is_file() else ""

    def _run(self, config: dict[str, Any], names: Sequence[str]) -> None:
        if not all(_version(name) for name in _GENERATORS):
            raise SiteError(
                "the site cannot be built",
                expected="the Python packages mkdocs and mkdocs-material on the controller",
                seen=", ".join(name for name in _GENERATORS if not _version(name)) + " missing",
                action="install them (requirements/run.txt), or set k2_runbooks_site: false",
            )
        with tempfile.TemporaryDirectory(prefix="k2-site-") as scratch:
            built = Path(scratch) / "site"
            # JSON is YAML.
            settings = Path(scratch) / "mkdocs.yml"
            settings.write_text(json.dumps({**config, "site_dir": str(built)}), encoding="utf-8")
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(settings)],
                    capture_output=True,
                    text=True,
                    timeout=_BUILD_S,
                    check=False,
                    # The same pages give the same files; and no banner of the theme's.
                    env={**os.environ, "SOURCE_DATE_EPOCH": "0", "NO_MKDOCS_2_WARNING": "1", "LC_ALL": "C.UTF-8"},
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise SiteError("the site was not built", expected="mkdocs build", seen=str(error)) from error
            if done.returncode != 0 or not (built / "index.html").is_file():
                raise SiteError(
                    "the site was not built",
                    expected="mkdocs build to succeed",
                    seen=" ".join((done.stderr or done.stdout).split())[-500:],
                )
            _make_independent(built, self._worker)
            (built / STAMP).write_text(self._digest(config, names) + "\n", encoding="ascii")
            shutil.rmtree(self._out, ignore_errors=True)
            shutil.copytree(built, self._out)


def _make_independent(site: Path, worker: Path) -> None:
    """Have the pages load nothing from any network: the one script that they would, is ours.

    :raises SiteError: the theme does otherwise than it did.
    """
    shutil.copyfile(worker, site / "assets" / "javascripts" / worker.name)
    for path in site.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        text = text.replace(_SHIM, f"assets/javascripts/{worker.name}")
        strange = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?://[^\"'>]+", text)
        if strange:
            raise SiteError(
                "the site would load something from elsewhere",
                expected="none of it",
                seen=strange[0],
                action="pin the theme",
            )
        path.write_text(text, encoding="utf-8")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""

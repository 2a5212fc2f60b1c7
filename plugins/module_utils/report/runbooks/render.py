# SPDX-License-Identifier: Apache-2.0
"""Writes the pages and the site. Files that are as they should be are not touched: a second run changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import jinja2

from ...catalogue.load import load_catalogue
from ...core.errors import K2Error
from ...measure.runbook.page import read_page
from ...profile.model import Profile
from ...profile.runbooks import GENERAL, ON_CALL
from .measured import Evidence
from .pages import ARCHITECTURE, context
from .site import Site

INDEX = "index"


class RunbooksError(K2Error):
    """The documents cannot be rendered."""


@dataclass(frozen=True)
class Wanted:
    """Where to write, and from what."""

    directory: Path
    templates: Path
    state_dir: str
    site: Optional[Path]
    check: bool = False


@dataclass(frozen=True)
class Rendered:
    """What became of it: files that changed, names of the runbooks that can be followed, and the site's first page."""

    changed: tuple[str, ...]
    runbooks: Mapping[str, str]
    site: Optional[str]
    site_changed: bool


def render_runbooks(profile: Profile, evidence: Evidence, wanted: Wanted) -> Rendered:
    """Render all pages; with ``check`` only tell what would change.

    :raises RunbooksError: a template is wrong or a file cannot be written. :raises K2Error: catalogue or evidence
        cannot be read, or a page could not be followed.
    """
    try:
        pages = page_texts(profile, evidence, wanted.templates, wanted.state_dir)
        changed = _write(wanted, pages)
    except (OSError, jinja2.TemplateError) as error:
        raise RunbooksError(
            "the runbooks cannot be rendered",
            expected=f"templates in {wanted.templates} and a writable {wanted.directory}",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    site = (
        None
        if wanted.site is None
        else Site(wanted.directory, wanted.site, profile.platform.name, wanted.templates.parent / "files" / "worker.js")
    )
    site_changed = site.build(list(pages), check=wanted.check) if site is not None else False
    general = {INDEX, ON_CALL, ARCHITECTURE, *GENERAL}
    runbooks = {name: str(wanted.directory / f"{name}.md") for name in pages if name not in general}
    return Rendered(changed, runbooks, None if site is None else str(site.index), site_changed)


def page_texts(profile: Profile, evidence: Evidence, templates: Path, state_dir: str) -> dict[str, str]:
    """Every page by its name. Each runbook is read back: one that nobody could follow is an error here."""
    environment = _environment(templates)
    shared: Mapping[str, Any] = {**context(profile, load_catalogue(), evidence), "state_dir": state_dir}
    texts = {
        name: environment.get_template(f"{name}.md.j2").render(shared)
        for name in (INDEX, ON_CALL, ARCHITECTURE, *GENERAL)
    }
    template = environment.get_template("runbook.md.j2")
    for page in shared["pages"]:
        texts[page.name] = template.render({**shared, "page": page})
        if page.diagnosis:
            read_page(texts[page.name])
    return {name: _tidy(text) for name, text in texts.items()}


def _tidy(text: str) -> str:
    """No two empty lines in a row, and one newline at the end."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"


def _write(wanted: Wanted, pages: Mapping[str, str]) -> tuple[str, ...]:
    changed = []
    for name, text in pages.items():
        path = wanted.directory / f"{name}.md"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(str(path))
        if not wanted.check:
            wanted.directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in sorted(wanted.directory.glob("*.md")):
        if path.stem not in pages:
            changed.append(str(path))
            if not wanted.check:
                path.unlink()
    return tuple(changed)


def _environment(templates: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=False,  # noqa: S701 - Markdown for people, from their own inventory
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    environment.filters["mib"] = lambda value: "-" if value is None else f"{value / 2**20:,.0f}"
    return environment

# SPDX-License-Identifier: Apache-2.0
"""S5.documents: is every document of the run there, of this run, and without a link that leads nowhere?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .gate import GateResult, Verdict

REPORT_DOCUMENTS = ("report/index.html", "report/report.md", "report/PROGRESS.md", "report/junit.xml")
RUNBOOK_DOCUMENTS = ("index.md", "on-call.md", "architecture.md")
RUNBOOKS = "report/runbooks"
_RUNBOOK_GATE = "S5.runbook."
_HTML_LINK = re.compile(r"""\s(?:href|src)\s*=\s*["']([^"']*)["']""", re.IGNORECASE)
_HTML_ANCHOR = re.compile(r"""\sid\s*=\s*["']([^"']*)["']""", re.IGNORECASE)
_MARKDOWN_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_MARKDOWN_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")


@dataclass(frozen=True)
class Documents:
    """What was examined, by path relative to the run, and what is wrong with it, in words."""

    examined: tuple[str, ...]
    problems: tuple[str, ...]

    def to_plain(self) -> Mapping[str, Any]:
        """As evidence keeps it."""
        return {"examined": list(self.examined), "problems": list(self.problems)}


def expected_documents(gates: Iterable[GateResult]) -> tuple[str, ...]:
    """The documents that a run with these gates has: a runbook per gate that is about one, and what leads to them."""
    runbooks = [
        gate.spec.id.removeprefix(_RUNBOOK_GATE)
        for gate in gates
        if gate.spec.id.startswith(_RUNBOOK_GATE) and gate.verdict is not Verdict.NOT_APPLICABLE
    ]
    pages = [*RUNBOOK_DOCUMENTS, *(f"{name}.md" for name in runbooks)] if runbooks else []
    return (*REPORT_DOCUMENTS, *(f"{RUNBOOKS}/{page}" for page in pages))


def examine(run_path: Path, run_id: str, expected: Sequence[str]) -> Documents:
    """Look at every expected document, and at each further page of the runbooks."""
    further = sorted(
        str(path.relative_to(run_path)) for path in (run_path / RUNBOOKS).glob("*.md") if path.parent.is_dir()
    )
    examined = tuple(dict.fromkeys([*expected, *further]))
    problems = []
    for name in examined:
        problems += [f"{name}: {problem}" for problem in _problems(run_path / name, run_path, run_id)]
    return Documents(examined, tuple(problems))


def _problems(path: Path, run_path: Path, run_id: str) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        yield "is missing"
        return
    except (OSError, ValueError) as error:
        yield f"cannot be read: {error}"
        return
    if not text.strip():
        yield "is empty"
        return
    # Runbooks are of the platform and carry numbers of several runs; the report is of this one.
    if path.parent.name == "report" and run_id not in text:
        yield f"does not speak of run {run_id}"
    if path.suffix in (".html", ".md"):
        yield from _dead_links(path, text, run_path.resolve())


def _dead_links(path: Path, text: str, run_path: Path) -> Iterator[str]:
    """Links to what is not there; what is beyond the run, by an address of its own, is not looked at."""
    html = path.suffix == ".html"
    found = map(unescape, _HTML_LINK.findall(text)) if html else _MARKDOWN_LINK.findall(_MARKDOWN_CODE.sub("", text))
    anchors = set(_HTML_ANCHOR.findall(text)) if html else set()
    for link in dict.fromkeys(found):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        if not parts.path:
            if html and parts.fragment and unquote(parts.fragment) not in anchors:
                yield f"links to #{parts.fragment}, which it does not have"
            continue
        target = (path.parent / unquote(parts.path)).resolve()
        if not target.exists():
            yield f"links to {parts.path}, which is not there"
        elif not target.is_relative_to(run_path):
            yield f"links to {parts.path}, which is outside of the run"

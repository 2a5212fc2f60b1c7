# SPDX-License-Identifier: Apache-2.0
"""Render a run: one self-contained HTML page, Markdown, a progress tracker, JUnit XML, a baseline for later runs.

All of it from ``results.json``, ``run.json``, ``evidence/`` and the sample files that the evidence names, alone.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jinja2

from ..verdict.baseline import baseline_of
from ..verdict.catalogue import STEPS
from ..verdict.gate import Verdict
from .files import ReportError, write_all
from .overview import overview
from .sections import SECTIONS
from .source import RecordedRun, read_run
from .tracker import tracker

REPORT = "report"
PAGES = {"report.md": "report.md.j2", "index.html": "index.html.j2", "PROGRESS.md": "PROGRESS.md.j2"}


def render(run_dir: Path, templates: Path) -> list[Path]:
    """Write ``report/`` of the run at ``run_dir`` from the templates in ``templates``; returns the files written.

    Everything is rendered before anything is written. Raises RunError when there is no run, EvidenceError when it is
    incomplete or mixed with another, ReportError when it cannot be rendered or written.
    """
    run = read_run(run_dir)
    try:
        files = _files(run, templates)
    except (OSError, ValueError, KeyError, TypeError, jinja2.TemplateError) as error:
        raise ReportError(
            f"cannot render run {run.run_id}",
            expected=f"evidence below {run.path} of the shape that this release writes, and templates in {templates}",
            seen=f"{type(error).__name__}: {error}",
            action="render it with the release that recorded it; nothing was written",
        ) from error
    return write_all(run.path / REPORT, files)


def _files(run: RecordedRun, templates: Path) -> dict[str, str]:
    sections: dict[str, list[tuple[str, object]]] = {}
    for section in SECTIONS:
        facts = section.facts(run)
        if facts:
            sections.setdefault(section.step, []).append((section.name, facts))
    seen = overview(run)
    by_name = {name: facts for of_step in sections.values() for name, facts in of_step}
    context = {
        **by_name,
        "results": run.results,
        "run": run.facts,
        "overview": seen,
        "sections": sections,
        "tracker": tracker(run, seen, by_name),
    }
    made = environment(templates)
    files = {page: made.get_template(template).render(context) for page, template in PAGES.items()}
    files["junit.xml"] = ET.tostring(junit_tree(dict(run.results)), encoding="unicode")
    files["baseline.json"] = json.dumps(baseline_of(run.run_id, run.evidence)) + "\n"
    return files


def junit_tree(results: dict[str, Any]) -> ET.Element:
    """The gates as JUnit test cases: FAIL is a failure, INCONCLUSIVE and a blocking NOT_RUN are errors, the rest of
    the unmeasured is skipped.

    Nothing that was not measured can show up green.
    """
    root = ET.Element("testsuites", name=f"k2.hardening {results['run_id']}")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for step in dict.fromkeys(gate["step"] for gate in results["gates"]):
        name = f"{step} {STEPS.get(step, '')}".strip()
        suite = ET.SubElement(root, "testsuite", name=name, timestamp=results["started"])
        counts = dict.fromkeys(totals, 0)
        for gate in (gate for gate in results["gates"] if gate["step"] == step):
            case = ET.SubElement(suite, "testcase", classname=f"k2.{step}", name=gate["id"])
            counts["tests"] += 1
            outcome = _junit_outcome(gate)
            if outcome is not None:
                element, column = outcome
                counts[column] += 1
                # XML has no place for control characters, escaped or not.
                told = "".join(letter if letter.isprintable() else " " for letter in gate["reason"])
                child = ET.SubElement(case, element, message=told)
                if element != "skipped":
                    child.set("type", gate["verdict"])
        for column, count in counts.items():
            suite.set(column, str(count))
            totals[column] += count
    for column, count in totals.items():
        root.set(column, str(count))
    return root


def _junit_outcome(gate: dict[str, Any]) -> tuple[str, str] | None:
    verdict = Verdict(gate["verdict"])
    if verdict is Verdict.PASS:
        return None
    if verdict is Verdict.FAIL:
        return "failure", "failures"
    if verdict is Verdict.INCONCLUSIVE or (verdict is Verdict.NOT_RUN and gate["blocking"]):
        return "error", "errors"
    return "skipped", "skipped"


def environment(templates: Path) -> jinja2.Environment:
    """Templates with the filters that pages use; names of HTML pages end in ``.html.j2`` and are escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["number"] = number
    made.filters["cell"] = _markdown_cell
    made.filters["mib"] = lambda value: "-" if value is None else f"{value / 2**20:,.0f}"
    made.filters["duration"] = duration
    made.filters["span"] = span
    made.filters["rounded"] = lambda value: "-" if value is None else f"{round(value):,}"
    return made


def number(value: float | None) -> str:
    """A measurement for people: at least four significant digits where it has them, ``-`` for none."""
    if value is None:
        return "-"
    if isinstance(value, int) or float(value).is_integer() or abs(value) >= 1000:
        return f"{round(value):,}"
    return f"{value:.4g}"


def span(bounds: tuple[float, float] | None) -> str:
    """An interval that contains the truth, ``-`` for none."""
    return "-" if bounds is None else f"{number(bounds[0])} .. {number(bounds[1])}"


def duration(seconds: float | None) -> str:
    """Seconds as ``1 d 02:03:04`` or ``02:03:04``."""
    if seconds is None:
        return "-"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hour:02d}:{minute:02d}:{second:02d}"


def _markdown_cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")

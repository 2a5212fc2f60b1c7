# SPDX-License-Identifier: Apache-2.0
"""Render a run: Markdown, one self-contained HTML page, JUnit XML and a baseline for later runs.

All of it from ``results.json``, ``run.json``, ``evidence/`` and the sample files that the evidence names, alone.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from ..core.errors import K2Error
from ..verdict.baseline import baseline_of
from ..verdict.catalogue import STEPS
from ..verdict.gate import Verdict
from ..verdict.rundir import EVIDENCE, RUN, RunDir
from .alerts import alert_section
from .dashboards import dashboard_rows
from .failure import failure_section
from .latency import latency_sections

REPORT = "report"
PAGES = {"report.md": "report.md.j2", "index.html": "index.html.j2"}


class ReportError(K2Error):
    """A run cannot be rendered."""


@dataclass(frozen=True)
class Step:
    """A step and its gates, as plain data from ``results.json``."""

    id: str
    title: str
    gates: tuple[dict[str, Any], ...]


def render(run_dir: Path, templates: Path) -> list[Path]:
    """Write ``report/`` of the run at ``run_dir`` from the templates in ``templates``; returns the files written.

    Raises RunError when there is no run, ReportError when its evidence or the templates cannot be read.
    """
    run = RunDir.open(run_dir)
    results = run.results()
    try:
        facts = json.loads((run.path / RUN).read_text(encoding="utf-8"))
        evidence = {
            gate["id"]: json.loads((run.path / EVIDENCE / f"{gate['id']}.json").read_text(encoding="utf-8"))
            for gate in results["gates"]
            if gate["evidence"]
        }
        context = {
            "results": results,
            "run": facts,
            "evidence": evidence,
            "steps": _steps(results),
            "counts": _counts(results),
            "latency": latency_sections(results["gates"], evidence),
            "failures": failure_section(results["gates"], evidence, run.path),
            "alerts": alert_section(results["gates"], evidence),
            "dashboards": dashboard_rows(results["gates"], evidence),
        }
        out = run.path / REPORT
        out.mkdir(exist_ok=True)
        written = []
        for page, template in PAGES.items():
            (out / page).write_text(_environment(templates).get_template(template).render(context), encoding="utf-8")
            written.append(out / page)
    except (OSError, ValueError, jinja2.TemplateError) as error:
        raise ReportError(
            f"cannot render run {run.run_id}",
            expected=f"readable evidence below {run.path} and templates in {templates}",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    baseline = out / "baseline.json"
    baseline.write_text(json.dumps(baseline_of(run.run_id, evidence)) + "\n", encoding="utf-8")
    junit = out / "junit.xml"
    ET.ElementTree(junit_tree(results)).write(junit, encoding="utf-8", xml_declaration=True)
    return [*written, junit, baseline]


def junit_tree(results: dict[str, Any]) -> ET.Element:
    """The gates as JUnit test cases: FAIL is a failure, INCONCLUSIVE and a blocking NOT_RUN are errors, the rest of
    the unmeasured is skipped.

    Nothing that was not measured can show up green.
    """
    root = ET.Element("testsuites", name=f"k2.hardening {results['run_id']}")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for step in _steps(results):
        suite = ET.SubElement(root, "testsuite", name=f"{step.id} {step.title}", timestamp=results["started"])
        counts = dict.fromkeys(totals, 0)
        for gate in step.gates:
            case = ET.SubElement(suite, "testcase", classname=f"k2.{step.id}", name=gate["id"])
            counts["tests"] += 1
            outcome = _junit_outcome(gate)
            if outcome is not None:
                element, column = outcome
                counts[column] += 1
                child = ET.SubElement(case, element, message=gate["reason"])
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


def _steps(results: dict[str, Any]) -> tuple[Step, ...]:
    return tuple(
        Step(step, title, tuple(gate for gate in results["gates"] if gate["step"] == step))
        for step, title in STEPS.items()
    )


def _counts(results: dict[str, Any]) -> dict[str, int]:
    return {str(verdict): sum(gate["verdict"] == verdict for gate in results["gates"]) for verdict in Verdict}


def _environment(templates: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    environment.filters["cell"] = _markdown_cell
    environment.filters["mib"] = lambda value: "-" if value is None else f"{value / 2**20:,.0f}"
    environment.filters["duration"] = duration
    environment.filters["span"] = span
    environment.filters["rounded"] = lambda value: "-" if value is None else f"{round(value):,}"
    return environment


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

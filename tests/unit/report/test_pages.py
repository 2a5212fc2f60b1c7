# SPDX-License-Identifier: Apache-2.0
"""Pages in a browser: from disk alone, without a complaint, at every width, for readers of all kinds.

Skipped where no Chromium is on PATH; `make setup-dev` installs one on Debian, as root.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browser import Page, find_chromium, with_page
from recorded_runs import small_run

from ansible_collections.k2.hardening.plugins.module_utils.report.compare import compare_runs, render_comparison
from ansible_collections.k2.hardening.plugins.module_utils.report.render import render
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale, Verdict, decide
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir, RunState

from .test_compare import LOSS, P99, SENT, of, p99, unasked

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "report" / "templates"
WIDTHS = (360, 768, 1280)
pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on PATH to read pages with: apt install chromium"
)

# Text whose contrast with what is behind it is less than WCAG 2 asks of normal text (4.5). SVG has marks drawn behind.
LOW_CONTRAST = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const c = parse(getComputedStyle(one).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *:not(svg *)")) {
    if (![...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(one.outerHTML.slice(0, 120));
  }
  return found;
})()"""
# Tables and charts too wide for the page have a bar of their own, which the keyboard must reach.
UNREACHABLE = """[...document.querySelectorAll(".scroll, figure")]
  .filter((one) => one.scrollWidth > one.clientWidth)
  .filter((one) => one.tabIndex < 0 || !(one.getAttribute("aria-label") || one.querySelector("figcaption")))
  .map((one) => one.outerHTML.slice(0, 120))"""
STRUCTURE = """(() => {
  const many = (selector) => document.querySelectorAll(selector).length;
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]));
  return {
    lang: document.documentElement.lang, title: document.title,
    h1: many("h1"), main: many("main"), header: many("header"),
    jumps: levels.filter((level, at) => at && level > levels[at - 1] + 1).length,
    nameless: [...document.querySelectorAll("svg")].filter((one) => !one.getAttribute("aria-label")).length,
    scripts: many("script"), ids: [...document.querySelectorAll("[id]")].map((one) => one.id),
    dead: [...document.querySelectorAll('a[href^="#"]')]
      .filter((a) => !document.getElementById(a.getAttribute("href").slice(1))).length,
  };
})()"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run with every verdict, and with text and names that are longer than a phone is wide."""
    root = tmp_path_factory.mktemp("runs")
    long = "a_service_with_a_name_that_is_much_longer_than_any_screen_of_a_phone_is_wide_and_has_no_blank"
    run = small_run(
        root,
        of(SENT, Verdict.NOT_RUN),
        p99(100, 110),
        of(LOSS, Verdict.FAIL, 3),
        decide(type(P99)(f"S3.{long}.recovery", f"Recovery of {long}", P99.op, 30, "s"), Scale.LAB, 12, 1, ""),
        ended=False,
    )
    run.end(RunState.ERROR, f"<b>{long}</b>")
    render(run.path, TEMPLATES)
    return run


@pytest.fixture(scope="module")
def seen(run: RunDir, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser makes of the report and of a comparison, at every width and in both colour schemes."""
    folder = tmp_path_factory.mktemp("browser")
    earlier = small_run(folder / "runs", unasked(), of(LOSS, Verdict.PASS, 0))
    compared = render_comparison(compare_runs(earlier.path, run.path), TEMPLATES)[0]
    pages = {"report": run.path / "report" / "index.html", "comparison": compared}

    async def look(page: Page) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, path in pages.items():
            for width in WIDTHS:
                await page.open(path.as_uri(), width)
                found[name, width] = await page.evaluate("document.documentElement.scrollWidth")
                found[name, "unreachable", width] = await page.evaluate(UNREACHABLE)
            for dark in (False, True):
                await page.open(path.as_uri(), 1280, dark=dark)
                found[name, "contrast", dark] = await page.evaluate(LOW_CONTRAST)
            found[name, "structure"] = await page.evaluate(STRUCTURE)
            found[name, "text"] = await page.evaluate("document.body.innerText")
            found[name, "print"] = await page.pdf()
        found["complaints"] = page.complaints
        return found

    return with_page(folder, look)


@pytest.fixture(params=["report", "comparison"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_is_asked_for_and_nothing_complained_of(seen: dict[str, Any]) -> None:
    assert seen["complaints"] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_its_screen(seen: dict[str, Any], name: str, width: int) -> None:
    assert seen[name, width] == width
    assert seen[name, "unreachable", width] == []


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read(seen: dict[str, Any], name: str, dark: bool) -> None:
    assert seen[name, "contrast", dark] == []


def test_landmarks_headings_and_names_for_those_who_listen(seen: dict[str, Any], name: str) -> None:
    structure = seen[name, "structure"]
    assert (structure["lang"], structure["h1"], structure["main"], structure["header"]) == ("en", 1, 1, 1)
    assert structure["title"]
    assert (structure["jumps"], structure["nameless"], structure["scripts"], structure["dead"]) == (0, 0, 0, 0)
    assert len(structure["ids"]) == len(set(structure["ids"]))


def test_the_report_says_what_the_run_found(seen: dict[str, Any], run: RunDir) -> None:
    text = seen["report", "text"]
    for part in (
        "FAIL",
        "M1: Performance validated",
        "M2: Resilience validated",
        run.run_id,
        "What was not run",
        "S3.x.loss",
    ):
        assert part in text
    # What a platform says is text, never markup.
    assert "<b>a_service" in text
    assert "S3.x.loss" in seen["comparison", "text"]


def test_it_prints_on_pages(seen: dict[str, Any], name: str) -> None:
    document = seen[name, "print"]
    assert document.startswith(b"%PDF-")
    assert re.search(rb"/Type\s*/Page\b", document)

# SPDX-License-Identifier: Apache-2.0
"""A runbook read back from its Markdown: the commands that people copy from it, and what it says of each.

What is tested is the page itself. So this reads what is shown: fenced blocks of ``bash`` below the headings, each
with the expectations that follow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...core.errors import K2Error
from .expectation import Expectation, Kind

PREPARE, DIAGNOSIS, RESOLUTION = "Before you start", "Diagnosis", "Resolution"
SECTIONS = ("Symptoms", DIAGNOSIS, RESOLUTION, "Prevention", "Related monitoring")
_FENCE = "```"


class RunbookError(K2Error):
    """The page is no runbook that anybody could follow."""


@dataclass(frozen=True)
class Step:
    """A command and what is said of it."""

    title: str
    command: str
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Page:
    """A runbook. ``prepare`` is what a shell is told once, before any other command."""

    title: str
    prepare: str
    diagnosis: tuple[Step, ...]
    resolution: tuple[Step, ...]

    @property
    def symptoms(self) -> tuple[Step, ...]:
        """The steps of the diagnosis that show the failure."""
        return tuple(step for step in self.diagnosis if any(e.kind is Kind.SYMPTOM for e in step.expectations))


@dataclass
class _Section:
    commands: list[tuple[str, str, list[Expectation]]] = field(default_factory=list)


def read_page(text: str) -> Page:
    """Read a page.

    :raises RunbookError: it lacks a section, a command has nothing said of it, or something cannot be checked.
    """
    title, sections = "", {name: _Section() for name in (PREPARE, *SECTIONS)}
    seen: set[str] = set()
    section, heading = "", ""
    try:
        for kind, content in _parts(text):
            if kind == "#":
                title = title or content
            elif kind == "##":
                section, heading = content, content
                seen.add(content)
            elif kind == "###":
                heading = content
            elif kind == _FENCE and section in sections:
                sections[section].commands.append((heading, content, []))
            elif section in (DIAGNOSIS, RESOLUTION):
                expected = Expectation.read(content)
                if expected is not None and sections[section].commands:
                    sections[section].commands[-1][2].append(expected)
    except ValueError as error:
        raise _wrong(title, "expectations as docs/runbooks.md describes them", str(error)) from error
    lacking = [name for name in SECTIONS if name not in seen]
    if lacking:
        raise _wrong(title, "the sections " + ", ".join(SECTIONS), "without " + ", ".join(lacking))
    page = Page(
        title,
        "\n".join(command for _, command, _ in sections[PREPARE].commands),
        _steps(title, sections[DIAGNOSIS], (Kind.SYMPTOM, Kind.EXPECTED)),
        _steps(title, sections[RESOLUTION], (Kind.DONE, Kind.EXPECTED)),
    )
    if not page.symptoms:
        raise _wrong(title, "a command under Diagnosis with a Symptom", "none")
    if not any(e.kind is Kind.DONE for step in page.resolution for e in step.expectations):
        raise _wrong(title, "a command under Resolution with a Done", "none")
    return page


def _steps(title: str, section: _Section, kinds: tuple[Kind, ...]) -> tuple[Step, ...]:
    steps = []
    for heading, command, expectations in section.commands:
        if not expectations:
            raise _wrong(title, "each command to be followed by what it should show", f"nothing after {command!r}")
        strange = [each.line for each in expectations if each.kind not in kinds]
        if strange:
            raise _wrong(title, "one of " + ", ".join(kind.value for kind in kinds), strange[0])
        steps.append(Step(heading, command, tuple(expectations)))
    return tuple(steps)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Headings, blocks of bash, and every other line; comments within blocks are no headings."""
    block: list[str] = []
    fence = language = ""
    for line in text.splitlines():
        bare = line.strip()
        if fence:
            if bare == fence:
                if language == "bash":
                    yield _FENCE, "\n".join(block)
                fence, block = "", []
            else:
                block.append(line)
        elif bare.startswith(_FENCE):
            fence = bare[: len(bare) - len(bare.lstrip("`"))]
            language = bare.lstrip("`").strip()
        elif bare.startswith("#") and bare.lstrip("#").startswith(" "):
            marks = bare[: len(bare) - len(bare.lstrip("#"))]
            yield marks, bare.lstrip("#").strip()
        else:
            yield "", bare
    if fence:
        raise ValueError("a block that never ends")


def _wrong(title: str, expected: str, seen: str) -> RunbookError:
    return RunbookError(f"{title or 'the page'} cannot be followed", expected=expected, seen=seen)

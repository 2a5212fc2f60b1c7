# SPDX-License-Identifier: Apache-2.0
"""Sentences for people, put together from what was found."""

from __future__ import annotations

from collections.abc import Iterable


def grouped(reasons: Iterable[tuple[str, str]]) -> str:
    """``subject: reason`` for each; subjects that share a reason are named together, so that one cause reads as one.

    An empty subject is left out.
    """
    subjects: dict[str, list[str]] = {}
    for subject, reason in reasons:
        subjects.setdefault(reason, []).append(subject)
    return "; ".join(_said(", ".join(filter(None, names)), reason) for reason, names in subjects.items())


def _said(subjects: str, reason: str) -> str:
    return f"{subjects}: {reason}" if subjects else reason

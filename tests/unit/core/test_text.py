# SPDX-License-Identifier: Apache-2.0
"""One cause reads as one."""

from __future__ import annotations

from ansible_collections.k2.hardening.plugins.module_utils.core.text import grouped


def test_subjects_that_share_a_reason_are_named_together_in_the_order_they_came() -> None:
    assert grouped([("b", "down"), ("a", "late"), ("c", "down")]) == "b, c: down; a: late"


def test_a_reason_may_be_about_nobody() -> None:
    assert grouped([("", "no record"), ("a", "no record"), ("", "no tier")]) == "a: no record; no tier"


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert grouped([]) == ""

# SPDX-License-Identifier: Apache-2.0
"""A runbook is what its page shows: commands, and sentences that can be checked; anything less is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.expectation import (
    Answer,
    Condition,
    Expectation,
    Kind,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.page import RunbookError, read_page

GOOD = """
# it_is_down

## Before you start

```bash
export HERE=1
```

## Symptoms

```console
$ not a command of the page
```

## Diagnosis

### 1. See whether it runs

```bash
# a comment is no heading
status it
```

- **Symptom:** the output lacks `RUNNING`. Words for people.

### 2. Read its log

```bash
log it
```

- **Expected:** the command succeeds.

## Resolution

### 1. Start it

```bash
start it
```

- **Expected:** the command succeeds.
- **Done:** within 30 s the output contains `started` or `already`.

## Prevention

## Related monitoring
"""
WORDS = st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="`"), min_size=1, max_size=12)


def test_a_page_is_read_as_it_is_shown() -> None:
    page = read_page(GOOD)
    assert (page.title, page.prepare) == ("it_is_down", "export HERE=1")
    assert [step.title for step in page.diagnosis] == ["1. See whether it runs", "2. Read its log"]
    assert page.diagnosis[0].command == "# a comment is no heading\nstatus it"
    assert page.diagnosis[0].expectations == (Expectation(Kind.SYMPTOM, Condition.LACKS, ("RUNNING",)),)
    assert page.resolution[0].expectations[1] == Expectation(Kind.DONE, Condition.CONTAINS, ("started", "already"), 30)
    assert page.symptoms == page.diagnosis[:1]


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("## Prevention\n", "", "without Prevention"),
        ("- **Expected:** the command succeeds.\n\n## Resolution", "\n## Resolution", "nothing after 'log it'"),
        ("the output lacks `RUNNING`", "it looks bad", "nobody can check this"),
        ("- **Symptom:** the output lacks", "- **Expected:** the output lacks", "none"),
        ("- **Done:** within 30 s the output contains `started` or `already`.\n", "", "none"),
        ("- **Symptom:**", "- **Done:**", "- **Done:**"),
        ("- **Symptom:**", "- **Sypmtom:**", "nobody can check this"),
        ("log it\n```", "log it", "never ends"),
    ],
)
def test_what_nobody_could_follow_is_refused(old: str, new: str, seen: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if seen == "never ends":
        text = GOOD[: GOOD.index("log it")] + "log it\n"
    with pytest.raises(RunbookError) as refused:
        read_page(text)
    assert seen in refused.value.seen


@given(
    st.builds(
        Expectation,
        st.sampled_from(Kind),
        st.sampled_from([Condition.CONTAINS, Condition.LACKS]),
        st.lists(WORDS, min_size=1, max_size=3).map(tuple),
        st.integers(0, 600),
    )
)
def test_what_is_written_is_what_is_read(expected: Expectation) -> None:
    assert Expectation.read(expected.line) == expected


@pytest.mark.parametrize(
    ("sentence", "code", "output", "holds"),
    [
        ("the command succeeds", 0, "", True),
        ("the command succeeds", 1, "", False),
        ("the command succeeds", None, "", False),
        ("the command fails", 7, "", True),
        ("the command fails", 0, "", False),
        ("the command fails", None, "", True),
        # There is no such command: that is no sign of anything.
        ("the command fails", 127, "not found", False),
        ("the command fails", 126, "", False),
        ("the output lacks `UP`", 127, "not found", False),
        ("the output lacks `UP`", None, "", False),
        ("the output lacks `UP`", 3, "DOWN", True),
        ("the output lacks `UP` or `OK`", 0, "it is OK", False),
        ("the output contains `UP` or `OK`", 0, "it is OK", True),
        ("the output contains `UP`", 0, "", False),
    ],
)
def test_an_answer_is_as_expected_or_not(sentence: str, code: int | None, output: str, holds: bool) -> None:
    expected = Expectation.read(f"- **Symptom:** {sentence}.")
    assert expected is not None
    assert expected.holds(Answer(code, output, 1.0)) is holds

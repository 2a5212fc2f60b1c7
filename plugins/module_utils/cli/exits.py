# SPDX-License-Identifier: Apache-2.0
"""Exit codes that scripts may rely on."""

from __future__ import annotations

from ..verdict.gate import Verdict
from ..verdict.rundir import RunDir, RunState

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3}


def exit_code(recorded: RunDir) -> int:
    """The exit code of a run: that of its verdict, or 2 when it did not finish."""
    results = recorded.results()
    return EXIT_CODES[Verdict(results["verdict"])] if results["state"] == RunState.FINISHED else EXIT_ERROR

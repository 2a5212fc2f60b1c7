# SPDX-License-Identifier: Apache-2.0
"""What the report shows of step S3: a row per failure mode and a timeline per service that a fault hit.

From the evidence of its gates and the sample files they name, alone. What was not measured is told as such: a mode
without evidence has a row with its reason, an outage that was not seen to end is "more than", and one without a failed
sample "shorter than".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..verdict.gate import GateResult, Verdict, run_verdict
from .failure_chart import draw

STEP = "S3"
Gate = Mapping[str, Any]
Span = tuple[float, float]
_POINTS = {
    "served": "served again (T2)",
    "drained": "backlog drained (T3)",
    "next_run": "cold tier caught up by the next run (T4)",
}


@dataclass(frozen=True)
class ServiceRow:
    """One fault on one service. Times in seconds from time zero, as (at least, at most)."""

    service: str
    point: str
    recovery: str
    times: tuple[Optional[Span], ...]
    mechanism: str
    noticed: str
    proof: str
    plan: str
    problems: tuple[str, ...]
    disturbed: tuple[str, ...]
    chart: str
    note: str


@dataclass(frozen=True)
class ModeRow:
    """One failure mode: its gates by their last word, what they amount to, and its services."""

    mode: str
    verdict: str
    gates: Mapping[str, Gate]
    expected: str
    points: tuple[str, ...]
    recovery: str
    loss: str
    mechanism: str
    noticed: str
    n: Optional[int]
    reasons: tuple[tuple[str, str, str], ...]
    services: tuple[ServiceRow, ...]


@dataclass(frozen=True)
class FailureSection:
    """Step S3: its modes in the order of the catalogue, and the gates over the whole step."""

    modes: tuple[ModeRow, ...]
    whole: tuple[Gate, ...]


def failure_section(
    gates: Sequence[Gate], evidence: Mapping[str, Mapping[str, Any]], run_path: Path
) -> Optional[FailureSection]:
    """The section on step S3; None where the run recorded nothing of it.

    ``run_path`` is where the sample files lie. Raises ValueError for evidence or samples of another shape, OSError for
    sample files that cannot be read; one that is not there any more only costs its chart.
    """
    own = [gate for gate in gates if gate["step"] == STEP]
    if not any(gate["id"] in evidence for gate in own):
        return None
    modes: dict[str, dict[str, Gate]] = {}
    for gate in own:
        # A service's name, and so that of its crash mode, may hold dots.
        mode, dot, word = gate["id"].removeprefix(f"{STEP}.").rpartition(".")
        if dot:
            modes.setdefault(mode, {})[word] = gate
    try:
        return FailureSection(
            tuple(_mode(mode, words, evidence, run_path) for mode, words in modes.items()),
            tuple(gate for gate in own if gate["id"].count(".") == 1),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"evidence of step {STEP} of another shape: {type(error).__name__}: {error}") from error


def _mode(mode: str, gates: Mapping[str, Gate], evidence: Mapping[str, Mapping[str, Any]], run_path: Path) -> ModeRow:
    recovery = gates.get("recovery")
    detail = evidence[recovery["id"]]["detail"] if recovery and recovery["id"] in evidence else {}
    results = detail.get("results") or []
    services = tuple(_service(result, recovery, run_path) for result in results)
    return ModeRow(
        mode,
        str(_verdict(tuple(gates.values()))),
        gates,
        _expected(recovery),
        tuple(dict.fromkeys(row.point for row in services if row.point)),
        _recovery_of_mode(recovery, results),
        _measured(gates.get("loss")),
        ", ".join(dict.fromkeys(row.mechanism for row in services)) or "-",
        _noticed_by_all(results),
        recovery["n"] if recovery else None,
        _reasons(gates),
        services,
    )


def _verdict(gates: Sequence[Gate]) -> Verdict:
    """What the gates of a mode amount to, by the rule of the run; where nothing of it was looked at, just that."""
    blocking = [gate for gate in gates if gate["blocking"]] or gates
    verdicts = {Verdict(gate["verdict"]) for gate in blocking}
    if len(verdicts) == 1:
        return verdicts.pop()
    return run_verdict(GateResult.from_json({**gate, "blocking": True}) for gate in blocking)


def _reasons(gates: Mapping[str, Gate]) -> tuple[tuple[str, str, str], ...]:
    """Why a mode did not pass: the gates with the same verdict and reason together, those that do not block left out
    (the table of the gates has them).
    """
    blocking = any(gate["blocking"] for gate in gates.values())
    found: dict[tuple[str, str], list[str]] = {}
    for word, gate in gates.items():
        if gate["verdict"] != Verdict.PASS and gate["blocking"] == blocking:
            found.setdefault((gate["verdict"], gate["reason"]), []).append(word)
    return tuple((", ".join(words), verdict, reason) for (verdict, reason), words in found.items())


def _expected(recovery: Optional[Gate]) -> str:
    if recovery is None or recovery["target"] is None:
        return "-"
    return f"{recovery['op']} {_text(recovery['target'])} {recovery['unit']}"


def _recovery_of_mode(gate: Optional[Gate], results: Sequence[Mapping[str, Any]]) -> str:
    """The worst over the services, as its gate has it."""
    if gate is None:
        return "-"
    bounds = [bound for result in results if (bound := _too_short(result)) is not None]
    if bounds and len(bounds) == len(results):
        return f"shorter than {_text(max(bounds))}"
    if gate["low"] is None and gate["high"] is None:
        return "-" if gate["measured"] is None else _text(gate["measured"])
    return _interval(gate["low"], gate["high"])


def _too_short(result: Mapping[str, Any]) -> Optional[float]:
    """What the outage was shorter than, where that is the recovery: the backlog and the next run are awaited whether or
    not a look at the service failed.
    """
    recovery = result["recovery"]
    short: Optional[float] = result["shorter_than_s"]
    return short if recovery is None or recovery["point"] == "served" else None


def _measured(gate: Optional[Gate]) -> str:
    if gate is None or gate["measured"] is None:
        return "-"
    return f"{_text(gate['measured'])} {gate['unit']}"


def _noticed_by_all(results: Sequence[Mapping[str, Any]]) -> str:
    """When the slowest health check noticed; one that did not notice is not hidden by those that did."""
    spans = [(result["detection"] or {}).get("health") for result in results]
    noticed = [span for span in spans if span is not None]
    missed = len(spans) - len(noticed)
    if missed:
        return "not noticed" if len(spans) == 1 else f"not noticed in {missed} of {len(spans)}"
    if not noticed:
        return "-"
    low, high = max(noticed, key=lambda span: float(span[1]))
    return _interval(low, high)


def _service(result: Mapping[str, Any], gate: Optional[Gate], run_path: Path) -> ServiceRow:
    recovery, shorter = result["recovery"], _too_short(result)
    if shorter is not None:
        told = f"shorter than {_text(shorter)}"
    elif recovery is not None:
        told = _interval(recovery["low_s"], recovery["high_s"])
    else:
        told = "not seen"
    proof = result["proof"]
    limit = gate["target"] if gate and gate["unit"] == "s" and gate["target"] is not None else None
    chart = note = ""
    disturbed: tuple[str, ...] = ()
    if not result["samples_file"]:
        note = "No samples were recorded."
    else:
        plain = _samples(run_path, result["samples_file"])
        if plain is None:
            note = f"No timeline: {result['samples_file']} is not there any more."
        else:
            chart, note = draw(plain, limit)
            disturbed = _disturbed(plain)
            if recovery is None and shorter is None:
                told = _not_seen(plain)
    return ServiceRow(
        result["service"],
        _POINTS.get(recovery["point"], recovery["point"]) if recovery else "",
        told,
        tuple(tuple(result[key]) if result[key] else None for key in ("t1_s", "t2_s", "t3_s", "t4_s")),
        result["mechanism"] or "unknown",
        _noticed_by_all([result]),
        f"{'proven' if proof['proven'] else 'NOT PROVEN'}: {proof['what']}" if proof else "NOT PROVEN",
        result["plan"]["action"] if result["plan"] else "",
        tuple(result["problems"]),
        disturbed,
        chart,
        note,
    )


def _not_seen(plain: Mapping[str, Any]) -> str:
    """No recovery: the outage lasted at least as long as the worst lane that had to fail and failed is known to."""
    bounds = [lane["outage"]["lower_s"] for lane in plain["lanes"] if lane["expected"] == "fails"]
    least = max((bound for bound in bounds if bound), default=None)
    return "not seen" if least is None else f"not seen, out for more than {_text(least)}"


def _disturbed(plain: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"{lane['name']} ({lane['outage']['fails']} of {lane['outage']['n']} samples failed)"
        for lane in plain["lanes"]
        if lane["expected"] == "unaffected" and lane["outage"]["fails"]
    )


def _samples(run_path: Path, name: str) -> Optional[Mapping[str, Any]]:
    path = (run_path / name).resolve()
    if not path.is_relative_to(run_path.resolve()):
        raise ValueError(f"samples outside of the run: {name}")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not isinstance(plain, dict):
        raise TypeError(f"{name} holds no result")
    return plain


def _interval(low: Optional[float], high: Optional[float]) -> str:
    if low is None:
        return "-" if high is None else f"at most {_text(high)}"
    return f"more than {_text(low)}" if high is None else f"{_text(low)} .. {_text(high)}"


def _text(value: float) -> str:
    """Milliseconds are what the samplers can tell."""
    return f"{value:.3f}".rstrip("0").rstrip(".")

# SPDX-License-Identifier: Apache-2.0
"""What the report shows of alerts: a row for each with its times, the dead man's switch, and what covers what.

From evidence alone. Times are seconds from the moment at which the cause was there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

_PREFIX = "S4.alert."
_COVERAGE = "S4.coverage"
_KINDS = {"live": "live fault", "synthetic": "synthetic series", "always": "fires always", "": "not drilled"}


@dataclass(frozen=True)
class AlertRow:
    """One alert; a time that was not seen is ``-``."""

    name: str
    verdict: str
    kind: str
    cause: str
    waits: str
    pending: str
    firing: str
    delivered: str
    resolved: str
    resolved_delivered: str
    reason: str


@dataclass(frozen=True)
class AlertSection:
    """Alerts in the order of the catalogue, the switch in words, and the rows of the coverage matrix."""

    rows: tuple[AlertRow, ...]
    live: int
    synthetic: int
    switch: str
    coverage: tuple[Mapping[str, Any], ...]
    alerts_without: tuple[str, ...]


def alert_section(
    gates: Sequence[Mapping[str, Any]], evidence: Mapping[str, Mapping[str, Any]]
) -> Optional[AlertSection]:
    """The section; None where the run recorded nothing of alerts.

    Raises ValueError for evidence of another shape.
    """
    own = [gate for gate in gates if gate["id"].startswith(_PREFIX) and gate["id"] in evidence]
    if not own and _COVERAGE not in evidence:
        return None
    try:
        details = {gate["id"]: evidence[gate["id"]]["detail"] for gate in own}
        rows = tuple(_row(gate, details[gate["id"]]) for gate in own)
        kinds = [(detail.get("drilled") or {}).get("kind") for detail in details.values()]
        matrix = evidence[_COVERAGE]["detail"] if _COVERAGE in evidence else {}
        return AlertSection(
            rows,
            kinds.count("live"),
            kinds.count("synthetic"),
            next((_switch(detail["dead_man"]) for detail in details.values() if detail.get("dead_man")), ""),
            tuple(matrix.get("rows", ())),
            tuple(matrix.get("alerts_without", ())),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"evidence of alerts of another shape: {type(error).__name__}: {error}") from error


def _row(gate: Mapping[str, Any], detail: Mapping[str, Any]) -> AlertRow:
    drilled = detail.get("drilled") or {}
    seen = drilled.get("seen") or {}
    caused = drilled.get("caused_us")
    over = seen.get("over_us")
    zero = caused[1] if caused else None
    waits = ""
    if drilled and drilled["for_s"] != drilled["drilled_for_s"]:
        waits = f"{drilled['for_s']:g} s, in the drill {drilled['drilled_for_s']:g} s"
    elif drilled:
        waits = f"{drilled['for_s']:g} s"
    return AlertRow(
        gate["id"].removeprefix(_PREFIX),
        gate["verdict"],
        _KINDS[drilled.get("kind", "")],
        drilled.get("fault") or drilled.get("why") or "",
        waits,
        _since(seen.get("pending_us"), zero),
        _since(seen.get("firing_us"), zero),
        _since(seen.get("delivered_us"), zero),
        _since(over[1] if over else None, zero),
        _since(seen.get("resolved_delivered_us"), zero),
        gate["reason"],
    )


def _since(moment_us: Optional[int], zero_us: Optional[int]) -> str:
    return "-" if moment_us is None or zero_us is None else f"{(moment_us - zero_us) / 1e6:.1f}"


def _switch(seen: Mapping[str, Any]) -> str:
    if seen["noticed_us"] is None or seen["cut_us"] is None:
        return f"{seen['alert']}: its absence was not noticed"
    noticed = _since(seen["noticed_us"], seen["cut_us"])
    text = f"{seen['alert']}: {seen['cut']}; its absence was noticed {noticed} s later"
    text += f" (after {seen['within_s']:g} s without it)"
    return text + (f", and it came again at {_since(seen['back_us'], seen['cut_us'])} s" if seen["back_us"] else "")

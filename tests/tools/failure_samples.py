# SPDX-License-Identifier: Apache-2.0
"""Runs of step S3 to render: samples of simulated outages, as a measurement on a target brings them back."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

# Monotonic ns of the first sample; faults begin ten seconds later.
START_NS = 5_000_000_000_000
QUIET_S = 10.0
HANDLERS = ("feed-handler-binance", "feed-handler-kraken", "feed-handler-coinbase")
EXCHANGES = ("binance", "kraken", "coinbase")


def ns(seconds: float) -> int:
    """The moment ``seconds`` after the fault began."""
    return START_NS + round((QUIET_S + seconds) * 1e9)


def lane(
    name: str,
    kind: str,
    expected: str,
    down: Sequence[tuple[float, float]] = (),
    hole: tuple[float, float] | None = None,
    until: float = 30.0,
    interval: float = 0.25,
) -> dict[str, Any]:
    """Samples of something that is down from and to these seconds after the fault, and not sampled in ``hole``."""
    samples = []
    at = -QUIET_S
    while at < until:
        if hole is None or not hole[0] <= at < hole[1]:
            fails = any(low <= at < high for low, high in down)
            start = (at + QUIET_S) * 1e3
            samples.append([start, start + 4.0, 0 if fails else 1, "connection <refused>" if fails else ""])
        at += interval
    fails = sum(not sample[2] for sample in samples)
    lasted = max((high - low for low, high in down), default=0.0)
    return {
        "name": name,
        "kind": kind,
        "service": None if kind == "flow" else name.rsplit(" ", 1)[0],
        "exchange": name.rsplit(" ", 1)[0] if kind == "flow" else None,
        "expected": expected,
        "interval_s": interval,
        "timeout_s": interval,
        "skipped": 0,
        "samples": samples,
        "outage": {
            "symptom": [down[0][0], down[0][0] + interval] if fails else None,
            "lower_s": max(0.0, min(lasted, until) - interval),
            "upper_s": lasted + interval if lasted < until else None,
            "t1": None,
            "t2": None,
            "shorter_than_s": None,
            "fails": fails,
            "n": len(samples),
        },
    }


def result(mode: str, service: str, lanes: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A plain result of one fault on one service; of a kill that is over in an instant unless told otherwise."""
    plain: dict[str, Any] = {
        "mode": mode,
        "service": service,
        "unit": service,
        "runtime": "supervisor",
        "action": "kill",
        "boot_id": "b",
        "started_us": 1_700_000_000_000_000,
        "duration_s": 0.0,
        "plan": {
            "action": f"SIGKILL to the main process of {service}",
            "target": service,
            "blast_radius": "this service",
            "undo": "none needed",
            "needs_root": False,
            "expected_mechanism": "restarted by its supervisor",
        },
        "zero": "injection",
        "baseline_start_ns": START_NS,
        "injected": [ns(0), ns(0.02)],
        "healed": None,
        "ended_ns": ns(30),
        "proof": {"proven": True, "what": "pid 41 became pid 97"},
        "mechanism": "restarted by its supervisor",
        "lanes": list(lanes),
        "t1_s": None,
        "t2_s": None,
        "t3_s": None,
        "t4_s": None,
        "recovery": None,
        "shorter_than_s": None,
        "detection": {"health": [0.1, 0.4], "alerts": None},
        "drain": None,
        "cold": None,
        "restored": {"differences": []},
        "undone_by": None,
        "steady_before": True,
        "steady_after": True,
        "n": 1,
        "problems": [],
        "error": None,
    }
    unknown = set(changes) - set(plain)
    assert not unknown, unknown
    return plain | changes


def others(until: float = 30.0) -> list[dict[str, Any]]:
    """Services that nothing happens to."""
    return [lane(f"{name} process", "process", "unaffected", until=until) for name in ("minio", "postgres", "grafana")]


def restart() -> dict[str, Any]:
    """A broker restarted in order; everything is back and drained within seconds."""
    flows = [lane(f"{name} flow", "flow", "may fail", [(0.8, 4.5)], interval=0.5) for name in EXCHANGES]
    lanes = [
        *others(),
        *flows,
        lane("kafka process", "process", "fails", [(0.0, 2.1)]),
        lane("kafka service", "service", "fails", [(0.0, 3.2)]),
    ]
    return result(
        "broker_restart",
        "kafka",
        lanes,
        action="restart",
        injected=[ns(0), ns(0.9)],
        mechanism="restarted by the tool",
        t1_s=[2.1, 3.25],
        t2_s=[2.3, 3.5],
        t3_s=[4.4, 6.0],
        recovery={"point": "drained", "low_s": 4.4, "high_s": 6.0},
    )


def crash(service: str, lasted: float) -> dict[str, Any]:
    """A feed handler that its supervisor starts again."""
    lanes = [
        lane(f"{service} process", "process", "fails", [(0.0, lasted)]),
        lane(f"{service} service", "service", "fails", [(0.0, lasted + 0.5)]),
        *(
            lane(f"{name} flow", "flow", "may fail" if service.endswith(name) else "unaffected", interval=0.5)
            for name in EXCHANGES
        ),
        *others(),
    ]
    back = [lasted + 0.25, lasted + 0.75]
    return result(
        "feed_handler_crash",
        service,
        lanes,
        t1_s=[lasted, lasted + 0.5],
        t2_s=back,
        t3_s=[lasted + 0.5, lasted + 1.5],
        recovery={"point": "drained", "low_s": lasted + 0.5, "high_s": lasted + 1.5},
    )


def partition() -> dict[str, Any]:
    """Thirty seconds cut off; time counts from the heal, and the samplers of one lane were starved for a while."""
    lanes = [
        lane("clickhouse process", "process", "may fail", until=60),
        lane("clickhouse service", "service", "fails", [(0.5, 31.5)], until=60, interval=1.0),
        lane("silver-processor service", "service", "may fail", [(5, 9), (20, 33)], hole=(12, 15), until=60),
        *(lane(f"{name} flow", "flow", "may fail", [(1, 34)], until=60, interval=0.5) for name in EXCHANGES),
        lane("grafana service", "service", "unaffected", [(11, 12)], until=60),
        *others(60),
    ]
    return result(
        "clickhouse_partition",
        "clickhouse",
        lanes,
        action="disconnect",
        duration_s=30.0,
        zero="heal",
        healed=[ns(30), ns(30.05)],
        ended_ns=ns(60),
        proof={"proven": True, "what": "a connection from a peer timed out"},
        mechanism="healed itself",
        t1_s=[0.45, 1.5],
        t2_s=[1.45, 2.5],
        t3_s=[3.5, 5.1],
        recovery={"point": "drained", "low_s": 3.5, "high_s": 5.1},
        detection={"health": None, "alerts": None},
    )


def hopeless() -> dict[str, Any]:
    """A processor that nothing starts again."""
    lanes = [
        lane("silver-processor process", "process", "fails", [(0.0, 99)], until=60),
        lane("silver-processor service", "service", "fails", [(0.0, 99)], until=60),
        *(lane(f"{name} flow", "flow", "may fail", [(1.0, 99)], until=60, interval=0.5) for name in EXCHANGES),
    ]
    return result(
        "silver_processor_crash", "silver-processor", lanes, mechanism=None, ended_ns=ns(60), steady_after=False
    )


def short() -> dict[str, Any]:
    """A service that was back before any sampler could see it gone."""
    lanes = [lane(f"alert-receiver {kind}", kind, "fails") for kind in ("process", "service")]
    return result(
        "crash_alert-receiver",
        "alert-receiver",
        lanes,
        shorter_than_s=0.254,
        recovery={"point": "served", "low_s": 0.0, "high_s": 0.254},
        detection={"health": None, "alerts": None},
    )


def unproven() -> dict[str, Any]:
    """A fault that did not take effect, as far as anyone can tell."""
    return result(
        "clickhouse_restart",
        "clickhouse",
        [lane("clickhouse service", "service", "fails", interval=1.0)],
        injected=None,
        proof={"proven": False, "what": "the pid is still 41"},
        mechanism=None,
        problems=["no proof that the fault took effect: the pid is still 41"],
        detection={"health": None, "alerts": None},
    )


@dataclass
class Mode:
    """A mode with what its gates say: word -> (verdict, measured, low, high, reason)."""

    name: str
    target: float
    results: list[dict[str, Any]]
    gates: dict[str, tuple[Verdict, float | None, float | None, float | None, str]] = field(default_factory=dict)


def calm(recovery: tuple[Any, ...]) -> dict[str, Any]:
    """Gates of a mode of which all but the recovery went well."""
    fine = (Verdict.PASS, 0, 0, 0, "")
    return {
        "recovery": recovery,
        "loss": fine,
        "isolation": fine,
        "detection": (Verdict.NOT_RUN, None, None, None, "no alerts are looked at yet"),
        "restored": fine,
    }


def modes() -> list[Mode]:
    """A clean restart, a crash of three, a partition, one that never recovers, one too short to see, one unproven, one
    that was not run.
    """
    passed, failed, unknown = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
    skipped = dict.fromkeys(
        ("recovery", "loss", "isolation", "detection", "restored"),
        (Verdict.NOT_RUN, None, None, None, "not among k2_failure_modes_run | <all>"),
    )
    hurt = calm((passed, 5.1, 3.5, 5.1, ""))
    hurt["isolation"] = (failed, 1, 1, 1, "grafana failed 4 of 280 samples")
    crashes = [crash(service, lasted) for service, lasted in zip(HANDLERS, (0.6, 1.1, 0.9), strict=True)]
    return [
        Mode("broker_restart", 10, [restart()], calm((passed, 6.0, 4.4, 6.0, ""))),
        Mode("clickhouse_restart", 15, [unproven()], calm((unknown, None, None, None, "no proof: the pid is <41>"))),
        Mode("feed_handler_crash", 5, crashes, calm((passed, 2.6, 1.6, 2.6, ""))),
        Mode("silver_processor_crash", 10, [hopeless()], calm((failed, 58.0, 58.0, None, "not back until the end"))),
        Mode("clickhouse_partition", 30, [partition()], hurt),
        Mode("offload_killed", 1800, [], skipped),
        Mode("crash_alert-receiver", 30, [short()], {"recovery": (passed, 0.254, 0.0, 0.254, "")}),
    ]


def make_run(root: Path, of: Sequence[Mode] | None = None) -> RunDir:
    """A run that recorded these modes; by default all of them."""
    chosen = modes() if of is None else of
    whole = [
        GateSpec("S3.audit", "Every record of the step is in every tier once", Op.EQ, 0, "records"),
        GateSpec("S3.mttr_30s", "Every mode recovers within 30 s", Op.LT, 30, "s"),
    ]
    decided = []
    for mode in chosen:
        for word, (verdict, measured, low, high, reason) in mode.gates.items():
            recovers = word == "recovery"
            spec = GateSpec(
                f"S3.{mode.name}.{word}",
                f"{word} of {mode.name}",
                Op.LT if recovers else Op.EQ,
                mode.target if recovers else 0,
                "s" if recovers or word == "detection" else "records" if word == "loss" else "services",
                blocking=word != "detection",
            )
            n = len(mode.results) if measured is not None else None
            decided.append((mode, GateResult(spec, verdict, reason, Scale.LAB, measured, low, high, n)))
    host = {"controller": "c", "kernel": "6", "cpus": 2, "memory_bytes": 2**30}
    info = RunInfo("k2-lab", "sha256:0", "inventory/lab", "lab", False, {}, None, host, ())
    listed = [GateResult(spec, Verdict.NOT_RUN, "not yet", Scale.LAB) for spec in whole]
    run = RunDir.create(root, info, [gate for _, gate in decided] + listed, Owner.of(os.getpid()))
    (run.path / "samples").mkdir()
    for mode, gate in decided:
        if gate.spec.id.endswith(".recovery"):
            run.record(gate, {"results": [_summary(run, plain) for plain in mode.results]}, "samplers")
        else:
            run.record(gate, {}, "samplers")
    run.record(GateResult(whole[0], Verdict.PASS, "", Scale.LAB, 0, 0, 0, 3), {}, "audit")
    run.record(GateResult(whole[1], Verdict.FAIL, "no bound", Scale.LAB, 58.0, 58.0, None, 6), {}, "worst bound")
    run.end(RunState.FINISHED)
    return run


def _summary(run: RunDir, plain: dict[str, Any]) -> dict[str, Any]:
    """A plain result as its evidence keeps it: without the samples, which lie in a file of their own."""
    name = f"samples/S3.{plain['mode']}.{plain['service']}.json"
    (run.path / name).write_text(json.dumps(plain), encoding="utf-8")
    left_out = {"lanes", "drain", "cold", "restored"}
    return {key: value for key, value in plain.items() if key not in left_out} | {"samples_file": name}

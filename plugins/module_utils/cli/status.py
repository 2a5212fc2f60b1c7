# SPDX-License-Identifier: Apache-2.0
"""`k2h status`: the state of every service, as a table or as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..platform.runtime.base import State
from ..platform.stack import ServiceInfo, StackInfo, inspect_stack
from ..profile.references import contradictions
from .inventory import load_profile
from .table import MISSING, render_table, show_bytes, show_seconds

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

_DETAIL_WIDTH = 48
EXIT_READY = 0
EXIT_NOT_READY = 1
EXIT_NOT_AVAILABLE = 3
_HEADER = ("SERVICE", "STATE", "PID", "UPTIME", "CPU", "MEMORY", "PORT", "PROBE")
_RIGHT = ("PID", "UPTIME", "CPU", "MEMORY", "PORT")


def register(commands: Subcommands) -> None:
    """Add the command to the program."""
    parser = commands.add_parser("status", help="state of every service", description=__doc__)
    parser.add_argument("-i", "--inventory", required=True, help="inventory that describes the platform")
    parser.add_argument("--host", default="localhost", help="host whose variables to use (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--sample-seconds", type=float, default=1.0, help="window of the CPU figure (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="give up after this many seconds (default: %(default)s)"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait up to this long until all services that can be had are ready",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the state; 0 when every service is ready, 1 when one is not, 3 when the rest is and some cannot be had."""
    profile = load_profile(options.inventory, options.host)
    stack = inspect_stack(
        profile, sample_s=options.sample_seconds, timeout_s=options.timeout, wait_for_ready_s=options.wait
    )
    findings = contradictions(profile)
    if options.json:
        answer = {
            "profile": profile.platform.name,
            "digest": profile.digest(),
            "findings": [dataclasses.asdict(finding) for finding in findings],
            **stack.as_dict(),
        }
        json.dump(answer, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        lines = [render(profile.platform.name, stack)]
        lines += [f"  the profile contradicts itself: {finding.path}: {finding.text}" for finding in findings]
        sys.stdout.write("\n".join(lines) + "\n")
    if stack.not_ready:
        return EXIT_NOT_READY
    return EXIT_NOT_AVAILABLE if stack.not_available else EXIT_READY


def render(platform: str, stack: StackInfo) -> str:
    """The table, then for each service that is not ready what is wrong and what would start it, or why it cannot be
    had.
    """
    ready = sum(service.ready for service in stack.services)
    absent = len(stack.not_available)
    parts = [
        render_table(_HEADER, [_row(service) for service in stack.services], _RIGHT),
        f"{platform}: {ready} of {len(stack.services)} services ready"
        + (f", {absent} not available" if absent else ""),
    ]
    parts += _complaints(stack.not_ready)
    parts += [f"  {service.name}: not available: {service.not_available}" for service in stack.not_available]
    return "\n".join(parts)


def _row(service: ServiceInfo) -> tuple[str, ...]:
    return (
        service.name,
        service.state,
        MISSING if service.pid is None else str(service.pid),
        show_seconds(service.uptime_s),
        MISSING if service.cpu_cores is None else f"{service.cpu_cores:.2f}",
        show_bytes(service.memory_bytes),
        MISSING if service.port is None else str(service.port),
        _probe(service),
    )


def _probe(service: ServiceInfo) -> str:
    if service.probe is None:
        return MISSING
    if service.probe.ok:
        return f"ok {service.probe.latency_ms:.0f} ms"
    return "FAIL " + textwrap.shorten(service.probe.detail, _DETAIL_WIDTH, placeholder=" ...")


def _complaints(services: Sequence[ServiceInfo]) -> list[str]:
    """What is wrong and what would help; said once where it is the same for several, as when the runtime is down."""
    groups: dict[tuple[str, str], list[str]] = {}
    for service in services:
        # What runs already needs no starting; its log is where to look, and the reason says what it complains of.
        command = "" if service.state == State.RUNNING.value else service.start_command
        groups.setdefault((_reason(service), command), []).append(f"{service.name} ({service.state})")
    lines = []
    for (reason, command), names in groups.items():
        lines.append(f"  {', '.join(names)}: {reason}")
        if command:
            lines.append(f"    start: {command}")
    return lines


def _reason(service: ServiceInfo) -> str:
    reasons = [service.problem] if service.problem else []
    if service.probe is not None and not service.probe.ok and service.state != State.UNKNOWN.value:
        reasons.append(f"probe {service.probe_what}: {service.probe.detail}")
    return "; ".join(reasons) or "not running"

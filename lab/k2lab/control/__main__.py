# SPDX-License-Identifier: Apache-2.0
"""The life of a lab, called by role `lab`: one JSON object on stdout, errors on stderr.

``python -m k2lab.control preflight|prepare|select|up|down --lab-dir DIR``
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from k2lab.common import options
from k2lab.common.errors import LabError
from k2lab.control.availability import Entry, record_unavailable, unavailable
from k2lab.control.docker.conflicts import Wanted
from k2lab.control.down import end_all, purge
from k2lab.control.lab import Lab
from k2lab.control.plan import Plan
from k2lab.control.prepare import code_digests, find_tools, preflight, prepare
from k2lab.control.steps import StoppedError
from k2lab.control.up import Up

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
LOCK_TIMEOUT_S = 120.0
POLL_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, 1 after a failure, 130 after an interrupt."""
    parser = argparse.ArgumentParser(prog="k2lab.control", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (
        ("preflight", "say what would keep the lab from starting"),
        ("prepare", "make directories, passwords and the cluster id"),
        ("select", "say which of the services and steps on stdin cannot be had, and why"),
        ("up", "start by readiness, until all is ready and trades are in the candles"),
        ("down", "stop everything of this lab"),
    ):
        command = commands.add_parser(name, help=summary)
        command.add_argument("--lab-dir", type=Path, required=True)
        if name == "preflight":
            command.add_argument("--port", type=options.port, action="append", default=[])
            command.add_argument("--tool", action="append", default=[], help="programs to look for")
            command.add_argument("--project", default="", help="of Compose, for a lab in containers")
            command.add_argument("--network", default="", help="of those containers")
            command.add_argument("--subnet", default="", help="of that network")
            command.add_argument("--container", action="append", default=[], help="names the lab wants")
        if name == "prepare":
            command.add_argument("--directory", action="append", default=[], help="below the lab's own")
            command.add_argument("--secret", action="append", default=[], help="names of passwords")
        if name == "select":
            command.add_argument("--part", action="append", default=[])
            command.add_argument("--module", action="append", default=[], help="programs whose code digest is wanted")
        if name == "down":
            command.add_argument("--purge", action="store_true", help="remove the lab's data too")
    read = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        print(json.dumps(_run(read)))
    except LabError as error:
        print(
            f"{read.command} failed.\nexpected: {error.expected}\nseen: {error.seen}\nwhat to do: {error.action}",
            file=sys.stderr,
        )
        return EXIT_FAILED
    except (KeyboardInterrupt, StoppedError):
        print(f"{read.command} interrupted; what it had started is stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(read: argparse.Namespace) -> dict[str, object]:
    lab = Lab.at(read.lab_dir)
    if read.command == "preflight":
        tools = find_tools(read.tool)
        wanted = Wanted(read.project, read.container, read.network, read.subnet) if read.project else None
        problems, facts = preflight(lab, read.port, wanted, tools.values())
        return {"problems": problems, "tools": {name: asdict(tool) for name, tool in tools.items()}, **facts}
    if read.command == "prepare":
        return asdict(prepare(lab, read.directory, read.secret))
    if read.command == "select":
        return _select(lab, read)
    if read.command == "up":
        with _alone(lab):
            outcome = Up(lab, Plan.read(lab)).run()
        return {"changed": bool(outcome.changes), **asdict(outcome)}
    plan = Plan.read(lab) if lab.plan.exists() else None
    if not lab.run.is_dir():
        ended = end_all(lab, None)
        return {"changed": bool(ended), "ended": ended, "purged": purge(lab) if read.purge else False}
    with _alone(lab):
        ended = end_all(lab, plan)
        purged = read.purge and purge(lab)
    return {"changed": bool(ended) or purged, "ended": ended, "purged": purged}


def _select(lab: Lab, read: argparse.Namespace) -> dict[str, object]:
    given = json.load(sys.stdin)
    entries = [Entry.from_json(entry) for entry in given["entries"]]
    missing = {name: tool["reason"] for name, tool in given["tools"].items() if not tool["path"]}
    reasons = unavailable(entries, read.part, missing)
    changed = record_unavailable(lab, entries, reasons)
    return {"changed": changed, "unavailable": reasons, "code": code_digests(read.module)}


@contextmanager
def _alone(lab: Lab) -> Iterator[None]:
    """One command at a time for a lab. The kernel drops the lock when its holder ends, however it ends.

    An interrupted lab-up may still be stopping what it started: that is worth waiting for.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    with (lab.run / "control.lock").open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"no other lab-up or lab-down at work on {lab.directory}",
                        f"one is, for {LOCK_TIMEOUT_S:.0f} s",
                        "wait until it has ended",
                    ) from error
            time.sleep(POLL_S)
        yield


if __name__ == "__main__":
    sys.exit(main())

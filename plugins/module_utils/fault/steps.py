# SPDX-License-Identifier: Apache-2.0
"""Undo steps as plain data, who carries them out, and the watchdog that does so when nobody else can.

This file stands alone: standard library only, nothing of this package, all imports at the top. The engine imports it,
and it is installed as a file on the target and run from there, because the archive of an Ansible module is gone when
the module ends, and the watchdog is what is left then.

A step is a mapping that survives JSON. Each is idempotent, says what counts as success, and needs no other step to
have succeeded. ``body`` is a text, or anything else to be sent as JSON; ``timeout_s`` may be left out:

- ``{"op": "http", "method", "url", "body"?, "content_type"?, "ok": [statuses], "ok_contains"?: [texts], "shows"?,
  "holds"?, "gone"?: [statuses]}``
- ``{"op": "unix_http", "socket", "method", "path", ...the same}``
- ``{"op": "signal", "pid", "start_ticks", "number"}``: only to the process that started then; one that is gone is done
- ``{"op": "exec", "argv", "ok": [exit codes], "pid"?, "start_ticks"?}``: without a shell; with a process, it is about
  what that process has, and done when it is gone

XML-RPC tells a fault with status 200: that is a success only where the body holds one of ``ok_contains``. Any other
answer is one only if its body holds the text ``shows`` and its JSON holds all of ``holds``, where the step has them: of
a mapping the keys named, of a list the elements named, whatever else is there. A status of ``gone`` says that what the
step is about is no more, which is a success whatever the body says. A step may carry ``"verify"``: a step that must
succeed after it, else both are done again.

As a program: ``steps.py ENTRY_FILE [READY_FD]`` with the maker's pipe as standard input. It waits until the pipe ends,
its maker is gone, the entry's ``deadline_ns`` (CLOCK_MONOTONIC) passes or SIGTERM comes, and then undoes the entry if
it is still open. Exit codes: 0 nothing was to be done, 3 undone, 4 not undone (the entry is open), 2 cannot watch.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

CLOSED = "closed"
FAILED_SUFFIX = ".failed"
NOTHING_TO_DO, CANNOT_WATCH, UNDONE, NOT_UNDONE = 0, 2, 3, 4
# How long a watchdog goes on trying, in turns, between which somebody else may try.
RETRY_S = 600.0
TURN_S = 60.0
PAUSE_S = 2.0

_NS = 1_000_000_000
_TIMEOUT_S = 10.0
_BACKOFF_S = (0.1, 2.0)
_LOOK_S = 0.2
_BODY_BYTES = 1 << 20
_SAID = 400
_NEEDS: Mapping[str, Mapping[str, Any]] = {
    "http": {"method": str, "url": str, "ok": list},
    "unix_http": {"socket": str, "method": str, "path": str, "ok": list},
    "signal": {"pid": int, "start_ticks": int, "number": int},
    "exec": {"argv": list, "ok": list},
}
_MAY: Mapping[str, Any] = {"verify": Mapping, "timeout_s": (int, float)}
_MAY_HTTP: Mapping[str, Any] = {
    "body": object,
    "content_type": str,
    "ok_contains": list,
    "shows": str,
    "holds": Mapping,
    "gone": list,
}
_MAY_EXEC: Mapping[str, Any] = {"pid": int, "start_ticks": int}


@dataclass(frozen=True)
class Outcome:
    """What became of one step: whether it succeeded, after how many attempts, and what was seen at the last."""

    what: str
    ok: bool
    attempts: int
    seen: str


@dataclass(frozen=True)
class Undoing:
    """What became of one entry: an exit code of this program, the steps' outcomes, and why it is not undone."""

    code: int
    outcomes: tuple[Outcome, ...] = ()
    why: str = ""


# -- steps ---------------------------------------------------------------------------------------------------------


def problems(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why some of these could never be carried out; empty when all can be tried. Asked before a fault, not after."""
    return [f"step {number}: {text}" for number, step in enumerate(steps) for text in _problems(step)]


def _problems(step: Mapping[str, Any]) -> list[str]:
    op = str(step.get("op"))
    if op not in _NEEDS:
        return [f"unknown op {op!r}, known: {', '.join(_NEEDS)}"]
    needs = _NEEDS[op]
    may = {**_MAY, **(_MAY_HTTP if op.endswith("http") else _MAY_EXEC if op == "exec" else {})}
    found = [f"{op} lacks {key}" for key in needs if key not in step]
    for key, value in step.items():
        kind = needs.get(key, may.get(key))
        if key != "op" and kind is None:
            found.append(f"{op} has no {key}")
        elif key != "op" and (not isinstance(value, kind) or isinstance(value, bool)):
            found.append(f"{key} of {op} cannot be {value!r}")
    if not found and op == "exec" and not (step["argv"] and all(isinstance(word, str) for word in step["argv"])):
        found.append("argv of exec has to be texts, one at least")
    if not found and op == "exec" and ("pid" in step) != ("start_ticks" in step):
        found.append("a process of exec takes both pid and start_ticks")
    return found or ([f"verify: {text}" for text in _problems(step["verify"])] if "verify" in step else [])


def perform(steps: Sequence[Mapping[str, Any]], deadline_ns: int) -> list[Outcome]:
    """Carry out ``steps`` in order, then again those that failed, until all succeeded or CLOCK_MONOTONIC passes
    ``deadline_ns``. Each is tried once at least, however late it is. Never raises for a step that fails.
    """
    outcomes = [Outcome(_what(step), False, 0, "not tried") for step in steps]
    pause_s, longest_s = _BACKOFF_S
    while True:
        for number, step in enumerate(steps):
            if not outcomes[number].ok:
                ok, seen = _attempt(step, deadline_ns)
                outcomes[number] = replace(outcomes[number], ok=ok, seen=seen, attempts=outcomes[number].attempts + 1)
        if all(outcome.ok for outcome in outcomes) or _left_s(deadline_ns) <= 0:
            return outcomes
        time.sleep(min(pause_s, _left_s(deadline_ns)))
        pause_s = min(longest_s, 2 * pause_s)


def _attempt(step: Mapping[str, Any], deadline_ns: int) -> tuple[bool, str]:
    """Whether one step succeeded, its check too, and what was seen."""
    wrong = _problems(step)
    if wrong:
        return False, "; ".join(wrong)
    # Late is better than never: a second is given to each even when time is over.
    timeout_s = min(float(step.get("timeout_s", _TIMEOUT_S)), max(1.0, _left_s(deadline_ns)))
    try:
        ok, seen = _ACTS[step["op"]](step, timeout_s)
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
        TypeError,
        OverflowError,
        subprocess.SubprocessError,
    ) as error:
        ok, seen = False, f"{type(error).__name__}: {error}"
    if ok and "verify" in step:
        ok, checked = _attempt(step["verify"], deadline_ns)
        seen = f"{seen}; verified by {_what(step['verify'])}: {checked}"
    return ok, seen[:_SAID]


def _what(step: Mapping[str, Any]) -> str:
    """The step for a person; no body, which may hold what is nobody's business."""
    op = step.get("op")
    if op == "http":
        return f"{step.get('method')} {step.get('url')}"
    if op == "unix_http":
        return f"{step.get('method')} {step.get('path')} on {step.get('socket')}"
    if op == "signal":
        return f"signal {step.get('number')} to process {step.get('pid')}"
    if op == "exec":
        return " ".join(map(str, step.get("argv") or ()))
    return f"unknown op {op!r}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        # As in platform/unix_http.py: a link may stand for a path that is too long to be an address.
        self.sock.connect(os.path.realpath(self._path))


def _http(step: Mapping[str, Any], timeout_s: float) -> tuple[bool, str]:
    # Not urllib: it would go through whatever proxy this process's environment names.
    url = urllib.parse.urlsplit(step["url"])
    connections = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if url.scheme not in connections or url.hostname is None:
        raise ValueError(f"not an http address: {step['url']}")
    path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
    return _exchange(connections[url.scheme](url.hostname, url.port, timeout=timeout_s), path, step, timeout_s)


def _unix_http(step: Mapping[str, Any], timeout_s: float) -> tuple[bool, str]:
    return _exchange(_UnixConnection(step["socket"], timeout_s), step["path"], step, timeout_s)


def _exchange(
    connection: http.client.HTTPConnection, path: str, step: Mapping[str, Any], timeout_s: float
) -> tuple[bool, str]:
    deadline_ns = time.monotonic_ns() + int(timeout_s * _NS)
    body = step.get("body")
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    headers = {"Content-Type": step.get("content_type", "application/json")} if text else {}
    try:
        connection.request(step["method"], path, text.encode() if text else None, headers)
        answer = connection.getresponse()
        said = bytearray()
        # The socket's timeout bounds each read, not their sum.
        while len(said) < _BODY_BYTES and _left_s(deadline_ns) > 0:
            part = answer.read1(1 << 16)
            if not part:
                break
            said += part
    finally:
        connection.close()
    if answer.status in step.get("gone", ()):
        return True, f"{answer.status} gone"
    answered = said.decode("utf-8", errors="replace")
    ok = answer.status in step["ok"]
    if ok and "<fault>" in answered:
        ok = any(accepted in answered for accepted in step.get("ok_contains", ()))
    elif ok:
        ok = step.get("shows", "") in answered
    seen = f"{answer.status} {' '.join(answered.split())}".strip()
    if ok and "holds" in step:
        lacking = _lacking(json.loads(answered), step["holds"])
        ok = not lacking
        seen = f"{answer.status} " + ("; ".join(lacking) or f"holds {json.dumps(step['holds'])}")
    return ok, seen


def _lacking(seen: Any, expected: Any, at: str = "answer") -> list[str]:
    """In words, what of ``expected`` is not in ``seen``."""
    if isinstance(expected, Mapping):
        inner = seen if isinstance(seen, Mapping) else {}
        return [text for key, value in expected.items() for text in _lacking(inner.get(key), value, f"{at}.{key}")]
    if isinstance(expected, list):
        there = seen if isinstance(seen, list) else []
        missing = [value for value in expected if all(_lacking(one, value) for one in there)]
        return [f"{at} lacks {json.dumps(missing)}: {json.dumps(seen)}"] if missing else []
    return [] if seen == expected else [f"{at} is {json.dumps(seen)}, expected {json.dumps(expected)}"]


def _signal(step: Mapping[str, Any], timeout_s: float) -> tuple[bool, str]:
    pid, number = step["pid"], step["number"]
    if pid <= 1:
        raise ValueError(f"no signal is ever sent to process {pid}")
    if not _send(pid, step["start_ticks"], number):
        return True, "gone"
    deadline_ns = time.monotonic_ns() + int(timeout_s * _NS)
    while number == signal.SIGCONT and start_ticks(pid) == step["start_ticks"] and _stat(pid)[:1] == ["T"]:
        if _left_s(deadline_ns) <= 0:
            return False, "still stopped"
        time.sleep(0.01)
    return True, "sent"


def _send(pid: int, started: int, number: int) -> bool:
    """Whether the process that started then got the signal; False when it is gone. Raises PermissionError."""
    handle = None
    try:
        try:
            # What a handle names stays that process, whoever gets its number after the look.
            handle = os.pidfd_open(pid)
        except (AttributeError, OSError):
            handle = None  # an older Python or kernel, or nobody there: the look tells
        if start_ticks(pid) != started:
            return False
        if handle is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def _exec(step: Mapping[str, Any], timeout_s: float) -> tuple[bool, str]:
    if "pid" in step and start_ticks(step["pid"]) != step["start_ticks"]:
        return True, f"process {step['pid']} is gone"
    # Not a pipe, which a daemon that it starts would hold open; nor a file, since the disk may be what is full.
    with os.fdopen(os.memfd_create("output"), "w+b") as output:
        process = subprocess.Popen(
            step["argv"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
        try:
            code: Optional[int] = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_TIMEOUT_S)
        output.seek(0)
        said = " ".join(output.read(_BODY_BYTES).decode("utf-8", errors="replace").split())
    seen = f"not done after {timeout_s:g} s" if code is None else f"exit code {code}"
    return code in step["ok"], f"{seen} {said}".strip()


_ACTS = {"http": _http, "unix_http": _unix_http, "signal": _signal, "exec": _exec}


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from its third field on; empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def start_ticks(pid: int) -> Optional[int]:
    """When the process ``pid`` started, in clock ticks since boot; with the pid it names a process for good. None if
    there is none, or if it has ended and nobody has asked for its exit code yet.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def _left_s(deadline_ns: int) -> float:
    return (deadline_ns - time.monotonic_ns()) / _NS


# -- entries of the journal ----------------------------------------------------------------------------------------


def undo_entry(path: Path, by: str, deadline_ns: int) -> Undoing:
    """Undo the entry in file ``path``, verify, and move it to ``closed/`` with who did it; what fails leaves it open
    with the reasons beside it. One process at a time: whoever comes second waits, and then finds it done.

    Never raises: ``why`` has what hindered it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Undoing(NOTHING_TO_DO)
    except OSError as error:
        return Undoing(NOT_UNDONE, why=str(error))
    try:
        if not _locked(handle, deadline_ns):
            return Undoing(NOT_UNDONE, why="another process is still undoing it")
        if not path.exists():
            return Undoing(NOTHING_TO_DO)
        entry = json.loads(path.read_text(encoding="utf-8"))
        outcomes = tuple(perform(_due(entry), deadline_ns))
        told = {"undone_by": by, "undone_at": _now(), "outcomes": [asdict(outcome) for outcome in outcomes]}
        why = "; ".join(f"{outcome.what}: {outcome.seen}" for outcome in outcomes if not outcome.ok)
        if why:
            write_durably(path.with_suffix(FAILED_SUFFIX), json.dumps({**told, "why": why}))
            return Undoing(NOT_UNDONE, outcomes, why)
        if path.exists():
            _close(path, {**entry, **told})
            return Undoing(UNDONE, outcomes)
        return Undoing(NOTHING_TO_DO, outcomes)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return Undoing(NOT_UNDONE, why=f"{type(error).__name__}: {error}")
    finally:
        os.close(handle)


def _due(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Steps that still mean something: processes of an earlier boot are gone, whoever has their numbers now."""
    steps: list[Mapping[str, Any]] = list(entry.get("steps") or ())
    same_boot = entry.get("boot_id") == _boot_id()
    return [step for step in steps if same_boot or "start_ticks" not in step]


def _close(path: Path, entry: Mapping[str, Any]) -> None:
    closed = path.parent / CLOSED / path.name
    try:
        # Not within the open file: it is what the lock lies on. Both may be there for a moment; it is open till then.
        write_durably(closed, json.dumps(entry))
        path.unlink()
    except FileNotFoundError:
        pass  # closed by its maker meanwhile
    except OSError:
        path.replace(closed)  # a full disk must not keep open what is undone; who did it is lost then
    path.with_suffix(FAILED_SUFFIX).unlink(missing_ok=True)
    sync_directory(path.parent)


def write_durably(path: Path, text: str) -> None:
    """Write ``path`` so that it is there whole or not at all, whatever happens. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in ``path`` on disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked(handle: int, deadline_ns: int) -> bool:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if _left_s(deadline_ns) <= 0:
                return False
            time.sleep(_LOOK_S)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# -- the watchdog --------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Watch over the entry that ``argv`` names; see the top of this file."""
    asked: list[int] = []
    # Whoever ends this process politely ends the guard, so the fault has to end first.
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        path = Path(argv[1])
        entry = json.loads(path.read_text(encoding="utf-8"))
        deadline_ns = int(entry["deadline_ns"])
    except (IndexError, OSError, ValueError, KeyError, TypeError) as error:
        _log(f"cannot watch: {type(error).__name__}: {error}")
        return CANNOT_WATCH
    _spare_from_oom()
    if len(argv) > 2:
        try:
            os.write(int(argv[2]), b"ready\n")
            os.close(int(argv[2]))
        except OSError as error:
            _log(f"nobody waits for this watchdog: {error}")
    _log(_wait(entry, deadline_ns, asked))
    until_ns = time.monotonic_ns() + int(RETRY_S * _NS)
    while True:
        undoing = undo_entry(path, "watchdog", min(until_ns, time.monotonic_ns() + int(TURN_S * _NS)))
        _log(json.dumps(asdict(undoing)))
        if undoing.code != NOT_UNDONE or _left_s(until_ns) <= 0:
            return undoing.code
        time.sleep(PAUSE_S)


def _wait(entry: Mapping[str, Any], deadline_ns: int, asked: Sequence[int]) -> str:
    """Wait until it is time; says why it is."""
    pid, started = entry.get("pid"), entry.get("pid_start")
    while True:
        if asked:
            return "asked to end"
        if _left_s(deadline_ns) <= 0:
            return "deadline passed"
        # A child of the maker that was forked and not replaced holds the pipe open: look at the maker too.
        if pid is not None and start_ticks(pid) != started:
            return "its maker is gone"
        if select.select([0], [], [], max(0.0, min(_LOOK_S, _left_s(deadline_ns))))[0] and not os.read(0, 4096):
            return "its maker let go"


def _spare_from_oom() -> None:
    """Have the kernel end others first when memory runs out; only root may ask for that."""
    try:
        Path("/proc/self/oom_score_adj").write_text("-1000", encoding="ascii")
    except OSError as error:
        _log(f"may be ended when memory runs out: {error}")


def _log(text: str) -> None:
    try:
        print(f"{_now()} {text}", flush=True)  # noqa: T201 - its standard output is its log
    except OSError:
        return  # a full disk must not end the one who puts things back


if __name__ == "__main__":
    sys.exit(main(sys.argv))

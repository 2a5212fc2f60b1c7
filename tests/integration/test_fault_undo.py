# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at any moment leaves no program of a real supervisord stopped or paused.

``K2_UNDO_ROUNDS`` kills more often than the eight times of an ordinary test.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.undo import State as UndoState
from ansible_collections.k2.hardening.plugins.module_utils.fault.undo import undo_left
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime

from .runtimes import Bench, eventually, supervisord

ROUNDS = int(os.environ.get("K2_UNDO_ROUNDS", "8"))
# A run's way with a fault: entry, watchdog, fault, some time, undo, entry closed. Says where it is.
MAKER = """
import signal, sys, time, xmlrpc.client
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.steps import start_ticks
from ansible_collections.k2.hardening.plugins.module_utils.fault.watchdog import Watchdog
from ansible_collections.k2.hardening.plugins.module_utils.platform.procfs import process_tree
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeSettings
path, socket, unit, fault = sys.argv[1:]
runtime = SupervisorRuntime(RuntimeSettings(socket, 5.0))
start = {"op": "unix_http", "socket": socket, "method": "POST", "path": "/RPC2", "ok": [200],
         "body": xmlrpc.client.dumps((unit, True), "supervisor.startProcess"),
         "content_type": "text/xml", "ok_contains": ["ALREADY_STARTED"]}
resume = [{"op": "signal", "pid": one.pid, "start_ticks": one.start_ticks, "number": int(signal.SIGCONT)}
          for one in reversed(process_tree(runtime.pid(unit)))]
print("begins", flush=True)
journal = Journal(Path(path))
entry = journal.open("run", unit, fault, "undo it", {}, steps=[start] if fault == "stop" else resume,
                     deadline_ns=Deadline.after(60).at_ns)
guard = Watchdog.guard(journal, entry)
print("guarded", flush=True)
if fault == "stop":
    runtime.stop(unit, 10)
    time.sleep(0.3)
    runtime.start(unit, 10)
else:
    runtime.pause(unit)
    time.sleep(0.3)
    runtime.resume(unit)
journal.close(entry.id)
guard.done()
print("ended", flush=True)
"""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with supervisord() as made:
        yield made


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_a_run_killed_at_a_random_moment_leaves_nothing_broken(bench: Bench, tmp_path: Path, fault: str) -> None:
    assert isinstance(bench.runtime, SupervisorRuntime)
    moments = random.Random(6)
    journal = Journal(tmp_path / "undo")
    by_watchdog = 0
    for _ in range((ROUNDS + 1) // 2):
        eventually(lambda: bench.runtime.status(bench.unit).state, lambda state: state is State.RUNNING)
        run = subprocess.Popen(
            [sys.executable, "-c", MAKER, str(journal.path), bench.runtime._socket, bench.unit, fault],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
            text=True,
        )
        assert run.stdout is not None
        assert run.stdout.readline() == "begins\n"
        # Beyond the end of most runs, so that well closed entries are among them.
        time.sleep(moments.uniform(0, 1.2))
        os.killpg(run.pid, 9)
        said = run.communicate(timeout=20)[0].split()
        if "guarded" in said:
            # Nobody but the watchdog is there to put it back.
            eventually(journal.open_entries, lambda entries: not entries)
        else:
            undone = undo_left(journal, only_look=False)
            assert all(each.state is UndoState.UNDONE for each in undone)
        status = eventually(lambda: bench.runtime.status(bench.unit), lambda seen: seen.state is State.RUNNING)
        assert status.pid is not None
        by_watchdog += sum(journal.closed_by(path.stem) == "watchdog" for path in (journal.path / "closed").iterdir())
        assert journal.open_entries() == []
        for path in (journal.path / "closed").iterdir():
            path.unlink()
    assert by_watchdog > 0, "no run was killed while its fault lasted: the test proves nothing"

# SPDX-License-Identifier: Apache-2.0
"""Bring a prepared lab up by readiness: ends when fresh trades of each exchange are in the one-minute candles."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import partial

from k2lab.clickhouse_http import ClickHouse, ClickHouseError
from k2lab.common.errors import LabError
from k2lab.control import processes
from k2lab.control.availability import needing, update_unavailable
from k2lab.control.commands import run_command
from k2lab.control.down import STOP_TIMEOUT_S, end_all, stop_services
from k2lab.control.keeper import State
from k2lab.control.keepers import keeper_of
from k2lab.control.lab import Lab
from k2lab.control.plan import HOT, CommandStep, Plan, Service
from k2lab.control.progress import StepProgress
from k2lab.control.steps import Step, Steps
from k2lab.schema.apply import apply_schema
from k2lab.topics import ensure_topics, wait_for_broker

POLL_S = 0.1
PROBE_TIMEOUT_S = 2.0
# One death at start may be bad luck (a port still closing); supervisord repeats it. Two are a fault.
DEATHS_MAX = 2


@dataclass
class Outcome:
    """What `up` did: changes (empty when everything was up already) and the seconds each step took.

    `unavailable` are services and steps outside the hot part that failed, and why.
    """

    changes: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    total_s: float = 0.0


class Up:
    """One attempt. On a failure or an interrupt everything this attempt started is stopped again."""

    def __init__(self, lab: Lab, plan: Plan) -> None:
        self._lab = lab
        self._plan = plan
        self._keeper = keeper_of(lab, plan)
        self._progress = StepProgress("Start the lab")
        self._steps = Steps(self._progress.step)
        self._deadline = time.monotonic() + plan.timeout_s
        self._launched = False
        self._started: list[str] = []
        self._stopped_before: dict[str, int] = {}
        self._deaths: dict[str, set[int]] = {}
        self._candles_before: dict[str, int] = {}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Raises LabError, after cleaning up."""
        begun = time.monotonic()
        try:
            self._supervise()
            steps = self._all_steps()
            self._progress.begin(len(steps))
            self._steps.run(steps)
            self._do_without()
        except BaseException:
            self._progress.end(failed=True)
            self._roll_back()
            raise
        self._progress.end(failed=False)
        self.outcome.seconds = self._steps.seconds
        self.outcome.total_s = round(time.monotonic() - begun, 2)
        return self.outcome

    def _supervise(self) -> None:
        """Have the keeper there, with the configuration as it is now."""
        if self._keeper.answers():
            reload = self._keeper.reload(stop_timeout_s=STOP_TIMEOUT_S)
            for what in ("added", "changed", "removed"):
                self.outcome.changes += [f"{what} {name}" for name in getattr(reload, what)]
            return
        if orphans := processes.of_lab(self._lab):
            # A keeper that was killed leaves its programs behind, and they hold our ports and data.
            names = [processes.describe(process) for process in orphans]
            end_all(self._lab, self._plan)
            self.outcome.changes += [f"ended orphan {name}" for name in names]
        self._launched = True
        self._keeper.launch()
        self.outcome.changes.append(f"started {self._keeper.name}")

    def _all_steps(self) -> list[Step]:
        services = self._plan.services
        hot = tuple(service.name for service in services if service.part == HOT)
        return [
            Step("topics", ("kafka",), self._create_topics),
            Step("schema", ("clickhouse",), self._create_schema),
            Step("candles", hot, self._wait_for_candles),
            *(
                Step(step.name, step.needs, partial(self._run_command, step), required=step.part == HOT)
                for step in self._plan.steps
            ),
            *(
                Step(service.name, service.needs, partial(self._start, service), required=service.part == HOT)
                for service in services
            ),
        ]

    def _do_without(self) -> None:
        """Stop what failed outside the hot part, and say in run/unavailable.json why the lab is without it."""
        steps = self._steps
        services = {service.name for service in self._plan.services}
        for name, error in steps.failed.items():
            print(f"{name} is not available in this lab.\n{error.expected}\n{error.seen}", file=sys.stderr, flush=True)
        reasons = {
            name: f"{'did not start' if name in services else 'failed'}: {error.brief}"
            for name, error in steps.failed.items()
        }
        for name, need in steps.skipped.items():
            reasons[name] = needing(need, reasons[need])
        # What was skipped may run since an earlier lab-up: nothing that is called unavailable is to run.
        stop_services(self._keeper, self._plan, [name for name in reasons if name in services])
        self.outcome.unavailable = reasons
        update_unavailable(self._lab, services, {name: reason for name, reason in reasons.items() if name in services})

    def _run_command(self, step: CommandStep) -> None:
        if run_command(self._lab, step, deadline=self._deadline, check=self._steps.check) and step.creates:
            self.outcome.changes.append(f"did {step.name}")

    def _start(self, service: Service) -> None:
        program = self._keeper.program(service.name)
        self._stopped_before[service.name] = program.stopped_at
        self._deaths[service.name] = set()
        if program.state not in (State.RUNNING, State.STARTING, State.BACKOFF):
            self._check_ports(service)
            self._started.append(service.name)
            self._keeper.start(service.name)
            self.outcome.changes.append(f"started {service.name}")
        if service.health_url is not None:
            self._wait_for_health(service, service.health_url)

    def _check_ports(self, service: Service) -> None:
        """The check before the lab was configured is some seconds old: somebody may have come since."""
        own = {process.pid for process in processes.of_lab(self._lab)}
        for port, holder in processes.taken_ports(set(service.ports) - self._keeper.held_ports(), own).items():
            raise LabError(f"port {port} to be free for {service.name}", holder, "end it, or set k2_lab_base_port")

    def _wait_for_health(self, service: Service, url: str) -> None:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S):  # noqa: S310 - our own http address
                    return
            except urllib.error.HTTPError as error:
                seen = f"{error}: {error.read().decode(errors='replace')[:300]}"
            except OSError as error:
                seen = str(error)
            self._still_starting(service.name, f"{url} to answer 200", seen)
            time.sleep(POLL_S)

    def _still_starting(self, name: str, expected: str, seen: str) -> None:
        """Raise when waiting for this service has become pointless."""
        self._steps.check()
        program = self._keeper.program(name)
        if program.stopped_at != self._stopped_before[name]:
            self._deaths[name].add(program.stopped_at)
        if program.state is State.FATAL or len(self._deaths[name]) >= DEATHS_MAX:
            raise self._failure(name, "to stay up", program.spawn_error or f"died with exit code {program.exit_status}")
        if time.monotonic() > self._deadline:
            raise self._failure(name, f"to be ready within {self._plan.timeout_s:.0f} s: {expected}", seen)

    def _failure(self, name: str, expected: str, seen: str) -> LabError:
        return LabError(
            f"{name} {expected}",
            f"{seen}\n{self._keeper.log_tail(name)}",
            "correct the cause, run lab-up again",
        )

    def _create_topics(self) -> None:
        def worth_it() -> None:
            self._still_starting("kafka", f"a broker at {self._plan.broker}", "no answer")

        admin, existing = wait_for_broker(self._plan.broker, self._plan.timeout_s, worth_it)
        self.outcome.changes += [f"created topic {name}" for name in ensure_topics(admin, existing, self._plan.topics)]

    def _clickhouse(self) -> ClickHouse:
        password = (self._lab.secrets / "clickhouse_default").read_text().strip()
        return ClickHouse(self._plan.clickhouse_url, "default", password)

    def _create_schema(self) -> None:
        with self._clickhouse() as clickhouse:
            applied = apply_schema(clickhouse, self._plan.clickhouse_database, self._plan.candles)
            self._candles_before = self._candles(clickhouse)
        if applied.created:
            self.outcome.changes.append(f"created {len(applied.created)} tables and views")

    def _candles(self, clickhouse: ClickHouse) -> dict[str, int]:
        """Trades in the one-minute candles by exchange."""
        table = f"{self._plan.clickhouse_database}.ohlcv_1m"
        rows = clickhouse.rows(f"SELECT exchange, sum(trade_count) FROM {table} GROUP BY exchange")
        return {str(exchange): int(count) for exchange, count in rows}

    def _wait_for_candles(self) -> None:
        """Trades that were not there when the schema was looked at: old candles prove nothing about now."""
        before = self._candles_before
        with self._clickhouse() as clickhouse:
            while True:
                try:
                    now = self._candles(clickhouse)
                    silent = [name for name in self._plan.exchanges if now.get(name, 0) <= before.get(name, 0)]
                    seen = f"no new trade of {', '.join(silent)} (trades before {before}, now {now})"
                except ClickHouseError as error:
                    silent, seen = list(self._plan.exchanges), str(error)
                if not silent:
                    return
                self._still_starting("silver-processor", "new trades of each exchange in ohlcv_1m", seen)
                time.sleep(POLL_S)

    def _roll_back(self) -> None:
        if self._launched:
            end_all(self._lab, self._plan)
        elif self._started:
            stop_services(self._keeper, self._plan, self._started)

# SPDX-License-Identifier: Apache-2.0
"""The report's section on failure modes, made of the evidence of the gates and its sample files alone."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import failure_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.report.failure import FailureSection, failure_section
from ansible_collections.k2.hardening.plugins.module_utils.report.failure_chart import draw, stretches
from ansible_collections.k2.hardening.plugins.module_utils.report.render import ReportError, render
from ansible_collections.k2.hardening.plugins.module_utils.report.svg import Condition
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "report" / "templates"


def section(run: RunDir) -> FailureSection:
    gates = run.results()["gates"]
    evidence = {gate["id"]: json.loads((run.path / gate["evidence"][-1]).read_text()) for gate in gates}
    found = failure_section(gates, evidence, run.path)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return samples.make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def rows(run: RunDir) -> dict[str, Any]:
    return {row.mode: row for row in section(run).modes}


def test_a_row_per_mode_in_the_order_of_the_gates(run: RunDir) -> None:
    found = section(run)
    assert [row.mode for row in found.modes] == [mode.name for mode in samples.modes()]
    assert [gate["id"] for gate in found.whole] == ["S3.audit", "S3.mttr_30s"]


@pytest.mark.parametrize(
    ("mode", "verdict", "recovery", "points"),
    [
        ("broker_restart", "PASS", "4.4 .. 6", ("backlog drained (T3)",)),
        ("clickhouse_restart", "INCONCLUSIVE", "-", ()),
        ("feed_handler_crash", "PASS", "1.6 .. 2.6", ("backlog drained (T3)",)),
        ("silver_processor_crash", "FAIL", "more than 58", ()),
        ("clickhouse_partition", "FAIL", "3.5 .. 5.1", ("backlog drained (T3)",)),
        ("offload_killed", "NOT_RUN", "-", ()),
        ("crash_alert-receiver", "PASS", "shorter than 0.254", ("served again (T2)",)),
    ],
)
def test_recovery_is_an_interval_and_what_is_unknown_is_said(
    rows: dict[str, Any], mode: str, verdict: str, recovery: str, points: tuple[str, ...]
) -> None:
    row = rows[mode]
    assert (row.verdict, row.recovery, row.points) == (verdict, recovery, points)


def test_each_service_that_a_mode_hits_has_a_row_and_a_chart(rows: dict[str, Any]) -> None:
    services = rows["feed_handler_crash"].services
    assert [row.service for row in services] == list(samples.HANDLERS)
    assert [row.recovery for row in services] == ["1.1 .. 2.1", "1.6 .. 2.6", "1.4 .. 2.4"]
    assert all(row.chart for row in services)


def test_what_does_not_block_does_not_change_a_modes_verdict_or_reasons(rows: dict[str, Any]) -> None:
    assert rows["broker_restart"].gates["detection"]["verdict"] == "NOT_RUN"
    assert rows["broker_restart"].reasons == ()


def test_one_reason_of_many_gates_is_told_once(rows: dict[str, Any]) -> None:
    ((words, verdict, reason),) = rows["offload_killed"].reasons
    assert words == "recovery, loss, isolation, restored"
    assert (verdict, reason) == ("NOT_RUN", "not among k2_failure_modes_run | <all>")
    assert rows["offload_killed"].services == ()


def test_no_proof_is_never_hidden(rows: dict[str, Any]) -> None:
    (service,) = rows["clickhouse_restart"].services
    assert service.proof == "NOT PROVEN: the pid is still 41"
    assert service.recovery == "not seen"
    assert service.problems
    assert "nothing was injected" in service.chart


def test_never_back_is_told_with_what_is_certain(rows: dict[str, Any]) -> None:
    (service,) = rows["silver_processor_crash"].services
    assert service.recovery == "not seen, out for more than 59.75"
    assert service.mechanism == "unknown"


def test_not_noticed_is_never_a_zero(rows: dict[str, Any]) -> None:
    assert rows["clickhouse_partition"].noticed == "not noticed"
    assert rows["feed_handler_crash"].noticed == "0.1 .. 0.4"
    assert rows["offload_killed"].noticed == "-"


def test_one_service_that_was_not_noticed_is_not_hidden_by_the_others(tmp_path: Path) -> None:
    crashes = [samples.crash(name, 1.0) for name in samples.HANDLERS]
    crashes[1]["detection"] = {"health": None, "alerts": None}
    mode = samples.Mode("feed_handler_crash", 5, crashes, samples.calm((Verdict.PASS, 2.5, 1.5, 2.5, "")))
    (row,) = section(samples.make_run(tmp_path, [mode])).modes
    assert row.noticed == "not noticed in 1 of 3"


def test_one_service_too_quick_to_see_does_not_shorten_the_mode(tmp_path: Path) -> None:
    crashes = [samples.crash(name, 1.0) for name in samples.HANDLERS]
    crashes[0]["shorter_than_s"], crashes[0]["recovery"] = 0.25, None
    mode = samples.Mode("feed_handler_crash", 5, crashes, samples.calm((Verdict.PASS, 2.5, 1.5, 2.5, "")))
    (row,) = section(samples.make_run(tmp_path, [mode])).modes
    assert row.recovery == "1.5 .. 2.5"
    assert row.services[0].recovery == "shorter than 0.25"


def test_who_was_disturbed_without_reason_is_named(rows: dict[str, Any]) -> None:
    assert rows["clickhouse_partition"].services[0].disturbed == ("grafana service (4 of 280 samples failed)",)
    assert rows["broker_restart"].services[0].disturbed == ()


def test_a_step_that_recorded_nothing_has_no_section(run: RunDir) -> None:
    assert failure_section(run.results()["gates"], {}, run.path) is None


def test_a_service_with_dots_in_its_name_is_one_mode(tmp_path: Path) -> None:
    mode = samples.Mode("crash_db.eu.1", 30, [], {"recovery": (Verdict.INCONCLUSIVE, None, None, None, "no data")})
    assert [row.mode for row in section(samples.make_run(tmp_path, [mode])).modes] == ["crash_db.eu.1"]


def test_samples_that_are_gone_cost_the_chart_alone(tmp_path: Path) -> None:
    run = samples.make_run(tmp_path, samples.modes()[:1])
    (run.path / "samples" / "S3.broker_restart.kafka.json").unlink()
    (service,) = section(run).modes[0].services
    assert (service.chart, service.recovery) == ("", "4.4 .. 6")
    assert "is not there any more" in service.note


@pytest.mark.parametrize("content", ["[]", "{", '{"lanes": 3}'])
def test_samples_of_another_shape_are_an_error(tmp_path: Path, content: str) -> None:
    run = samples.make_run(tmp_path, samples.modes()[:1])
    (run.path / "samples" / "S3.broker_restart.kafka.json").write_text(content)
    with pytest.raises(ReportError, match="cannot render run"):
        render(run.path, TEMPLATES)


def test_only_files_of_the_run_are_read(tmp_path: Path) -> None:
    run = samples.make_run(tmp_path, samples.modes()[:1])
    path = run.path / "evidence" / "S3.broker_restart.recovery.json"
    path.write_text(path.read_text().replace("samples/S3.broker", "../../elsewhere/S3.broker"))
    with pytest.raises(ReportError, match="outside of the run"):
        render(run.path, TEMPLATES)


# -- the chart --------------------------------------------------------------------------------------------------------


def chart(plain: dict[str, Any], limit: float | None = 10) -> tuple[ET.Element, str]:
    drawn, note = draw(plain, limit)
    return ET.fromstring(drawn), note


def names(figure: ET.Element) -> list[str]:
    return [str(text.text) for text in figure.iter("text") if text.attrib["text-anchor"] == "end"]


def test_what_must_fail_comes_first_and_what_only_answered_is_counted() -> None:
    figure, note = chart(samples.restart())
    drawn = [name for name in names(figure) if name.split()[-1] in {"process", "service", "flow"}]
    assert drawn == ["kafka process", "kafka service", "binance flow", "kraken flow", "coinbase flow"]
    assert note.startswith("3 more samplers saw nothing but answers and are not drawn.")


def test_a_disturbed_bystander_is_drawn() -> None:
    figure, _ = chart(samples.partition(), 30)
    assert "grafana service" in names(figure)


def test_marks_target_and_fault_are_drawn_and_named() -> None:
    figure, _ = chart(samples.restart())
    texts = [text.text for text in figure.iter("text")]
    assert {"T1 2.1 .. 3.25 s", "T2 2.3 .. 3.5 s", "T3 4.4 .. 6 s", "target 10 s"} <= set(texts)
    assert "seconds since the injection" in texts
    assert [rect for rect in figure.iter("rect") if rect.attrib["class"] == "t-fault"]


def test_time_counts_from_the_heal_where_the_mode_says_so() -> None:
    drawn, _ = draw(samples.partition(), 30)
    assert "seconds since the heal" in drawn


def test_what_was_never_healed_counts_from_its_injection_and_is_on_to_the_end() -> None:
    figure, _ = chart(samples.partition() | {"healed": None, "t1_s": None, "t2_s": None, "t3_s": None}, 30)
    assert any("it was never healed" in (text.text or "") for text in figure.iter("text"))
    (shade,) = [rect for rect in figure.iter("rect") if rect.attrib["class"] == "t-fault"]
    last = max(float(rect.attrib["x"]) + float(rect.attrib["width"]) for rect in figure.iter("rect"))
    assert float(shade.attrib["x"]) + float(shade.attrib["width"]) >= last - 2


def test_an_uncertain_time_zero_widens_no_mark() -> None:
    """A lower bound counts from the latest zero, the axis from the earliest: only the lower one moves."""
    sharp = samples.restart() | {"injected": [samples.ns(0), samples.ns(0)]}
    blurred = samples.restart()

    def first_band(plain: dict[str, Any]) -> tuple[float, float]:
        figure, _ = chart(plain)
        rect = next(rect for rect in figure.iter("rect") if rect.attrib["class"].startswith("band"))
        return float(rect.attrib["x"]), float(rect.attrib["x"]) + float(rect.attrib["width"])

    assert first_band(blurred)[0] > first_band(sharp)[0]
    assert first_band(blurred)[1] == pytest.approx(first_band(sharp)[1], abs=0.2)


def test_nothing_sampled_is_said() -> None:
    assert draw(samples.restart() | {"lanes": []}, 10) == ("", "Nothing was sampled.")


def test_a_hole_is_neither_an_answer_nor_a_failure() -> None:
    found = stretches(samples.lane("x service", "service", "fails", hole=(3.0, 6.0)), -10.0)
    assert [one.condition for one in found] == [Condition.OK, Condition.UNKNOWN, Condition.OK]
    assert (found[1].low, found[1].high) == pytest.approx((2.754, 6.0))


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(0, 2), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_a_row_has_no_overlap_and_no_time_untold(steps: list[tuple[float, float, bool]]) -> None:
    at, taken = 0.0, []
    for pause, lasts, ok in steps:
        at += pause
        taken.append([at * 1e3, (at + lasts) * 1e3, int(ok), ""])
        at += lasts
    found = stretches({"name": "x", "interval_s": 1.0, "samples": taken}, 0.0)
    assert found[0].low == taken[0][0] / 1e3
    assert found[-1].high == pytest.approx(taken[-1][1] / 1e3)
    assert all(left.high == pytest.approx(right.low) for left, right in itertools.pairwise(found))
    assert (Condition.FAIL in {one.condition for one in found}) == (not all(ok for _, _, ok in steps))


# -- the pages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(run: RunDir) -> tuple[str, str]:
    render(run.path, TEMPLATES)
    return (run.path / "report" / "index.html").read_text(), (run.path / "report" / "report.md").read_text()


def test_the_page_links_modes_and_draws_a_chart_per_service(pages: tuple[str, str], rows: dict[str, Any]) -> None:
    page, _ = pages
    measured = [row for row in rows.values() if row.services]
    assert all(f'href="#failure-{row.mode}"' in page and f'id="failure-{row.mode}"' in page for row in measured)
    assert 'id="failure-offload_killed"' not in page
    assert page.count("<svg") == sum(len(row.services) for row in measured) == 8


def test_the_page_escapes_what_the_platform_says(pages: tuple[str, str]) -> None:
    page, _ = pages
    assert "connection &lt;refused&gt;" in page
    assert "the pid is &lt;41&gt;" in page
    assert "<refused>" not in page
    assert "<41>" not in page


def test_markdown_has_a_row_per_mode_and_per_service(pages: tuple[str, str]) -> None:
    _, text = pages
    lines = text.splitlines()
    (line,) = [line for line in lines if line.startswith("| broker_restart | **")]
    assert line.startswith(
        "| broker_restart | **PASS** | < 10 s, backlog drained (T3) | 4.4 .. 6 | 0 records | 0 | 0 |"
    )
    assert len([line for line in lines if line.startswith("| feed_handler_crash | feed-handler-")]) == 3
    assert "not among k2_failure_modes_run \\| <all>" in text
    assert "| silver_processor_crash | **FAIL** | < 10 s | more than 58 |" in text


def test_every_row_of_a_markdown_table_is_as_wide_as_its_head(pages: tuple[str, str]) -> None:
    _, text = pages
    widths: list[int] = []
    for line in [*text.split("### Failure modes")[1].splitlines(), ""]:
        if line.startswith("|"):
            widths.append(line.replace("\\|", "").count("|"))
        else:
            assert len(set(widths)) <= 1
            widths = []

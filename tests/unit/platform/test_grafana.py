# SPDX-License-Identifier: Apache-2.0
"""The client of Grafana's API against a scripted server; the real one is in molecule/grafana."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana import (
    Access,
    Frame,
    GrafanaClient,
    GrafanaError,
    GrafanaRefused,
    GrafanaRejected,
    GrafanaUnreachable,
    NoSuchThing,
    NotGrafana,
    read_frame,
)

from .server import Script, serve


def client(script: Script, **access: Any) -> GrafanaClient:
    return GrafanaClient(Access(f"http://127.0.0.1:{script.port}/", timeout_s=2, **access))


def answering(path: str, answer: Any, status: int = 200) -> Script:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return Script(status=404, body=b'{"message":"Not found"}', by_path={path: (status, body)})


def frame(*columns: tuple[str, list[Any]]) -> dict[str, Any]:
    fields = [{"name": "f", "type": kind} for kind, _ in columns]
    return {"schema": {"fields": fields}, "data": {"values": [values for _, values in columns]}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (frame(("time", [1, 2]), ("number", [1.5, 0])), Frame(1, 2, 2)),
        (frame(("time", [1, 2]), ("number", [None, None])), Frame(1, 2, 0)),
        (frame(("time", [1]), ("number", [None]), ("number", [7])), Frame(2, 1, 1)),
        (frame(("time", []), ("number", [])), Frame(1, 0, 0)),
        (frame(("string", ["a"]), ("number", [1])), Frame(1, 1, 1)),
        (frame(("number", [float("nan")])), Frame(1, 1, 0)),
        ({}, Frame(0, 0, 0)),
    ],
    ids=["numbers", "nulls", "one of two", "no rows", "table", "NaN", "nothing"],
)
def test_what_a_frame_holds(given: dict[str, Any], expected: Frame) -> None:
    assert read_frame(given) == expected


def test_credentials_are_sent_and_a_token_goes_first() -> None:
    with serve(answering("/api/health", {"database": "ok", "version": "10.0.0"})) as script:
        assert client(script, username="u", password="p").version() == "10.0.0"
        client(script, username="u", password="p", token="t").version()
        assert script.requests[0][1]["Authorization"] == "Basic dTpw"
        assert script.requests[1][1]["Authorization"] == "Bearer t"
        # A data source that was changed is asked as it is, not as Grafana remembers it.
        assert {headers["X-Grafana-NoCache"] for _, headers, *_ in script.requests} == {"true"}
    assert "p'" not in repr(Access("http://x", "u", "p", "t"))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"message":"Invalid username or password"}', GrafanaRefused),
        (403, b"<html>no</html>", GrafanaRefused),
        (502, b"<html>bad gateway</html>", GrafanaUnreachable),
        (500, b'{"message":"database is locked"}', GrafanaUnreachable),
        (200, b"<html>a page</html>", NotGrafana),
        (412, b'{"message":"A dashboard with the same name in the folder already exists"}', GrafanaRejected),
        (200, b'{"database":"failing","version":"10.0.0"}', NotGrafana),
    ],
)
def test_what_goes_wrong_has_its_kind(status: int, body: bytes, kind: type[GrafanaError]) -> None:
    with serve(Script(status=status, body=body)) as script, pytest.raises(kind):
        client(script, username="admin").version()


def test_nobody_there_is_told_with_the_address() -> None:
    with serve(Script()) as script:
        gone = client(script)
    with pytest.raises(GrafanaUnreachable, match="expected: an answer from http://127"):
        gone.version()


def test_a_query_that_fails_is_an_answer_and_so_is_a_refusal_of_all() -> None:
    both = {
        "results": {
            "A": {"status": 200, "frames": [frame(("time", [1]), ("number", [3]))]},
            "B": {"status": 400, "error": "bad_data: parse error"},
        }
    }
    queries = [{"refId": "A"}, {"refId": "B"}]
    with serve(answering("/api/ds/query", both, 400)) as script:
        answers = client(script).query(queries, 60)
        assert json.loads(script.requests[0][2]) == {"queries": queries, "from": "now-60s", "to": "now"}
    assert answers["A"].frames == (Frame(1, 1, 1),)
    assert answers["B"].error == "bad_data: parse error"
    with serve(answering("/api/ds/query", {"message": "no such data source"}, 404)) as script:
        assert [each.error for each in client(script).query(queries, 60).values()] == ["no such data source"] * 2


def test_a_dashboard_that_is_not_there_names_the_nearest() -> None:
    found = [{"uid": "k2-broker", "title": "Broker"}]
    with (
        serve(answering("/api/search?type=dash-db&limit=1000&page=1", found)) as script,
        pytest.raises(NoSuchThing, match="did you mean 'k2-broker'"),
    ):
        client(script).dashboard("k2-brokr")


def test_an_empty_answer_to_an_order_is_no_error_and_one_to_a_question_is() -> None:
    with serve(Script(status=200, body=b"")) as script:
        client(script).reload("dashboards")
        assert script.requests[0][0] == "/api/admin/provisioning/dashboards/reload"
        with pytest.raises(NotGrafana):
            client(script).version()

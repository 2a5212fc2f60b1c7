# SPDX-License-Identifier: Apache-2.0
"""What is refused beforehand, what is planned, and the record of what is ours; the rest is in molecule/grafana."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.content import (
    BadContent,
    Content,
    Folder,
    SourceSpec,
    read_content,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.live import Live, check_foreign
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.manifest import (
    BadManifest,
    Manifest,
    read_manifest,
    write_manifest,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.plan import api_entry, plan, removal
from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana import Found, Stored

FOLDER = Folder("k2", "K2")
PROM = SourceSpec("prom", "Prom", "prometheus", "http://p:9090", interval="15s")


def model(uid: str = "a", title: str = "A", **more: Any) -> dict[str, Any]:
    return {"uid": uid, "title": title, "panels": [], **more}


def content(*models: Mapping[str, Any], sources: tuple[SourceSpec, ...] = (PROM,)) -> Content:
    return read_content(FOLDER, sources, [(f"{each['uid']}.json", json.dumps(each)) for each in models])


def live(
    *models: Mapping[str, Any], folder: str = "k2", tags: tuple[str, ...] = ("k2-hardening",), **more: Any
) -> Live:
    """A server that has these dashboards, the data source and the folder."""
    values: dict[str, Any] = {
        "version": "10.0.0",
        "listed": tuple(Found(each["uid"], each["title"], folder, "K2", tags) for each in models),
        "stored": {each["uid"]: Stored(each, folder, provisioned=False) for each in models},
        "sources": {"prom": {**api_entry(PROM), "id": 3}},
        "folders": {"k2": "K2"},
    }
    return Live(**{**values, **more})


def panel(number: int, x: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": f"p{number}", "gridPos": {"x": x, "y": 0, "w": 12, "h": 8}, **more}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ({"x.json": "{"}, "dashboard x.json: no JSON"),
        ({"x.json": "[]"}, "dashboard x.json: a list where a mapping belongs"),
        ({"x.json": '{"uid": "a"}'}, "dashboard x.json: no title"),
        ({"x.json": '{"title": "A"}'}, "dashboard x.json: uid None is not"),
        ({"x.json": '{"title": "A", "uid": "a/b"}'}, "dashboard x.json: uid 'a/b' is not"),
        ({"x.json": '{"title": "A", "uid": "a", "panels": {}}'}, "dashboard x.json: panels of"),
        (
            {"x.json": json.dumps(model()), "y.json": json.dumps(model(title="B"))},
            "dashboards x.json and y.json: uid 'a' twice",
        ),
        (
            {"x.json": json.dumps(model()), "y.json": json.dumps(model("b", " a"))},
            "dashboards x.json and y.json: title 'a' twice",
        ),
        (
            {"x.json": json.dumps(model(panels=[panel(1, 0), panel(1, 12)]))},
            "dashboard x.json: panels p1 and p1: id '1' twice",
        ),
        (
            {"x.json": json.dumps(model(panels=[panel(1, 0), panel(2, 11)]))},
            "dashboard x.json: panels 'p1' and 'p2' lie over each other",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(texts: Mapping[str, str], problem: str) -> None:
    with pytest.raises(BadContent) as caught:
        read_content(FOLDER, (), list(texts.items()))
    assert any(each.startswith(problem) for each in caught.value.problems), caught.value.problems


def test_all_problems_are_told_at_once() -> None:
    again = SourceSpec("prom", "Prom", "prometheus", "http://q", is_default=True)
    default = SourceSpec("c", "C", "prometheus", "http://q", is_default=True)
    with pytest.raises(BadContent) as caught:
        read_content(Folder("k/2", "K2"), (PROM, again, default), [("x.json", "{")])
    assert len(caught.value.problems) == 5


def test_nothing_is_planned_where_all_is_as_it_should_be() -> None:
    wanted = content(model())
    there = live({**wanted.dashboards[0].model, "id": 7, "version": 3})
    assert plan(wanted, there, Manifest(dashboards=("a",))) == ()


def test_what_differs_is_planned_and_what_is_no_longer_wanted_goes() -> None:
    wanted = content(model(title="New"), model("b", "B"))
    there = live(model(title="Old"), model("c", "C"))
    changes = [str(each) for each in plan(wanted, there, Manifest())]
    assert changes == ["update dashboard a", "create dashboard b", "delete dashboard c"]


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [("url", "http://q", True), ("isDefault", True, True), ("jsonData", {}, True), ("readOnly", True, False)],
)
def test_a_data_source_is_compared_by_what_it_does(key: str, value: object, changed: bool) -> None:
    there = live(sources={"prom": {**api_entry(PROM), key: value}})
    assert bool([each for each in plan(content(), there, Manifest()) if each.kind == "data source"]) is changed


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        (live(model(), tags=()), "uid 'a' is that of 'A' in folder 'K2', which is not ours"),
        (live(model(), folder="other"), "uid 'a' is that of 'A'"),
        (live(model("b", "a"), tags=()), "title 'A' is taken in folder 'K2' by 'b'"),
        (live(sources={"x": {"uid": "x", "name": "Prom"}}), "its name is taken by uid 'x'"),
        (live(sources={"prom": {**api_entry(PROM), "url": "http://q"}}), "uid 'prom' is taken by 'Prom'"),
        (live(folders={"z": "K2"}), "its title is taken by uid 'z'"),
    ],
    ids=["uid", "uid elsewhere", "title", "source's name", "source's uid", "folder"],
)
def test_what_is_anothers_is_never_replaced(there: Live, problem: str) -> None:
    with pytest.raises(BadContent, match=problem):
        check_foreign(content(model()), there, Manifest())


def test_what_is_on_record_is_ours_without_its_tag() -> None:
    there = live(model(), tags=(), sources={"prom": {**api_entry(PROM), "url": "http://old"}})
    check_foreign(content(model()), there, Manifest(dashboards=("a",), sources=(("prom", "Prom"),)))


def test_removal_takes_ours_and_keeps_a_folder_that_others_use() -> None:
    theirs = Found("t", "T", "k2", "K2", ())
    there = live(model())
    ours = Manifest(dashboards=("a",), sources=(("prom", "Prom"),), folder="k2")
    nothing = Content(FOLDER, (), ())
    assert [str(each) for each in removal(nothing, there, ours)] == [
        "delete dashboard a",
        "delete data source prom",
        "delete folder k2",
    ]
    there = live(model(), listed=(*there.listed, theirs))
    assert [str(each) for each in removal(nothing, there, ours)] == ["delete dashboard a", "delete data source prom"]
    # A folder that was there before us, and a data source that we found, are not ours.
    assert [str(each) for each in removal(nothing, live(model()), Manifest())] == ["delete dashboard a"]


def test_the_record_is_kept_and_an_empty_one_removed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "grafana.json"
    assert read_manifest(path) == Manifest()
    kept = Manifest(("a", "b"), (("prom", "Prom"),), "k2", ("/f",))
    write_manifest(path, kept)
    assert read_manifest(path) == kept
    write_manifest(path, Manifest())
    assert not path.exists()
    path.write_text('{"schema": 9}')
    with pytest.raises(BadManifest, match="schema 9"):
        read_manifest(path)


def test_no_secret_is_shown() -> None:
    source = SourceSpec("s", "S", "prometheus", "http://p", basic_auth_user="u", basic_auth_password="correct-horse")
    changes = plan(content(sources=(source,)), live(), Manifest())
    assert "correct-horse" not in repr(changes)
    assert "correct-horse" not in repr(source)
    assert api_entry(source)["secureJsonData"] == {"basicAuthPassword": "correct-horse"}

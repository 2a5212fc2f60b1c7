# SPDX-License-Identifier: Apache-2.0
"""Files of ours beside files of others: what is written, pruned, refused, rolled back and given back."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.deploy.checker import Checker
from ansible_collections.k2.hardening.plugins.module_utils.deploy.deployment import Deployment, Request
from ansible_collections.k2.hardening.plugins.module_utils.deploy.errors import (
    CannotDeploy,
    CheckFailed,
    NotVerified,
    RolledBack,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.expected import Expected
from ansible_collections.k2.hardening.plugins.module_utils.deploy.tree import Content, Tree

CONFIG = "server.yml"
WANTED = {CONFIG: Content("ours\n"), "rules/a.yml": Content("a\n"), "secrets/key": Content("s3cret", is_secret=True)}


class FakeServer:
    """Loads whatever lies in the directory at a reload, unless it is told not to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loaded = self.on_disk()
        self.is_deaf = False
        self.is_away = False
        self.refuses: str | None = None
        self.reloads = 0

    def on_disk(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text(encoding="utf-8")
            for path in self.root.rglob("*")
            if path.is_file() and ".k2_hardening" not in path.parts
        }

    def check(self, stage: Path, checker: Checker, tests: Mapping[str, str], expected: Expected) -> None:
        for path in stage.rglob("*"):
            if self.refuses and path.is_file() and self.refuses in path.read_text(encoding="utf-8"):
                raise CheckFailed("refused", seen=str(path))

    def reload(self) -> None:
        self.reloads += 1
        if not self.is_deaf:
            self.loaded = self.on_disk()

    def differences(self, root: Path, expected: Expected) -> list[str]:
        return [] if self.loaded == self.on_disk() else ["it runs something else"]

    def reachable(self) -> str:
        if self.is_away:
            raise K2Error("it does not answer")
        return "1.0"


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    root = tmp_path / "etc"
    (root / "rules").mkdir(parents=True)
    (root / CONFIG).write_text("original\n", encoding="utf-8")
    (root / "rules" / "theirs.yml").write_text("theirs\n", encoding="utf-8")
    return root


@pytest.fixture(name="server")
def _server(root: Path) -> FakeServer:
    return FakeServer(root)


def deployment(root: Path, server: FakeServer, *, seen_as: str | None = None) -> Deployment:
    return Deployment(Tree(root, (CONFIG,)), server, Checker((sys.executable,), root, Path(seen_as or root)))


def request(files: Mapping[str, Content] = WANTED) -> Request:
    return Request(files, {}, Expected(), verify_s=0.0)


def texts(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file()}


def test_files_are_deployed_and_a_second_run_changes_nothing(root: Path, server: FakeServer) -> None:
    first = deployment(root, server).run(request())
    assert first.changed
    assert first.reloaded
    assert server.loaded[CONFIG] == "ours\n"
    assert stat.S_IMODE((root / "secrets/key").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "rules/a.yml").stat().st_mode) == 0o644
    before = texts(root)
    second = deployment(root, server).run(request())
    assert not second.changed
    assert server.reloads == 1
    assert texts(root) == before


def test_the_directory_keeps_its_inode(root: Path, server: FakeServer) -> None:
    inode = root.stat().st_ino
    deployment(root, server).run(request())
    assert root.stat().st_ino == inode


def test_what_is_no_longer_wanted_is_pruned_and_others_files_stay(root: Path, server: FakeServer) -> None:
    deployment(root, server).run(request())
    deployment(root, server).run(request({CONFIG: WANTED[CONFIG]}))
    assert set(server.on_disk()) == {CONFIG, "rules/theirs.yml"}


def test_a_file_of_ours_that_somebody_changed_is_not_pruned(root: Path, server: FakeServer) -> None:
    deployment(root, server).run(request())
    (root / "rules/a.yml").write_text("mended\n", encoding="utf-8")
    server.reload()
    outcome = deployment(root, server).run(request({CONFIG: WANTED[CONFIG]}))
    assert "rules/a.yml was changed by somebody" in outcome.warnings[0]
    assert (root / "rules/a.yml").read_text(encoding="utf-8") == "mended\n"


def test_leaving_gives_back_what_was_there(root: Path, server: FakeServer) -> None:
    before = texts(root)
    deployment(root, server).run(request())
    outcome = deployment(root, server).run(request({}))
    assert outcome.changed
    assert texts(root) == before
    assert sorted(path.name for path in root.iterdir()) == ["rules", CONFIG]
    assert not deployment(root, server).run(request({})).changed


def test_a_file_of_somebody_else_in_the_way_is_refused(root: Path, server: FakeServer) -> None:
    before = texts(root)
    with pytest.raises(CannotDeploy, match=r"rules/theirs.yml is not ours to replace"):
        deployment(root, server).run(request({"rules/theirs.yml": Content("ours")}))
    assert texts(root) == before


def test_what_the_checker_refuses_is_never_live(root: Path, server: FakeServer) -> None:
    deployment(root, server).run(request())
    before, server.refuses = server.on_disk(), "broken"
    with pytest.raises(CheckFailed):
        deployment(root, server).run(request({**WANTED, "rules/a.yml": Content("broken")}))
    assert server.on_disk() == before
    assert server.loaded == before
    assert not (root / ".k2_hardening" / "staged").exists()


def test_what_does_not_verify_is_rolled_back(root: Path, server: FakeServer) -> None:
    deployment(root, server).run(request())
    before, server.is_deaf = server.on_disk(), True
    with pytest.raises(RolledBack, match="it runs something else") as rolled_back:
        deployment(root, server).run(request({**WANTED, "rules/a.yml": Content("new"), "rules/b.yml": Content("b")}))
    assert "the old configuration is back and loaded" in str(rolled_back.value)
    assert server.on_disk() == before
    assert server.loaded == before
    server.is_deaf = False
    assert not deployment(root, server).run(request()).changed


def test_a_first_deployment_that_does_not_verify_leaves_nothing(root: Path, server: FakeServer) -> None:
    before, server.is_deaf = texts(root), True
    with pytest.raises(RolledBack):
        deployment(root, server).run(request())
    assert texts(root) == before


def test_a_server_that_runs_something_else_is_told_once(root: Path, server: FakeServer) -> None:
    deployment(root, server).run(request())
    server.loaded = {}
    outcome = deployment(root, server).run(request())
    assert outcome.changed
    assert outcome.reloaded
    server.loaded, server.is_deaf = {}, True
    with pytest.raises(NotVerified):
        deployment(root, server).run(request())


def test_a_server_that_is_away_changes_nothing(root: Path, server: FakeServer) -> None:
    before, server.is_away = texts(root), True
    with pytest.raises(K2Error, match="does not answer"):
        deployment(root, server).run(request())
    assert texts(root) == before


@pytest.mark.parametrize("what", ["nothing", "file", "read-only"])
def test_an_unusable_directory_is_refused_by_name(
    root: Path, server: FakeServer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"nothing": root / "none", "file": root / CONFIG, "read-only": root}[what]
    # Root may write anywhere but to what is mounted read-only; the kernel's answer to that is what counts.
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: what != "read-only" and access(path, mode))
    with pytest.raises(CannotDeploy, match=str(place)):
        deployment(place, server).run(request())


def test_a_killed_swap_is_put_back_by_the_next_run(root: Path, server: FakeServer) -> None:
    deployment(root, server).run(request())
    tree = Tree(root, (CONFIG,))
    wanted = {**WANTED, CONFIG: Content("newer\n"), "rules/b.yml": Content("b\n")}
    plan = tree.plan(wanted)
    with tree.staged(wanted, plan) as stage:
        tree.swap(stage, plan)
    assert (root / "rules/b.yml").exists()
    outcome = deployment(root, server).run(request())
    assert "killed in the middle" in outcome.warnings[-1]
    assert server.on_disk()[CONFIG] == "ours\n"
    assert not (root / "rules/b.yml").exists()


def test_a_preview_changes_nothing_and_shows_no_secret(root: Path, server: FakeServer) -> None:
    before = texts(root)
    outcome = deployment(root, server).preview(request())
    assert outcome.changed
    assert texts(root) == before
    assert {path for path, _, _ in outcome.diffs} == set(WANTED)
    assert "s3cret" not in str(outcome)
    server.refuses = "ours"
    with pytest.raises(CheckFailed):
        deployment(root, server).preview(request())
    unchecked = deployment(root, server, seen_as="/etc/server").preview(request())
    assert "not checked by its tool" in unchecked.warnings[-1]
    assert texts(root) == before


def test_there_is_no_checker(root: Path) -> None:
    with pytest.raises(CheckFailed, match="no program 'no-such-tool'"):
        Checker(("no-such-tool",), root, root).attempt("check")

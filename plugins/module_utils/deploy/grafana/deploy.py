# SPDX-License-Identifier: Apache-2.0
"""Make Grafana as it should be, look whether it is, and put everything back where it is not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...platform.grafana import GrafanaClient, NoSuchThing
from .backend import Backend, Work
from .content import Content
from .live import Live, check_foreign, look
from .manifest import Manifest, read_manifest, write_manifest
from .plan import Change, plan, removal

_LOOK_AGAIN_S = 0.5


class DeployFailed(K2Error):  # noqa: N818 - see core.errors
    """What was deployed is not what runs; all is as it was before, unless the message says otherwise."""


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be: the changes, and Grafana's version."""

    version: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Deployment:
    """One deployment: by whom, where its record is kept, how long Grafana may take to show it."""

    client: GrafanaClient
    backend: Backend
    manifest: Path
    verify_s: float
    check_health: bool = True


def make_present(deployment: Deployment, content: Content, check_only: bool) -> Outcome:
    """Deploy ``content``.

    :raises BadContent: it would take the place of what is another's. :raises DeployFailed: it did not hold.
    """
    manifest = read_manifest(deployment.manifest)
    deployment.backend.check(manifest)
    live = look(deployment.client, content, manifest)
    check_foreign(content, live, manifest)
    changes = (*plan(content, live, manifest), *deployment.backend.pending(content, manifest))
    if check_only:
        return Outcome(live.version, changes)
    final = _ours(deployment, content, live, manifest)
    if changes:
        # Both, until it is known how it ended: whoever comes after a kill knows all that may be ours.
        write_manifest(deployment.manifest, _both(manifest, final))
        work = Work(content, live, manifest, changes)
        try:
            deployment.backend.present(work)
            _verify(deployment, content, changes)
        except K2Error as error:
            _take_back(deployment, work, error)
    else:
        _verify(deployment, content, ())
    write_manifest(deployment.manifest, final)
    return Outcome(live.version, changes)


def make_absent(deployment: Deployment, content: Content, check_only: bool) -> Outcome:
    """Take away what this tool put there, and nothing else. Raises DeployFailed."""
    manifest = read_manifest(deployment.manifest)
    nothing = Content(content.folder, (), ())
    live = look(deployment.client, nothing, manifest)
    changes = (*removal(nothing, live, manifest), *deployment.backend.pending(nothing, manifest))
    if check_only or not changes:
        if not check_only:
            write_manifest(deployment.manifest, Manifest())
        return Outcome(live.version, changes)
    deployment.backend.check(manifest)
    work = Work(nothing, live, manifest, changes)
    try:
        deployment.backend.absent(work)
        _verify(deployment, nothing, changes)
    except K2Error as error:
        _take_back(deployment, work, error)
    write_manifest(deployment.manifest, Manifest())
    return Outcome(live.version, changes)


def _ours(deployment: Deployment, content: Content, live: Live, manifest: Manifest) -> Manifest:
    """What is ours once ``content`` is there; a data source or folder that was there before us never becomes ours."""
    had = {uid for uid, _ in manifest.sources}
    sources = tuple((s.uid, s.name) for s in content.sources if s.uid in had or s.uid not in live.sources)
    made_folder = manifest.folder == content.folder.uid or content.folder.uid not in live.folders
    return Manifest(
        dashboards=tuple(sorted(spec.uid for spec in content.dashboards)),
        sources=sources,
        folder=content.folder.uid if made_folder and content.dashboards else "",
        files=deployment.backend.files(content),
    )


def _both(one: Manifest, other: Manifest) -> Manifest:
    return Manifest(
        dashboards=tuple(sorted({*one.dashboards, *other.dashboards})),
        sources=tuple(sorted({*one.sources, *other.sources})),
        folder=other.folder or one.folder,
        files=tuple(sorted({*one.files, *other.files})),
    )


def _verify(deployment: Deployment, content: Content, changes: tuple[Change, ...]) -> None:
    """Read everything back until it is as it should be: an answer to a reload says nothing about what was read.

    :raises DeployFailed: with what is still otherwise when the time is up.
    """
    deadline = Deadline.after(deployment.verify_s)
    while problems := _differences(deployment, content, changes):
        if deadline.passed:
            raise DeployFailed(
                "Grafana is not as it should be",
                expected=f"what was deployed, within {deployment.verify_s:g} s",
                seen="; ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else ""),
                action="look into Grafana's own log for what it would not read",
            )
        time.sleep(_LOOK_AGAIN_S)


def _differences(deployment: Deployment, content: Content, changes: tuple[Change, ...]) -> list[str]:
    live = look(deployment.client, content, Manifest())
    problems = [f"{change} has not happened" for change in plan(content, live, Manifest()) if change.action != "delete"]
    for change in changes:
        if change.action != "delete":
            continue
        there = (
            change.name in {found.uid for found in live.listed}
            if change.kind == "dashboard"
            else change.name in live.sources
            if change.kind == "data source"
            else change.name in live.folders
            if change.kind == "folder"
            else Path(change.name).exists()
        )
        if there:
            problems.append(f"{change} has not happened")
    if deployment.check_health and not problems:
        for source in content.sources:
            try:
                why = deployment.client.data_source_health(source.uid)
            except NoSuchThing as error:
                why = str(error)
            if why is not None:
                problems.append(f"data source {source.name!r} cannot be queried: {why}")
    return problems


def _take_back(deployment: Deployment, work: Work, error: K2Error) -> NoReturn:
    try:
        deployment.backend.restore(work)
        write_manifest(deployment.manifest, work.manifest)
    except K2Error as second:
        raise DeployFailed(
            f"{error.message}, and putting back what was there before failed, too",
            seen=f"{error}; then: {second}",
            action="deploy again once Grafana answers: what is ours is still on record",
        ) from error
    raise DeployFailed(
        f"{error.message}; what was there before is back",
        expected=error.expected,
        seen=error.seen,
        action=error.action,
    ) from error

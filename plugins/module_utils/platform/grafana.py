# SPDX-License-Identifier: Apache-2.0
"""A small client of Grafana's HTTP API: what is there, what a query returns, and what may be put there or taken away.

Standard library only. Written against Grafana 10 and 11; Grafana answers some failures with 200 and others with a body
that tells more than the status, so the body is looked at first.
"""

from __future__ import annotations

import base64
import http
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union
from urllib.parse import quote, urlencode

from ..core.clock import utc_us
from ..core.errors import K2Error
from ..core.suggest import did_you_mean
from .http_api import BodyTooLarge, exchange

TIMEOUT_S = 10.0
_PAGE = 1000
_HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    # Else Grafana asks a data source for five seconds as it was before it was changed.
    "X-Grafana-NoCache": "true",
}


class GrafanaError(K2Error):
    """Base of what can go wrong between this client and a server."""


class GrafanaUnreachable(GrafanaError):  # noqa: N818 - see core.errors
    """No answer, none in time, or the server says that it cannot answer now."""


class GrafanaRefused(GrafanaError):  # noqa: N818 - see core.errors
    """The credentials are wrong, or they may not do this."""


class NotGrafana(GrafanaError):  # noqa: N818 - see core.errors
    """What answers is not Grafana's API, or not one this client can read."""


class GrafanaRejected(GrafanaError):  # noqa: N818 - see core.errors
    """The server would not take what it was given."""


class NoSuchThing(GrafanaError):  # noqa: N818 - see core.errors
    """The server has no folder, dashboard or data source of that uid."""


@dataclass(frozen=True)
class Access:
    """Where Grafana is and who asks: a token of a service account, else user and password, else nobody."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True)
class DataSource:
    """A data source; ``interval`` is how often its data are scraped, as Grafana was told, empty where it was not."""

    uid: str
    name: str
    type: str
    url: str = ""
    is_default: bool = False
    interval: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class Found:
    """A dashboard as the search lists it."""

    uid: str
    title: str
    folder_uid: str
    folder_title: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """A dashboard as the server keeps it; ``provisioned``: a file brought it, and only a file changes it."""

    model: Mapping[str, Any]
    folder_uid: str
    provisioned: bool


@dataclass(frozen=True)
class Frame:
    """One frame of an answer: its number of value columns, and how many numbers are in them and are not null."""

    columns: int
    rows: int
    numbers: int


@dataclass(frozen=True)
class Answer:
    """What one query returned: frames, or why not."""

    frames: tuple[Frame, ...]
    error: Optional[str] = None


class GrafanaClient:
    """Questions and orders to one server. Stateless: a connection each."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._url = access.url.rstrip("/")

    # -- what is there -----------------------------------------------------------------------------------------------

    def version(self) -> str:
        """The server's version; the only question that needs no credentials.

        :raises GrafanaError: one of its kinds, also where the server says that its own database is not well.
        """
        _, answer = self._ask("GET", "/api/health")
        health = self._mapping(answer)
        if health.get("database") != "ok" or not isinstance(health.get("version"), str):
            raise self._unreadable(f"health {json.dumps(answer)[:200]}")
        return str(health["version"])

    def data_sources(self) -> tuple[DataSource, ...]:
        """All data sources; takes an administrator."""
        return tuple(self._data_source(entry) for entry in self._listed(self._ask("GET", "/api/datasources")[1]))

    def data_source(self, uid: str) -> Mapping[str, Any]:
        """A data source as the server keeps it; raises NoSuchThing."""
        return self._mapping(self._ask("GET", f"/api/datasources/uid/{quote(uid, safe='')}")[1])

    def data_source_health(self, uid: str) -> Optional[str]:
        """Why the data source cannot be queried, None where it can."""
        status, answer = self._ask("GET", f"/api/datasources/uid/{quote(uid, safe='')}/health", tolerate=True)
        said = self._mapping(answer)
        if status == http.HTTPStatus.OK and str(said.get("status", "")).upper() == "OK":
            return None
        return str(said.get("message") or said.get("error") or f"HTTP {status}")

    def search(self, tags: Sequence[str] = (), folder_uid: str = "") -> tuple[Found, ...]:
        """Dashboards, all of them or those with all ``tags`` or in a folder."""
        found: list[Found] = []
        page = 1
        while True:
            query = [("type", "dash-db"), ("limit", str(_PAGE)), ("page", str(page)), *(("tag", tag) for tag in tags)]
            entries = self._listed(self._ask("GET", f"/api/search?{urlencode(query)}")[1])
            found += [self._found(entry) for entry in entries]
            if len(entries) < _PAGE:
                return tuple(each for each in found if not folder_uid or each.folder_uid == folder_uid)
            page += 1

    def dashboard(self, uid: str) -> Stored:
        """A dashboard; raises NoSuchThing, which names the nearest one that is there."""
        try:
            answer = self._mapping(self._ask("GET", f"/api/dashboards/uid/{quote(uid, safe='')}")[1])
        except NoSuchThing as error:
            raise NoSuchThing(
                f"there is no dashboard {uid!r}", seen=did_you_mean(uid, [each.uid for each in self.search()])
            ) from error
        meta = self._mapping(answer.get("meta"))
        return Stored(
            self._mapping(answer.get("dashboard")), str(meta.get("folderUid") or ""), bool(meta.get("provisioned"))
        )

    def folder_title(self, uid: str) -> Optional[str]:
        """The title of a folder, None where there is none of that uid."""
        try:
            return str(self._mapping(self._ask("GET", f"/api/folders/{quote(uid, safe='')}")[1]).get("title"))
        except NoSuchThing:
            return None

    def folders(self) -> Mapping[str, str]:
        """Titles of all folders by uid."""
        entries = self._listed(self._ask("GET", f"/api/folders?limit={_PAGE}")[1])
        return {str(entry.get("uid")): str(entry.get("title")) for entry in entries}

    # -- what a query returns ----------------------------------------------------------------------------------------

    def query(self, queries: Sequence[Mapping[str, Any]], window_s: float) -> Mapping[str, Answer]:
        """Answers by ``refId`` over the last ``window_s`` seconds; a query that fails is an answer with its error."""
        question = {"queries": list(queries), "from": f"now-{round(window_s)}s", "to": "now"}
        status, answer = self._ask("POST", "/api/ds/query", question, tolerate=True)
        said = self._mapping(answer)
        results = said.get("results")
        if not isinstance(results, Mapping):
            reason = str(said.get("message") or said.get("error") or f"HTTP {status}")
            return {str(query["refId"]): Answer((), reason) for query in queries}
        return {str(ref): self._answer(result) for ref, result in results.items()}

    def label_values(self, source_uid: str, label: str, selector: str, window_s: float) -> tuple[str, ...]:
        """The values that a label has in a Prometheus data source, of series that ``selector`` matches."""
        now = utc_us() // 1_000_000
        asked = [("start", str(now - round(window_s))), ("end", str(now))]
        asked += [("match[]", selector)] if selector else []
        path = (
            f"/api/datasources/uid/{quote(source_uid, safe='')}/resources/api/v1/label/{quote(label, safe='')}/values"
        )
        said = self._mapping(self._ask("GET", f"{path}?{urlencode(asked)}")[1])
        values = said.get("data")
        if not isinstance(values, list):
            raise self._unreadable(f"label values without data: {json.dumps(said)[:200]}")
        return tuple(str(value) for value in values)

    # -- what may be put there or taken away -------------------------------------------------------------------------

    def save_folder(self, uid: str, title: str) -> None:
        """Make the folder, or give it this title."""
        if self.folder_title(uid) is None:
            self._ask("POST", "/api/folders", {"uid": uid, "title": title})
        else:
            self._ask("PUT", f"/api/folders/{quote(uid, safe='')}", {"title": title, "overwrite": True})

    def delete_folder(self, uid: str) -> None:
        """Delete a folder; Grafana takes what is in it along, so look first."""
        self._ask("DELETE", f"/api/folders/{quote(uid, safe='')}")

    def save_dashboard(self, model: Mapping[str, Any], folder_uid: str, message: str) -> None:
        """Put a dashboard there, in place of one of the same uid."""
        order = {"dashboard": {**model, "id": None}, "folderUid": folder_uid, "overwrite": True, "message": message}
        self._ask("POST", "/api/dashboards/db", order)

    def delete_dashboard(self, uid: str) -> None:
        """Delete a dashboard that no file provides."""
        self._ask("DELETE", f"/api/dashboards/uid/{quote(uid, safe='')}")

    def save_data_source(self, entry: Mapping[str, Any]) -> None:
        """Put a data source there, in place of one of the same uid."""
        try:
            self.data_source(str(entry["uid"]))
        except NoSuchThing:
            self._ask("POST", "/api/datasources", entry)
            return
        self._ask("PUT", f"/api/datasources/uid/{quote(str(entry['uid']), safe='')}", entry)

    def delete_data_source(self, uid: str) -> None:
        """Delete a data source that no file provides."""
        self._ask("DELETE", f"/api/datasources/uid/{quote(uid, safe='')}")

    def reload(self, what: str) -> None:
        """Read the provisioning files of ``dashboards`` or ``datasources`` again.

        The answer says nothing about the files: a dashboard that cannot be read is logged, and the answer is 200.
        """
        self._ask("POST", f"/api/admin/provisioning/{what}/reload")

    # -- plumbing ----------------------------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, question: Optional[object] = None, tolerate: bool = False
    ) -> tuple[int, object]:
        """Status and decoded answer; with ``tolerate`` also those of a failure behind Grafana."""
        headers = {**_HEADERS, **self._credentials()}
        body = None if question is None else json.dumps(question).encode()
        try:
            response = exchange(method, self._url, path, body=body, headers=headers, timeout_s=self._access.timeout_s)
        except BodyTooLarge as error:
            raise self._unreadable(str(error)) from error
        except OSError as error:
            raise GrafanaUnreachable(
                "Grafana did not answer",
                expected=f"an answer from {self._url} within {self._access.timeout_s:g} s",
                seen=f"{type(error).__name__}: {error}",
                action="check that it runs and that k2_alerting.grafana_url names it",
            ) from error
        return response.status, self._judged(method, path, response.status, response.body, tolerate)

    def _judged(self, method: str, path: str, status: int, text: bytes, tolerate: bool) -> object:
        start = " ".join(text[:400].decode("utf-8", "replace").split())
        if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            raise GrafanaRefused(
                f"Grafana refused {method} {path.partition('?')[0]}",
                expected=f"credentials that may do this at {self._url}",
                seen=f"HTTP {status} as {self._who()}: {start}",
                action="check k2_grafana_username and its password, or k2_grafana_token",
            )
        if not text and status < http.HTTPStatus.MULTIPLE_CHOICES:
            return {}  # as after a folder is deleted
        try:
            answer: object = json.loads(text)
        except ValueError as error:
            if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise self._unavailable(status, start) from error
            raise self._unreadable(f"HTTP {status} and no JSON: {start}") from error
        if status < http.HTTPStatus.MULTIPLE_CHOICES or tolerate:
            return answer
        if status == http.HTTPStatus.NOT_FOUND:
            raise NoSuchThing(f"Grafana has nothing at {path.partition('?')[0]}", seen=start)
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._unavailable(status, start)
        raise GrafanaRejected(f"Grafana rejected {method} {path.partition('?')[0]}", seen=f"HTTP {status}: {start}")

    def _credentials(self) -> dict[str, str]:
        if self._access.token:
            return {"Authorization": f"Bearer {self._access.token}"}
        if not self._access.username:
            return {}
        pair = f"{self._access.username}:{self._access.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}

    def _who(self) -> str:
        return "a token" if self._access.token else self._access.username or "nobody"

    @staticmethod
    def _answer(result: object) -> Answer:
        if not isinstance(result, Mapping):
            return Answer((), "an answer that is no mapping")
        frames = tuple(read_frame(frame) for frame in result.get("frames") or () if isinstance(frame, Mapping))
        return Answer(frames, str(result["error"]) if result.get("error") else None)

    def _data_source(self, entry: Mapping[str, Any]) -> DataSource:
        settings = entry.get("jsonData")
        return DataSource(
            uid=str(entry.get("uid")),
            name=str(entry.get("name")),
            type=str(entry.get("type")),
            url=str(entry.get("url") or ""),
            is_default=bool(entry.get("isDefault")),
            interval=str(settings.get("timeInterval") or "") if isinstance(settings, Mapping) else "",
            read_only=bool(entry.get("readOnly")),
        )

    def _found(self, entry: Mapping[str, Any]) -> Found:
        return Found(
            uid=str(entry.get("uid")),
            title=str(entry.get("title")),
            folder_uid=str(entry.get("folderUid") or ""),
            folder_title=str(entry.get("folderTitle") or ""),
            tags=tuple(str(tag) for tag in entry.get("tags") or ()),
        )

    def _mapping(self, answer: object) -> Mapping[str, Any]:
        if not isinstance(answer, Mapping):
            raise self._unreadable(f"a {type(answer).__name__} where a mapping belongs")
        return answer

    def _listed(self, answer: object) -> list[Mapping[str, Any]]:
        if not isinstance(answer, list):
            raise self._unreadable(f"a {type(answer).__name__} where a list belongs")
        return [self._mapping(each) for each in answer]

    def _unavailable(self, status: int, start: str) -> GrafanaUnreachable:
        return GrafanaUnreachable(
            "Grafana cannot answer", expected=f"an answer from {self._url}", seen=f"HTTP {status}: {start}"
        )

    def _unreadable(self, seen: str) -> NotGrafana:
        return NotGrafana(
            "this is not Grafana's API",
            expected=f"the HTTP API of Grafana at {self._url}",
            seen=seen,
            action="let k2_alerting.grafana_url be the address that Grafana itself has, without a path of its pages",
        )


def read_frame(frame: Mapping[str, Any]) -> Frame:
    """What a data frame holds: columns of values beside the time, rows, and numbers that are neither null nor NaN.

    NaN travels as null, so both count as no number.
    """
    schema, data = frame.get("schema"), frame.get("data")
    fields = schema.get("fields", []) if isinstance(schema, Mapping) else []
    values = data.get("values", []) if isinstance(data, Mapping) else []
    columns = rows = numbers = 0
    for described, column in zip(fields, values):
        rows = max(rows, len(column))
        if described.get("type") == "number":
            columns += 1
            numbers += sum(_is_number(value) for value in column)
    return Frame(columns, rows, numbers)


def _is_number(value: Union[bool, float, int, str, None]) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)

"""Users, sessions, requests and errors: the rules that need no engine."""

from __future__ import annotations

import hashlib
import json
import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from k2lab.clickhouse_front.datadir import DataDirLock, InUseError, listen
from k2lab.clickhouse_front.errors import ClickHouseError, http_status
from k2lab.clickhouse_front.request import HttpSession, QueryRequest
from k2lab.clickhouse_front.sessions import Sessions
from k2lab.clickhouse_front.users import Credentials, ReadOnly, Users, UsersFileError


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "ann", "password_sha256": hashlib.sha256(b"secret").hexdigest(), **changes}


def users_file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "users.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


class TestUsers:
    def test_a_user_is_known_by_the_password(self, tmp_path: Path) -> None:
        users = Users.load(users_file(tmp_path, [entry(readonly=2, settings={"max_threads": 1, "final": True})]))
        user = users.authenticate(Credentials("ann", "secret"))
        assert user.readonly is ReadOnly.WITH_SETTINGS
        assert dict(user.settings) == {"max_threads": "1", "final": "1"}

    @pytest.mark.parametrize(
        ("credentials", "status"),
        [
            (Credentials("ann", "wrong"), 403),
            (Credentials("bob", "secret"), 403),
            (Credentials("ann", ""), 403),
            (None, 401),
        ],
    )
    def test_others_are_refused(self, tmp_path: Path, credentials: Credentials | None, status: int) -> None:
        users = Users.load(users_file(tmp_path, [entry()]))
        with pytest.raises(ClickHouseError) as caught:
            users.authenticate(credentials)
        assert (caught.value.code, caught.value.status) == (516, status)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not JSON"),
            ([], "at least one user"),
            ([entry(), entry()], "same name"),
            ([entry(password="x")], r"entry 0: unknown keys \['password'\]"),
            ([entry(password_sha256="x")], "64 hexadecimal"),
            ([entry(readonly=3)], "must be 0, 1 or 2, seen 3"),
            ([entry(settings=[])], "`settings` must map"),
            (["ann"], "expected an object"),
        ],
    )
    def test_a_wrong_file_says_what_is_wrong(self, tmp_path: Path, content: Any, message: str) -> None:
        with pytest.raises(UsersFileError, match=message):
            Users.load(users_file(tmp_path, content))

    @pytest.mark.parametrize(
        ("headers", "query", "expected"),
        [
            ({}, {}, None),
            ({"X-ClickHouse-User": "a", "X-ClickHouse-Key": "b"}, {"user": "c"}, Credentials("a", "b")),
            ({"Authorization": "Basic " + b64encode(b"a:b:c").decode()}, {}, Credentials("a", "b:c")),
            ({}, {"user": "a"}, Credentials("a", "")),
            ({}, {"password": "b"}, Credentials("default", "b")),
        ],
    )
    def test_where_credentials_come_from(
        self, headers: dict[str, str], query: dict[str, str], expected: Credentials | None
    ) -> None:
        assert Credentials.from_request(headers, query) == expected

    @pytest.mark.parametrize("value", ["Bearer x", "Basic ???", "Basic " + b64encode(b"nocolon").decode()])
    def test_other_authorization_is_refused(self, value: str) -> None:
        with pytest.raises(ClickHouseError) as caught:
            Credentials.from_request({"Authorization": value}, {})
        assert caught.value.code == 516


class TestRequests:
    def test_what_is_not_reserved_is_a_setting(self) -> None:
        request = QueryRequest.parse({}, {"query": "SELECT 1", "max_threads": "1", "param_x": "2", "user": "a"})
        assert request.settings == {"max_threads": "1"}
        assert request.parameters == {"x": "2"}
        assert (request.query, request.output_format, request.session) == (b"SELECT 1", "TabSeparated", None)

    def test_every_request_has_an_id_of_its_own(self) -> None:
        ids = {QueryRequest.parse({}, {}).query_id for _ in range(3)}
        assert len(ids) == 3
        assert QueryRequest.parse({}, {"query_id": "mine"}).query_id == "mine"

    def test_formats_and_encodings(self) -> None:
        headers = {"X-ClickHouse-Format": "JSON", "Accept-Encoding": "gzip", "Content-Encoding": "LZ4"}
        request = QueryRequest.parse(headers, {})
        assert (request.output_format, request.accept_encoding, request.content_encoding) == ("JSON", None, "lz4")
        assert QueryRequest.parse(headers, {"enable_http_compression": "1"}).accept_encoding == "gzip"

    @pytest.mark.parametrize("query", [{"compress": "x"}, {"session_id": "s", "session_timeout": "-1"}])
    def test_nonsense_is_refused(self, query: dict[str, str]) -> None:
        with pytest.raises(ClickHouseError, match="expected"):
            QueryRequest.parse({}, query)


class TestSessions:
    def test_statements_are_kept_until_the_timeout(self) -> None:
        now = [0.0]
        sessions = Sessions(clock=lambda: now[0])
        wanted = HttpSession("s", timeout_s=60, must_exist=False, close_after=False)
        with sessions.enter("ann", wanted) as history:
            history.append("SET max_threads = 1")
        with sessions.enter("bob", wanted) as history:
            assert history == []
        now[0] = 59.0
        with sessions.enter("ann", wanted) as history:
            assert history == ["SET max_threads = 1"]
        now[0] = 120.0
        with sessions.enter("ann", wanted) as history:
            assert history == []

    def test_one_request_at_a_time(self) -> None:
        sessions = Sessions()
        wanted = HttpSession("s", 60, must_exist=False, close_after=False)
        with sessions.enter("ann", wanted), pytest.raises(ClickHouseError) as caught, sessions.enter("ann", wanted):
            pass
        assert caught.value.code == 373

    def test_a_session_that_must_exist(self) -> None:
        wanted = HttpSession("s", 60, must_exist=True, close_after=False)
        with pytest.raises(ClickHouseError) as caught, Sessions().enter("ann", wanted):
            pass
        assert caught.value.code == 372


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            (62, 400),
            (60, 404),
            (81, 404),
            (47, 404),
            (516, 403),
            (164, 500),
            (202, 500),
            (159, 408),
            (223, 413),
            (48, 501),
        ],
    )
    def test_statuses_are_those_of_clickhouse(self, code: int, status: int) -> None:
        assert http_status(code) == status

    def test_an_error_of_the_engine_keeps_its_number(self) -> None:
        error = ClickHouseError.from_engine("Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)")
        assert (error.code, error.status) == (60, 404)

    def test_a_repeated_header_is_given_once(self) -> None:
        error = ClickHouseError.from_engine("Code: 107. DB::Exception: Code: 107. DB::Exception: No file. (X)")
        assert error.text == "Code: 107. DB::Exception: No file. (X)"

    def test_an_error_without_a_number(self) -> None:
        assert ClickHouseError.from_engine("something else").code == 1002


class TestOneProcess:
    def test_a_data_directory_has_one_holder(self, tmp_path: Path) -> None:
        lock = DataDirLock(tmp_path)
        with pytest.raises(InUseError, match=r"is held by pid \d+ \(.+\); stop that process"):
            DataDirLock(tmp_path)
        lock.release()
        DataDirLock(tmp_path).release()

    def test_a_port_has_one_holder(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            with pytest.raises(InUseError, match=rf"port {port} of 127.0.0.1 is taken by"):
                listen("127.0.0.1", port)

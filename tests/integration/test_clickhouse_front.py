"""The lab's ClickHouse server as its clients see it: the real engine, real clients, a real process to kill."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import clickhouse_connect
import lz4.frame
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from k2lab.clickhouse_front import blocks, frames

LAB = Path(__file__).resolve().parents[2] / "lab"
ENDLESS = "SELECT count() FROM numbers(1000000000000)"
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> int:
        return int(self.headers.get("x-clickhouse-exception-code", 0))


class Server:
    """A front of its own: started, asked, stopped or killed."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.data_dir = directory / "data"
        self.users = directory / "users.json"
        self.users.write_text(json.dumps([user("default", ""), user("reader", "r", 1), user("grafana", "g", 2)]))
        self.flags = flags
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = directory / "front.log"
        self.process = self.start()

    def command(self) -> list[str]:
        front = [sys.executable, "-m", "k2lab.clickhouse_front", "--host", "127.0.0.1", "--port", str(self.port)]
        return [*front, "--data-dir", str(self.data_dir), "--users", str(self.users), *self.flags]

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(LAB)}
            )
        until(lambda: self.process.poll() is not None or self.alive(), f"the front answers /ping, see {self.log}")
        assert self.process.poll() is None, self.log.read_text()
        return self.process

    def alive(self) -> bool:
        try:
            return self.request("GET", "/ping").body == b"Ok.\n"
        except OSError:
            return False

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, sql: str | bytes = b"", headers: dict[str, str] | None = None, **url: str) -> Answer:
        body = sql.encode() if isinstance(sql, str) else sql
        return self.request("POST", "/?" + urlencode(url), body, **(headers or {}))

    def ask(self, sql: str, **url: str) -> str:
        answer = self.post(sql, **url)
        assert answer.status == 200, answer.text
        return answer.text.strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


def user(name: str, password: str, readonly: int = 0) -> dict[str, object]:
    digest = hashlib.sha256(password.encode()).hexdigest()
    return {"name": name, "password_sha256": digest, "readonly": readonly, "settings": {"max_block_size": 8192}}


def until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def running(server: Server, query_id: str) -> bool:
    return server.ask(f"SELECT count() FROM system.processes WHERE Settings['log_comment'] = '{query_id}'") == "1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("front"), "--max-concurrent-queries", "8", "--max-body-bytes", "8000000")
    yield server
    assert server.stop() == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "--shutdown-timeout", "8")
    yield server
    if server.process.poll() is None:
        server.stop(signal.SIGKILL)


@pytest.fixture
def table(server: Server) -> str:
    server.ask("CREATE OR REPLACE TABLE t (a UInt64, b String, p Decimal(38, 8)) ENGINE = MergeTree ORDER BY a")
    return "t"


class TestQueries:
    def test_every_place_a_query_can_be_in(self, server: Server) -> None:
        assert server.request("GET", "/?query=SELECT%201").text == "1\n"
        assert server.post("SELECT 2").text == "2\n"
        assert server.post(b"", query="SELECT 3").text == "3\n"
        assert server.post("+ 1", query="SELECT 3").text == "4\n"
        assert server.request("HEAD", "/?query=SELECT%201").status == 200
        assert server.request("GET", "/").text == "Ok.\n"

    def test_formats(self, server: Server) -> None:
        assert server.post("SELECT 1 AS x", default_format="JSONEachRow").text == '{"x":1}\n'
        by_header = server.post("SELECT 1 AS x", {"X-ClickHouse-Format": "CSV"})
        assert (by_header.text, by_header.headers["x-clickhouse-format"]) == ("1\n", "CSV")
        by_clause = server.post("SELECT 1 AS x FORMAT JSONCompact", default_format="CSV")
        assert json.loads(by_clause.text)["data"] == [[1]]
        assert by_clause.headers["content-type"] == "application/json; charset=UTF-8"

    def test_parameters(self, server: Server) -> None:
        sql = "SELECT {n:UInt8} + 1, {s:String}, {d:Decimal(38, 8)}"
        assert server.ask(sql, param_n="4", param_s="it's; \\\\ fine", param_d="1.5") == "5\tit\\'s; \\\\ fine\t1.5"
        assert server.post("SELECT {n:UInt8}").code == 456

    def test_database(self, server: Server) -> None:
        assert server.ask("SELECT currentDatabase()", database="system") == "system"
        assert server.post("SELECT currentDatabase()", {"X-ClickHouse-Database": "system"}).text == "system\n"
        assert server.ask("SELECT currentDatabase()") == "default"
        assert server.post("SELECT 1", database="nowhere").code == 81

    def test_headers_of_an_answer(self, server: Server, table: str) -> None:
        answer = server.post(f"INSERT INTO {table} (a) VALUES (1), (2)", query_id="my id")
        assert answer.headers["x-clickhouse-query-id"] == "my id"
        assert answer.headers["x-clickhouse-server-display-name"] == socket.gethostname()
        assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "2"
        read = json.loads(server.post(f"SELECT sum(a) FROM {table}").headers["x-clickhouse-summary"])
        assert (read["read_rows"], read["result_rows"]) == ("2", "1")

    @pytest.mark.parametrize(
        ("sql", "code", "status"),
        [
            ("SELEC 1", 62, 400),
            ("SELECT 1; SELECT 2", 62, 400),
            ("SELECT * FROM nope", 60, 404),
            ("SELECT nope", 47, 404),
            ("SELECT 1 FORMAT Nope", 73, 404),
            ("SELECT throwIf(1)", 395, 500),
            ("INSERT INTO nope FORMAT CSV\n1", 60, 404),
            ('INSERT INTO t FORMAT JSONEachRow {"a":"x"}', 27, 400),
            ("SELECT 1 INTO OUTFILE '/tmp/x'", 354, 500),
            ("SYSTEM SHUTDOWN", 48, 501),
        ],
    )
    def test_errors_are_those_of_clickhouse(self, server: Server, table: str, sql: str, code: int, status: int) -> None:
        answer = server.post(sql)
        assert (answer.code, answer.status) == (code, status), answer.text
        assert re.match(rf"Code: {code}\. DB::Exception: .*\([A-Z_]+\)", answer.text, re.DOTALL)

    def test_settings_do_not_reach_the_next_request(self, server: Server) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
        seen = []
        for url in ("/?max_threads=7&async_insert=1", "/", "/?max_threads=5", "/"):
            connection.request("POST", url, "SELECT getSetting('max_threads'), getSetting('async_insert')")
            seen.append(connection.getresponse().read().decode().split())
        connection.close()
        assert [seen[0][0], seen[2][0]] == ["7", "5"]
        assert seen[1] == seen[3]
        assert seen[1][1] == "false"

    def test_sessions_keep_set_and_use(self, server: Server) -> None:
        server.ask("SET max_threads = 6", session_id="one")
        server.ask("USE system", session_id="one")
        assert server.ask("SELECT getSetting('max_threads'), currentDatabase()", session_id="one") == "6\tsystem"
        assert server.ask("SELECT currentDatabase()", session_id="two") == "default"
        assert server.post("SELECT 1", session_id="three", session_check="1").code == 372


class TestInserts:
    @pytest.mark.parametrize(
        ("input_format", "data"),
        [
            ("JSONEachRow", b'{"a":1,"b":"x;\\n","p":"1.50000001"}\n{"a":2,"b":"y","p":2}\n'),
            ("CSV", b'1,"x;\n",1.50000001\n2,y,2\n'),
            ("TabSeparated", b"1\tx;\\n\t1.50000001\n2\ty\t2\n"),
            ("Values", b"(1, 'x;\\n', '1.50000001'), (2, 'y', 2)"),
        ],
    )
    def test_text_formats(self, server: Server, table: str, input_format: str, data: bytes) -> None:
        in_url = server.post(data, query=f"INSERT INTO {table} FORMAT {input_format}")
        in_body = server.post(f"INSERT INTO {table} FORMAT {input_format}\n".encode() + data)
        assert (in_url.status, in_body.status) == (200, 200), in_url.text + in_body.text
        rows = server.ask(f"SELECT a, b, p, count() FROM {table} GROUP BY ALL ORDER BY a")
        assert rows == "1\tx;\\n\t1.50000001\t2\n2\ty\t2\t2"

    @pytest.mark.parametrize("binary", ["Native", "RowBinary", "Parquet"])
    def test_what_the_server_writes_it_reads(self, server: Server, table: str, binary: str) -> None:
        data = server.post(
            f"SELECT number AS a, toString(number) AS b, 0::Decimal(38, 8) AS p FROM numbers(100) FORMAT {binary}"
        )
        assert server.post(data.body, query=f"INSERT INTO {table} FORMAT {binary}").status == 200
        assert server.ask(f"SELECT count(), sum(a) FROM {table}") == "100\t4950"

    @pytest.mark.parametrize("encoding", frames.ENCODINGS)
    def test_packed_bodies_of_many_frames(self, server: Server, table: str, encoding: str) -> None:
        body = b"".join(frames.compress(b"%d,x,0\n" % number, encoding) for number in range(50))
        answer = server.post(body, {"Content-Encoding": encoding}, query=f"INSERT INTO {table} FORMAT CSV")
        assert answer.status == 200, answer.text
        assert server.ask(f"SELECT count() FROM {table}") == "50"

    def test_chunked_bodies(self, server: Server, table: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
        pieces = (b"%d,x,0\n" % number for number in range(1000))
        connection.request("POST", f"/?query=INSERT+INTO+{table}+FORMAT+CSV", pieces, encode_chunked=True)
        assert connection.getresponse().status == 200
        connection.close()
        assert server.ask(f"SELECT count() FROM {table}") == "1000"

    def test_compressed_blocks_both_ways(self, server: Server, table: str) -> None:
        body = blocks.pack(b"1,x,0\n") + blocks.pack(b"2,y,0\n")
        assert server.post(body, query=f"INSERT INTO {table} FORMAT CSV", decompress="1").status == 200
        assert blocks.unpack(server.post(f"SELECT a FROM {table} ORDER BY a", compress="1").body, 100) == b"1\n2\n"

    def test_packed_answers(self, server: Server) -> None:
        sql, plain = "SELECT number FROM numbers(10000)", "".join(f"{number}\n" for number in range(10_000)).encode()
        for encoding, unpack in (("gzip", gzip.decompress), ("lz4", lz4.frame.decompress)):
            answer = server.post(sql, {"Accept-Encoding": encoding}, enable_http_compression="1")
            assert answer.headers["content-encoding"] == encoding
            assert unpack(answer.body) == plain
        assert "content-encoding" not in server.post(sql, {"Accept-Encoding": "gzip"}).headers

    def test_bodies_are_bounded(self, server: Server, table: str) -> None:
        plain = server.post(b"1,x,0\n" * 2_000_000, query=f"INSERT INTO {table} FORMAT CSV")
        packed = server.post(gzip.compress(bytes(9_000_000)), {"Content-Encoding": "gzip"}, query="SELECT 1")
        assert [(answer.status, answer.code) for answer in (plain, packed)] == [(413, 223), (413, 223)]

    def test_a_repeated_block_is_dropped_by_its_token(self, server: Server) -> None:
        server.ask(
            "CREATE OR REPLACE TABLE once (a UInt64) ENGINE = MergeTree ORDER BY a"
            " SETTINGS non_replicated_deduplication_window = 100"
        )
        for _ in range(2):
            server.ask("INSERT INTO once VALUES (1)", insert_deduplicate="1", insert_deduplication_token="topic-0-1-1")
        assert server.ask("SELECT count() FROM once") == "1"


class TestClients:
    @pytest.mark.parametrize("packing", [True, "lz4", "zstd", "gzip", False])
    def test_clickhouse_connect(self, server: Server, table: str, packing: str | bool) -> None:
        rows = [(number, "x" * (number % 50), Decimal(number) / 8) for number in range(20_000)]
        client = clickhouse_connect.get_client(host="127.0.0.1", port=server.port, compress=packing)
        try:
            client.insert(table, rows, column_names=["a", "b", "p"], settings={"max_insert_block_size": 3000})
            assert client.query(f"SELECT * FROM {table} ORDER BY a").result_rows == rows
            found = client.query(f"SELECT p FROM {table} WHERE a = {{a:UInt64}}", parameters={"a": 9})
            assert found.result_rows == [(Decimal("1.125"),)]
            with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
                client.query("SELECT * FROM nope")
        finally:
            client.close()

    def test_clickhouse_connect_streams_blocks_of_one_insert(self, server: Server, table: str) -> None:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=server.port)
        context = client.create_insert_context(table, column_names=["a", "b", "p"])
        context.data = [(number, "x" * 200, Decimal(1)) for number in range(20_000)]
        client.insert(context=context)
        client.close()
        assert server.ask(f"SELECT count(), uniqExact(a) FROM {table}") == "20000\t20000"

    def test_curl(self, server: Server, table: str) -> None:
        url = f"http://127.0.0.1:{server.port}/"
        curl = ["curl", "--silent", "--fail-with-body", "--user", "grafana:g", url]
        done = subprocess.run(
            [*curl, "--data-binary", "SELECT currentUser() FORMAT CSV"], capture_output=True, check=True
        )
        assert done.stdout == b'"default"\n'
        refused = subprocess.run([*curl, "--data-binary", f"DROP TABLE {table}"], capture_output=True, check=False)
        assert b"(READONLY)" in refused.stdout

    def test_as_grafana_asks(self, server: Server) -> None:
        credentials = {"X-ClickHouse-User": "grafana", "X-ClickHouse-Key": "g"}
        answer = server.post(
            "SELECT toDateTime(0) AS time, 1.5 AS value FORMAT JSON", credentials, max_execution_time="30"
        )
        assert json.loads(answer.text)["data"] == [{"time": "1970-01-01 00:00:00", "value": 1.5}]

    def test_clients_do_not_wait_for_each_other(self, server: Server) -> None:
        def one(number: int) -> str:
            return server.ask(f"SELECT {number}, sleep(0.4) FORMAT CSV")

        started = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(one, range(6))) == [f"{number},0" for number in range(6)]
        assert time.monotonic() - started < 6 * 0.4


class TestUsers:
    def test_who_is_let_in(self, server: Server) -> None:
        assert server.post("SELECT 1", user="reader", password="r").text == "1\n"
        wrong = server.post("SELECT 1", user="reader", password="x")
        assert (wrong.status, wrong.code) == (403, 516)
        assert server.post("SELECT 1", {"X-ClickHouse-User": "nobody"}).status == 403

    @pytest.mark.parametrize(
        "sql", ["INSERT INTO t (a) VALUES (1)", "DROP TABLE t", "CREATE TABLE u (a Int8) ENGINE = Memory"]
    )
    @pytest.mark.parametrize(("name", "password"), [("reader", "r"), ("grafana", "g")])
    def test_read_only_users_write_nothing(
        self, server: Server, table: str, sql: str, name: str, password: str
    ) -> None:
        assert server.post(sql, user=name, password=password).code == 164

    def test_settings_of_read_only_users(self, server: Server) -> None:
        sql, setting = "SELECT getSetting('max_block_size')", {"max_block_size": "100"}
        assert server.ask(sql, user="reader", password="r") == "8192"
        assert server.post(sql, user="reader", password="r", **setting).code == 164
        assert server.post(f"{sql} SETTINGS max_block_size = 100", user="reader", password="r").code == 164
        assert server.ask(sql, user="grafana", password="g", **setting) == "100"
        assert server.post(sql, user="grafana", password="g", readonly="0").code == 164

    def test_get_changes_nothing(self, server: Server, table: str) -> None:
        assert server.request("GET", f"/?query=DROP+TABLE+{table}").code == 164
        assert server.request("GET", "/?query=SELECT+1&max_threads=1").text == "1\n"

    def test_read_only_users_kill_nothing(self, server: Server) -> None:
        assert server.post("KILL QUERY WHERE 1", user="reader", password="r").code == 497


class TestLimits:
    @pytest.mark.parametrize(
        ("sql", "limit", "code"),
        [
            (ENDLESS, {"max_execution_time": "0.2"}, 159),
            ("SELECT count() FROM numbers(1000000) WHERE NOT ignore(number)", {"max_rows_to_read": "10"}, 158),
            ("SELECT number FROM numbers(1000000)", {"max_result_rows": "10"}, 396),
            ("SELECT groupArray(number) FROM numbers(10000000)", {"max_memory_usage": "10000000"}, 241),
        ],
    )
    def test_limits_of_a_query(self, server: Server, sql: str, limit: dict[str, str], code: int) -> None:
        assert server.post(sql, **limit).code == code

    def test_too_many_queries_and_a_kill_that_still_gets_through(self, server: Server) -> None:
        def insist(query_id: str) -> Answer:
            # The probes below take a place too, so one of these may be the refused one.
            while (answer := server.post(ENDLESS, query_id=query_id, max_threads="1")).code == 202:
                pass
            return answer

        with ThreadPoolExecutor(8) as pool:
            busy = [pool.submit(insist, f"busy-{number}") for number in range(8)]
            until(lambda: server.post("SELECT 1").code == 202, "the ninth query is refused")
            assert server.request("GET", "/ping").status == 200
            assert server.request("GET", "/metrics").status == 200
            until(
                lambda: (
                    server.post("KILL QUERY WHERE query_id LIKE 'busy-%' ASYNC").status == 200
                    and all(future.done() for future in busy)
                ),
                "all are killed",
            )
            assert {future.result().code for future in busy} == {394}

    def test_an_id_runs_once_at_a_time(self, server: Server) -> None:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(server.post, ENDLESS, query_id="twin")
            until(lambda: running(server, "twin"), "the query runs")
            assert server.post("SELECT 1", query_id="twin").code == 216
            server.ask("KILL QUERY WHERE query_id = 'twin' SYNC")
            assert first.result().code == 394

    def test_a_query_ends_when_its_client_hangs_up(self, server: Server) -> None:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
        connection.sendall(
            f"POST /?query_id=lonely HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ENDLESS)}\r\n\r\n{ENDLESS}".encode()
        )
        until(lambda: running(server, "lonely"), "the query runs")
        connection.close()
        until(lambda: not running(server, "lonely"), "the query is stopped", timeout_s=5)


class TestOperation:
    def test_metrics_have_clickhouse_s_names_and_types(self, server: Server) -> None:
        text = server.request("GET", "/metrics").text
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        values = dict(re.findall(r"^(ClickHouse\w+) (\S+)$", text, re.MULTILINE))
        assert types["ClickHouseProfileEvents_InsertedRows"] == "counter"
        assert types["ClickHouseErrorMetric_UNKNOWN_TABLE"] == "counter"
        assert types["ClickHouseMetrics_MemoryTracking"] == "gauge"
        assert types["ClickHouseAsyncMetrics_MaxPartCountForPartition"] == "gauge"
        assert float(values["ClickHouseProfileEvents_Query"]) > 0
        assert float(values["ClickHouseAsyncMetrics_MemoryResident"]) > 1e7
        assert values.keys() <= types.keys()

    def test_query_log_and_part_log(self, server: Server, table: str) -> None:
        server.ask(f"INSERT INTO {table} (a) VALUES (1)", query_id="logged")
        server.ask("SYSTEM FLUSH LOGS")
        assert (
            server.ask(
                "SELECT count() FROM system.query_log WHERE query_kind IN ('Set', 'Use') AND query LIKE '%logged%'"
            )
            == "0"
        )
        logged = "SELECT type, written_rows FROM system.query_log WHERE log_comment = 'logged' AND type = 'QueryFinish'"
        assert server.ask(logged) == "QueryFinish\t1"
        assert (
            int(server.ask(f"SELECT count() FROM system.part_log WHERE table = '{table}' AND event_type = 'NewPart'"))
            > 0
        )
        assert server.ask("SELECT count() > 0 FROM system.asynchronous_metrics") == "1"

    def test_a_second_process_is_told_who_is_there(self, server: Server) -> None:
        again = subprocess.run(
            server.command(), capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(LAB)}
        )
        assert again.returncode == 1
        assert f"port {server.port} of 127.0.0.1 is taken by pid {server.process.pid} (" in again.stderr.decode()
        other = [*server.command()]
        other[other.index("--port") + 1] = str(unused_port())
        again = subprocess.run(other, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(LAB)})
        assert again.returncode == 1
        assert f"is held by pid {server.process.pid} (" in again.stderr.decode()

    def test_nothing_acknowledged_is_lost_by_kill_9(self, own: Server) -> None:
        own.ask("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
        acknowledged: list[int] = []

        def insert() -> None:
            for number in range(10_000):
                try:
                    if own.post(f"INSERT INTO t VALUES ({number})").status == 200:
                        acknowledged.append(number)
                except (OSError, http.client.HTTPException):
                    return

        writer = threading.Thread(target=insert)
        writer.start()
        until(lambda: len(acknowledged) > 50, "some inserts are acknowledged")
        own.stop(signal.SIGKILL)
        writer.join(DEADLINE_S)
        own.start()
        found = {int(line) for line in own.ask("SELECT a FROM t").split()}
        assert set(acknowledged) <= found
        assert len(found) <= len(acknowledged) + 1

    def test_sigterm_lets_running_queries_end(self, own: Server) -> None:
        with ThreadPoolExecutor(1) as pool:
            query = pool.submit(own.ask, "SELECT sleep(1.5) + 7", query_id="last")
            until(lambda: running(own, "last"), "the query runs")
            assert own.stop() == 0
            assert query.result() == "7"
        assert "Traceback" not in own.log.read_text()

    def test_sigterm_has_a_deadline(self, tmp_path: Path) -> None:
        server = Server(tmp_path, "--shutdown-timeout", "0.5")
        with ThreadPoolExecutor(1) as pool:
            query = pool.submit(server.post, ENDLESS, query_id="endless")
            until(lambda: running(server, "endless"), "the query runs")
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 8
            with pytest.raises((OSError, http.client.HTTPException)):
                query.result()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port

"""Where a statement ends and its data begins, without parsing SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2lab.clickhouse_front.errors import ClickHouseError
from k2lab.clickhouse_front.statements import parse, rewrite_kill


@pytest.mark.parametrize(
    ("text", "sql", "input_format", "data"),
    [
        (b'INSERT INTO t FORMAT JSONEachRow {"a":1}', "INSERT INTO t ", "JSONEachRow", b'{"a":1}'),
        (b"insert into t (a, b) format CSV\n1,2\n", "insert into t (a, b) ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV \r\n 1,2", "INSERT INTO t ", "CSV", b" 1,2"),
        (b"INSERT INTO t FORMAT TSV\n\nx", "INSERT INTO t ", "TSV", b"\nx"),
        (b"INSERT INTO t FORMAT Native\n\x00\xff'\x80", "INSERT INTO t ", "Native", b"\x00\xff'\x80"),
        (b"INSERT INTO db.t VALUES (1, ';'), (2, ')')", "INSERT INTO db.t ", "Values", b" (1, ';'), (2, ')')"),
        (b"INSERT INTO `format` (`values`) FORMAT CSV\n1", "INSERT INTO `format` (`values`) ", "CSV", b"1"),
        (b"INSERT INTO format FORMAT CSV\n1", "INSERT INTO format ", "CSV", b"1"),
        (b"INSERT INTO t SETTINGS a = 'FORMAT' FORMAT CSV\n1", "INSERT INTO t SETTINGS a = 'FORMAT' ", "CSV", b"1"),
        (
            b"/* FORMAT x */ INSERT INTO t -- VALUES\nFORMAT CSV 1",
            "/* FORMAT x */ INSERT INTO t -- VALUES\n",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO FUNCTION null('a Int8') FORMAT CSV\n1", "INSERT INTO FUNCTION null('a Int8') ", "CSV", b"1"),
        (b"INSERT INTO t", "INSERT INTO t", "Values", b""),
    ],
)
def test_insert_is_split_from_its_data(text: bytes, sql: str, input_format: str, data: bytes) -> None:
    statement = parse(text)
    assert (statement.sql, statement.input_format) == (sql, input_format)
    assert statement.data_start is not None
    assert text[statement.data_start :] == data


@given(st.binary(max_size=200))
def test_whatever_the_data_is_it_arrives_unchanged(data: bytes) -> None:
    text = b"INSERT INTO t (a) FORMAT RowBinary\n" + data
    statement = parse(text)
    assert statement.data_start is not None
    assert text[statement.data_start :] == data


@pytest.mark.parametrize(
    ("text", "kind", "output_format"),
    [
        (b"SELECT 1", "SELECT", None),
        (b"select 1 format JSON", "SELECT", "JSON"),
        (b"SELECT 1 FORMAT JSONCompact SETTINGS max_threads = 1;", "SELECT", "JSONCompact"),
        (b"SELECT format FROM t", "SELECT", None),
        (b"SELECT x AS format FROM t ORDER BY format", "SELECT", None),
        (b"SELECT ' FORMAT CSV ' -- FORMAT CSV", "SELECT", None),
        (b"SELECT formatDateTime(now(), '%Y') FORMAT TSV", "SELECT", "TSV"),
        (b"SELECT * FROM (SELECT 1 FORMAT CSV) ", "SELECT", None),
        (b"INSERT INTO t SELECT 1", "INSERT SELECT", None),
        (b"INSERT INTO t (a) WITH 1 AS x SELECT x", "INSERT SELECT", None),
        (b"(SELECT 1) UNION ALL (SELECT 2)", "(", None),
        (b"with 1 as x select x", "WITH", None),
        (b"-- a comment\nSHOW TABLES", "SHOW", None),
    ],
)
def test_kind_and_format_of_other_statements(text: bytes, kind: str, output_format: str | None) -> None:
    statement = parse(text)
    assert (statement.kind, statement.output_format, statement.data_start) == (kind, output_format, None)


@pytest.mark.parametrize("text", [b"SELECT 1", b"EXPLAIN SELECT 1", b"SHOW TABLES", b"(SELECT 1)", b"DESCRIBE TABLE t"])
def test_reading_statements_may_be_stopped(text: bytes) -> None:
    assert parse(text).only_reads


@pytest.mark.parametrize(
    "text", [b"INSERT INTO t VALUES (1)", b"INSERT INTO t SELECT 1", b"OPTIMIZE TABLE t", b"SET a = 1"]
)
def test_writing_statements_run_to_their_end(text: bytes) -> None:
    assert not parse(text).only_reads


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 62),
        (b" -- nothing\n", 62),
        (b"SELECT 1; SELECT 2", 62),
        (b"INSERT INTO t SELECT 1; DROP TABLE t", 62),
        (b"INSERT INTO t FORMAT", 62),
        (b"SELECT '\xff'", 62),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", 354),
        (b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 48),
        (b"SELECT * FROM Python(users)", 48),
        (b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1", 48),
        (b"SYSTEM SHUTDOWN", 48),
        (b"system kill", 48),
    ],
)
def test_what_the_front_refuses(text: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as caught:
        parse(text)
    assert caught.value.code == code


def test_one_semicolon_at_the_end_is_fine() -> None:
    assert parse(b"SELECT 1 ; -- done\n").kind == "SELECT"


def test_kill_finds_queries_by_the_id_their_client_gave() -> None:
    rewritten = rewrite_kill("KILL QUERY WHERE query_id = 'query_id' AND user = 'x' SYNC")
    assert rewritten == (
        "KILL QUERY WHERE if(Settings['log_comment'] != '', Settings['log_comment'], query_id) = 'query_id'"
        " AND user = 'x' SYNC"
    )

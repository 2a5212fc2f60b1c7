# SPDX-License-Identifier: Apache-2.0
"""Just enough of ClickHouse's lexer to know what a request is, without parsing SQL.

The engine parses; the front only has to know three things before: where the data of an INSERT starts, which output
format the statement names, and whether the statement uses one of the few features that act on the server's own
machine or process. Everything works on bytes, because the text of an INSERT may be followed by binary data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .errors import INTO_OUTFILE_NOT_ALLOWED, NOT_IMPLEMENTED, SYNTAX_ERROR, ClickHouseError

_TOKEN: Final = re.compile(
    rb"""
      (?P<space>\s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/)
    | (?P<quoted>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | (?P<tag>\$\w*\$).*?(?P=tag))
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9][0-9A-Za-z_.]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_READING: Final = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "("})
_DATA_GAP: Final = re.compile(rb"[ \t\f]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL; `depth` is the number of parentheses open around it."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    def is_word(self, word: str) -> bool:
        """Whether this is the given keyword (upper case), in any case and not quoted."""
        return self.kind == "word" and self.text.upper() == word


@dataclass(frozen=True, slots=True)
class Statement:
    """A request's SQL, taken apart.

    `sql` is what the engine is asked to run. For an INSERT with data it ends before FORMAT or VALUES, `input_format`
    names the format and the data starts at `data_start` of the request's text. `output_format` is the statement's own
    FORMAT clause, if it has one.
    """

    kind: str
    sql: str
    input_format: str | None = None
    output_format: str | None = None
    data_start: int | None = None

    @property
    def only_reads(self) -> bool:
        """Whether nothing is lost when the statement is stopped in the middle."""
        return self.kind in _READING


def tokens(text: bytes) -> Iterator[Token]:
    """The tokens of `text` without blanks and comments, lazily: data behind an INSERT is never looked at."""
    position, depth = 0, 0
    while found := _TOKEN.match(text, position):
        position = found.end()
        kind = found.lastgroup
        if kind == "space":
            continue
        if kind in (None, "tag"):
            kind = "quoted"
        piece = found[0].decode("utf-8", "replace")
        if piece == ")":
            depth = max(depth - 1, 0)
        yield Token(kind, piece, found.start(), position, depth)
        if piece == "(":
            depth += 1


def parse(text: bytes, default_input_format: str = "Values") -> Statement:
    """Take a request's text apart; raises ClickHouseError 62 if there is none, 48 / 354 for what the front refuses."""
    stream = tokens(text)
    first = next(stream, None)
    if first is None:
        raise ClickHouseError.of(SYNTAX_ERROR, "Empty query: expected a statement in the URL's `query` or in the body")
    if first.is_word("INSERT"):
        return _parse_insert(text, stream, default_input_format)
    statement = _parse_other(text, first.text.upper(), first, stream)
    if statement.kind == "KILL":
        return Statement("KILL", rewrite_kill(statement.sql), None, statement.output_format)
    return statement


def _parse_insert(text: bytes, stream: Iterator[Token], default_input_format: str) -> Statement:
    # INSERT [INTO] [TABLE] [FUNCTION] target: a table may be called `format` or `values`, so it is stepped over.
    for token in stream:
        if not (token.is_word("INTO") or token.is_word("TABLE") or token.is_word("FUNCTION")):
            break
    last_end = 0
    for token in stream:
        if token.depth == 0 and token.kind == "word":
            keyword = token.text.upper()
            if keyword in ("SELECT", "WITH"):
                return _parse_other(text, "INSERT SELECT", token, stream)
            if keyword == "INFILE":
                raise ClickHouseError.of(
                    NOT_IMPLEMENTED, "INSERT ... FROM INFILE reads files of the server; send the data in the body"
                )
            if keyword == "VALUES":
                return Statement("INSERT", _text(text[: token.start]), "Values", None, token.end)
            if keyword == "FORMAT":
                return _insert_with_format(text, token, stream)
        if token.text == ";" and token.depth == 0:
            break
        last_end = token.end
    return Statement("INSERT", _text(text[:last_end] if last_end else text), default_input_format, None, len(text))


def _insert_with_format(text: bytes, keyword: Token, stream: Iterator[Token]) -> Statement:
    name = next(stream, None)
    if name is None or name.kind != "word":
        seen = "the end of the query" if name is None else repr(name.text)
        raise ClickHouseError.of(SYNTAX_ERROR, f"Syntax error: expected the name of a format after FORMAT, seen {seen}")
    gap = _DATA_GAP.match(text, name.end)
    return Statement("INSERT", _text(text[: keyword.start]), name.text, None, gap.end() if gap else name.end)


def _parse_other(text: bytes, kind: str, first: Token, stream: Iterator[Token]) -> Statement:
    output_format: str | None = None
    previous, ended, just_named = first, False, False
    for token in stream:
        if ended:
            raise ClickHouseError.of(
                SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed): send one statement per request"
            )
        ended = token.text == ";" and token.depth == 0
        if previous.is_word("INTO") and token.is_word("OUTFILE"):
            raise ClickHouseError.of(
                INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed: the answer goes to the client"
            )
        if previous.is_word("PYTHON") and token.text == "(":
            raise ClickHouseError.of(NOT_IMPLEMENTED, "Table function Python() reaches into the server's own process")
        if kind == "SYSTEM" and previous is first and token.text.upper() in ("SHUTDOWN", "KILL"):
            raise ClickHouseError.of(
                NOT_IMPLEMENTED, "The server is stopped by SIGTERM: the engine would end its process group"
            )
        if kind == "INSERT SELECT" and previous.is_word("INPUT") and token.text == "(":
            raise ClickHouseError.of(
                NOT_IMPLEMENTED, "INSERT ... SELECT ... FROM input(): the engine reads no data for it"
            )
        if just_named and not (ended or token.is_word("SETTINGS")):
            output_format = None  # only SETTINGS or the end can follow a FORMAT clause: `format` was a name
        just_named = previous.is_word("FORMAT") and previous.depth == 0 and token.kind == "word"
        if just_named:
            output_format = token.text
        previous = token
    return Statement(kind, _text(text), None, output_format)


def _text(sql: bytes) -> str:
    try:
        return sql.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClickHouseError.of(
            SYNTAX_ERROR, f"The query is not UTF-8 ({error}); send binary data only behind an INSERT"
        ) from error


def rewrite_kill(sql: str) -> str:
    """Let ``KILL QUERY WHERE query_id = ...`` mean the id the client gave, which the engine knows as log_comment."""
    text = sql.encode()
    pieces: list[bytes] = []
    done, in_where = 0, False
    for token in tokens(text):
        in_where = in_where or token.is_word("WHERE")
        if in_where and token.kind == "word" and token.text == "query_id":
            pieces += [
                text[done : token.start],
                b"if(Settings['log_comment'] != '', Settings['log_comment'], query_id)",
            ]
            done = token.end
    return (b"".join(pieces) + text[done:]).decode()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2lab.silver_processor.intent import Intent, Partition, Range, decode
from k2lab.silver_processor.linger import TARGET_MS, Linger
from k2lab.silver_processor.rows import Row, received_at, row_binary
from k2lab.silver_processor.variants import Saboteur, Variant

P0, P1 = Partition("market.crypto.trades.binance.raw", 0), Partition("market.crypto.trades.binance.raw", 1)
INTENT = Intent({P0: Range(10, 15, 5), P1: Range(0, 3, 2)}, attempt=1, announced_s=1_700_000_000)


def committed(intent: Intent) -> dict[Partition, tuple[int, str]]:
    return {partition: (span.start, intent.metadata(partition)) for partition, span in intent.ranges.items()}


def test_a_committed_intent_is_read_back() -> None:
    assert decode(committed(INTENT)) == INTENT


def test_partitions_without_metadata_are_not_part_of_the_batch() -> None:
    assert decode(committed(INTENT) | {Partition("t", 7): (99, "")}) == INTENT
    assert decode({P0: (15, "")}) is None
    assert decode({}) is None


def test_the_token_follows_from_ranges_and_attempt_alone() -> None:
    again = Intent(dict(reversed(INTENT.ranges.items())), 1, announced_s=5)
    assert again.token == INTENT.token
    assert INTENT.next_attempt().token != INTENT.token
    assert INTENT.next_attempt().batch == INTENT.batch
    assert Intent({P0: Range(10, 16, 5)}, 1, 0).token != Intent({P0: Range(10, 15, 5)}, 1, 0).token


@pytest.mark.parametrize("metadata", ["someone else's", "{}", '{"end": 3}', "[1]"])
def test_foreign_metadata_is_refused(metadata: str) -> None:
    with pytest.raises(ValueError, match="a group of its own"):
        decode({P0: (1, metadata)})


def test_mixed_attempts_are_refused() -> None:
    mixed = committed(INTENT) | {P1: (0, INTENT.next_attempt().metadata(P1))}
    with pytest.raises(ValueError, match="one attempt"):
        decode(mixed)


def test_a_topic_name_that_is_not_kafkas_cannot_reach_sql() -> None:
    with pytest.raises(ValueError, match="topic name"):
        Intent({Partition("x' OR 1 = 1 --", 0): Range(0, 1, 1)}, 1, 0)


def test_metadata_fits_kafkas_limit() -> None:
    huge = Intent({P0: Range(2**62, 2**63, 10**9)}, attempt=10**6, announced_s=2**40)
    assert len(huge.metadata(P0)) < 200


def test_row_binary_layout() -> None:
    encoded = row_binary([Row(Partition("t", 3), 258, b"{}", 1000, None), Row(Partition("t", 3), 259, b"", -1, 7)])
    first = b"\x01t" + b"\x03\0\0\0" + b"\x02\x01\0\0\0\0\0\0" + b"\x02{}" + (1000).to_bytes(8, "little") + b"\x01"
    second = (
        b"\x01t" + b"\x03\0\0\0" + b"\x03\x01\0\0\0\0\0\0" + b"\0" + b"\xff" * 8 + b"\0" + (7).to_bytes(8, "little")
    )
    assert encoded == first + second


@given(st.integers(0, 70_000))
def test_payload_length_is_a_varint(length: int) -> None:
    encoded = row_binary([Row(Partition("t", 0), 0, b"x" * length, 0, None)])[14:]
    decoded = shift = 0
    for byte in encoded:
        decoded |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    assert decoded == length


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, None),
        ([], None),
        ([("other", b"1")], None),
        ([("received_at_us", None)], None),
        ([("received_at_us", b"soon")], None),
        ([("received_at_us", b"-5")], None),
        ([("received_at_us", b"9" * 17)], None),
        ([("other", b"1"), ("received_at_us", b"1700000000000001")], 1_700_000_000_000_001),
    ],
)
def test_received_at(headers: list[tuple[str, bytes | None]] | None, expected: int | None) -> None:
    assert received_at(headers) == expected


def test_linger_shrinks_as_inserts_slow_and_never_feeds_an_overload() -> None:
    linger = Linger(longest_ms=60.0, first_guess_ms=20.0)
    assert linger.ms == 60.0
    for _ in range(100):
        linger.observe(30.0)
    assert linger.ms == pytest.approx(TARGET_MS - 1.5 * 30.0, abs=0.5)
    for _ in range(100):
        linger.observe(38.0)
    assert linger.ms == pytest.approx(38.0, abs=0.5)
    for _ in range(100):
        linger.observe(200.0)
    assert linger.ms == 60.0


def test_saboteur_hits_exactly_so_many_rows() -> None:
    rows = [Row(P0, offset, b"", 0, None) for offset in range(10)]
    batches = [rows[:4], rows[4:]]
    drop, double, honest = Saboteur(Variant.DROP, 6), Saboteur(Variant.DOUBLE, 6), Saboteur(Variant.EXACTLY_ONCE, 6)
    assert [row.offset for batch in batches for row in drop.apply(batch)] == [6, 7, 8, 9]
    assert sum(len(double.apply(batch)) for batch in batches) == 16
    assert [list(honest.apply(batch)) for batch in batches] == batches

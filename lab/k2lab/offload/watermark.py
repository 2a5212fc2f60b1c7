# SPDX-License-Identifier: Apache-2.0
"""Up to where a table has been moved.

It is a property of the Iceberg table, written in the same commit as the rows it speaks of: a reader sees both or
neither, so there is no moment at which a crash could make them differ. As a property it outlives the expiry of
snapshots and compaction. Postgres only holds a copy, for whoever watches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from k2lab.common.errors import LabError
from k2lab.offload.position import Positions

PROPERTY = "k2.offload.watermark"


@dataclass(frozen=True)
class Watermark:
    """The watermark of one table.

    `as_of_us`: what ClickHouse showed at this time of its clock has been moved (microseconds since the epoch).
    `rows_total`: rows ever written to the table. Trades: `positions`. Candles: `updated_at_us`, the newest change
    seen, and `digests` of the blocks last read, to tell whether anything differs.
    """

    as_of_us: int = 0
    rows_total: int = 0
    positions: Positions = field(default_factory=Positions)
    updated_at_us: int = 0
    digests: Mapping[int, str] = field(default_factory=dict)

    @property
    def started(self) -> bool:
        """Whether anything has been moved."""
        return bool(self.positions.offsets or self.updated_at_us)

    def same_place(self, other: Watermark) -> bool:
        """Whether both say that the same rows have been moved."""
        return (self.positions, self.updated_at_us, self.digests) == (
            other.positions,
            other.updated_at_us,
            other.digests,
        )

    def to_json(self) -> str:
        """As kept in the property and in Postgres."""
        document: dict[str, object] = {"as_of_us": self.as_of_us, "rows_total": self.rows_total}
        if self.positions.offsets:
            document["positions"] = self.positions.to_json()
        if self.updated_at_us:
            document |= {
                "updated_at_us": self.updated_at_us,
                "digests": {str(start): digest for start, digest in self.digests.items()},
            }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, where: str) -> Watermark:
        """The reverse of to_json(); raises LabError naming `where` when the text is not ours."""
        try:
            document = json.loads(text)
            return cls(
                as_of_us=int(document["as_of_us"]),
                rows_total=int(document["rows_total"]),
                positions=Positions.from_json(document.get("positions", {})),
                updated_at_us=int(document.get("updated_at_us", 0)),
                digests={int(start): str(digest) for start, digest in document.get("digests", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabError(
                f"a watermark of this program in {where}",
                f"{text[:200]!r} ({error!r})",
                "restore it; nothing was moved",
            ) from error

# SPDX-License-Identifier: Apache-2.0
"""A histogram of a service's Prometheus metrics, as one scrape shows it. Standard library only."""

from __future__ import annotations

import http.client
import math
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.clock import Deadline
from ..core.errors import K2Error
from .http_api import BodyTooLarge, read_body

TIMEOUT_S = 5.0
_BODY_LIMIT = 16 * 1024 * 1024
_LABEL_LE = re.compile(r'(?:^|,)\s*le="([^"]*)"')


class ScrapeFailed(K2Error):  # noqa: N818 - see core.errors
    """A service's metrics could not be read."""


@dataclass(frozen=True)
class Histogram:
    """Cumulative counts by upper bound (the last one is infinite), over all label sets, and the sum of all values."""

    buckets: Mapping[float, float]
    total: float


def scrape(url: str) -> str:
    """The text of the metrics at ``url``; raises ScrapeFailed."""
    try:
        # The profile admits http and https only.
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310
            body: bytes = read_body(answer, Deadline.after(TIMEOUT_S), _BODY_LIMIT)
    except (OSError, http.client.HTTPException, BodyTooLarge) as error:
        raise ScrapeFailed(
            "metrics cannot be read", expected=f"an answer from {url} within {TIMEOUT_S:g} s", seen=str(error)
        ) from error
    return body.decode("utf-8", "replace")


def histograms(text: str, name: str) -> dict[str, Histogram]:
    """The histogram ``name`` by its other labels; empty where the metrics have none.

    Raises ScrapeFailed when its lines cannot be read.
    """
    buckets: dict[str, dict[float, float]] = {}
    totals: dict[str, float] = {}
    try:
        for line in text.splitlines():
            if line.startswith((f"{name}_bucket{{", f"{name}_sum")):
                series, _, rest = line.partition("} ") if "{" in line else line.partition(" ")
                value = float(rest.split()[0])
                inner = series.partition("{")[2]
                found = _LABEL_LE.search(inner)
                labels = _LABEL_LE.sub("", inner).strip(",")
                if line.startswith(f"{name}_bucket{{"):
                    bound = math.inf if found is None or found.group(1) == "+Inf" else float(found.group(1))
                    buckets.setdefault(labels, {})[bound] = value
                else:
                    totals[labels] = value
    except (ValueError, IndexError) as error:
        raise ScrapeFailed(
            f"histogram {name} cannot be read", expected="Prometheus' text format", seen=line[:200]
        ) from error
    return {labels: Histogram(counts, totals.get(labels, 0.0)) for labels, counts in buckets.items()}

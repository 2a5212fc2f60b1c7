# SPDX-License-Identifier: Apache-2.0
"""What was sent against what is stored, exactly: every trade, every value, every candle, as Decimal."""

from __future__ import annotations

from k2lab.ground_truth.compare import compare
from k2lab.ground_truth.result import CandleDifference, ExchangeResult, Result
from k2lab.ground_truth.trade import Gap

__all__ = ["CandleDifference", "ExchangeResult", "Gap", "Result", "compare"]

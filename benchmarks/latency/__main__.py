# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.latency`` in the checkout's root; finds engine and lab by itself."""

from __future__ import annotations

import sys
from pathlib import Path


def _main() -> int:
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root / "lab"), str(root / "collections")]
    from benchmarks.latency.bench import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())

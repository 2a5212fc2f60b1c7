# SPDX-License-Identifier: Apache-2.0
"""Compare the simulator's log with everything stored: ``python -m k2lab.ground_truth --help``. Exit code 0: exact."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.errors import run_program
from k2lab.common.logs import configure_logging
from k2lab.common.options import host_port
from k2lab.ground_truth import compare
from k2lab.schema.__main__ import password_from


def main(arguments: list[str] | None = None) -> int:
    """Print the result as JSON; 0 when exact, 1 when not."""
    parser = argparse.ArgumentParser(prog="k2lab.ground_truth", description=__doc__)
    parser.add_argument("--truth-dir", type=Path, required=True)
    parser.add_argument("--bootstrap", type=host_port, required=True)
    parser.add_argument("--clickhouse-url", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-env", required=True, metavar="VAR", help="environment variable with the password")
    parser.add_argument("--database", default="k2")
    options = parser.parse_args(arguments)
    configure_logging()
    with ClickHouse(options.clickhouse_url, options.user, password_from(options.password_env), 120.0) as clickhouse:
        result = compare(options.truth_dir, clickhouse, options.bootstrap, database=options.database)
    print(json.dumps(dataclasses.asdict(result) | {"exact": result.exact, "problems": result.problems()}, indent=2))
    return 0 if result.exact else 1


if __name__ == "__main__":
    run_program(main)

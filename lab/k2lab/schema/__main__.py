# SPDX-License-Identifier: Apache-2.0
"""Create the lab's tables: ``python -m k2lab.schema --url http://127.0.0.1:23030 --user NAME --password-env VAR``."""

from __future__ import annotations

import argparse
import logging
import os

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.errors import LabError, run_program
from k2lab.common.logs import configure_logging
from k2lab.schema.apply import apply_schema
from k2lab.schema.ddl import CandleEngine

log = logging.getLogger("k2lab.schema")


def password_from(variable: str) -> str:
    """The password in the environment variable; raises LabError when it is not set."""
    value = os.environ.get(variable)
    if value is None:
        raise LabError(
            f"the ClickHouse password in the environment variable {variable}", "not set", f"export {variable}"
        )
    return value


def main(arguments: list[str] | None = None) -> int:
    """Apply the schema; returns the exit code."""
    parser = argparse.ArgumentParser(prog="k2lab.schema", description=__doc__)
    parser.add_argument("--url", required=True, help="http://host:port of ClickHouse")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-env", required=True, metavar="VAR", help="environment variable with the password")
    parser.add_argument("--database", default="k2")
    parser.add_argument(
        "--candles",
        type=CandleEngine,
        choices=list(CandleEngine),
        default=CandleEngine.AGGREGATING,
        metavar="aggregating|summing",
        help="summing is known to be wrong, for tests of the tool (default aggregating)",
    )
    options = parser.parse_args(arguments)
    configure_logging()
    with ClickHouse(options.url, options.user, password_from(options.password_env)) as clickhouse:
        applied = apply_schema(clickhouse, options.database, options.candles)
    log.info("%s: %d created, %d there already", options.database, len(applied.created), len(applied.existing))
    return 0


if __name__ == "__main__":
    run_program(main)

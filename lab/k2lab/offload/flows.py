# SPDX-License-Identifier: Apache-2.0
"""The two flows that Prefect runs. A failed table makes its run FAILED; the next run is the retry."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prefect import State, flow, get_run_logger
from prefect.states import Completed, Failed

from k2lab.common.errors import LabError
from k2lab.offload.config import OffloadConfig, read_config
from k2lab.offload.names import CONFIG_VARIABLE, MAINTENANCE_FLOW, OFFLOAD_FLOW
from k2lab.offload.report import RunReport

# What the work itself needs is imported by the flow that does it: the worker loads this module too.


@flow(name=OFFLOAD_FLOW, retries=0, persist_result=False, validate_parameters=False)
def offload() -> State[None]:
    """Move what is new in ClickHouse to the cold tier, all tables, once."""
    from k2lab.offload.cycle import run_cycle

    return _run(run_cycle)


@flow(name=MAINTENANCE_FLOW, retries=0, persist_result=False, validate_parameters=False)
def maintenance() -> State[None]:
    """Expire snapshots, compact small files and remove orphans in the cold tier."""
    from k2lab.offload.maintain import maintain

    return _run(maintain)


def _run(work: Callable[[OffloadConfig], RunReport]) -> State[None]:
    """The state the run ends in. What nobody foresaw is raised: Prefect adds where it happened."""
    logger = get_run_logger()
    try:
        report = work(_config())
        report.raise_on_failure()
    except LabError as error:
        return Failed(message=str(error))
    seconds = sum(result.seconds for result in report.tables)
    message = f"run {report.run_id}: {report.rows} rows of {len(report.tables)} tables in {seconds:.1f} s"
    logger.info("%s", message)
    return Completed(message=message)


def _config() -> OffloadConfig:
    path = os.environ.get(CONFIG_VARIABLE)
    if not path:
        raise LabError(f"{CONFIG_VARIABLE} in the environment", "none", "deploy again: make lab-up")
    return read_config(Path(path))

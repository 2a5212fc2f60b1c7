# SPDX-License-Identifier: Apache-2.0
"""What must be there before the first run: the bucket, the tables in Postgres, the catalog's namespace."""

from __future__ import annotations

from k2lab.offload.bucket import Bucket
from k2lab.offload.cold import ColdTier
from k2lab.offload.config import OffloadConfig
from k2lab.offload.mirror import Mirror


def initialise(config: OffloadConfig) -> None:
    """Create what is missing; safe to repeat and to interrupt. Raises LabError."""
    Bucket(config.object_store).claim(config.lab_id)
    with Mirror(config.postgres) as mirror:
        mirror.create()
    cold = ColdTier(config, create=True)
    cold.create_namespace()
    cold.close()

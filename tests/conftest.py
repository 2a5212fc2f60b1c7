# SPDX-License-Identifier: Apache-2.0
"""What unit and integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).resolve().parent.parent

# What ansible's command lines do first. It must be done before any test imports the collection, or Ansible would meet
# modules of a collection that it does not know.
init_plugin_loader([str(ROOT / "collections")])


# The secrets that inventory/k2_compose takes from the environment.
K2_SECRETS = {
    "CLICKHOUSE_PASSWORD": "clickhouse-secret",
    "PREFECT_DB_PASSWORD": "postgres-secret",
    "MINIO_ROOT_USER": "somebody",
    "MINIO_ROOT_PASSWORD": "minio-secret",
}


@pytest.fixture
def k2_secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that inventory/k2_compose needs; a test may change it further."""
    for name, value in K2_SECRETS.items():
        monkeypatch.setenv(name, value)
    return dict(K2_SECRETS)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return ROOT

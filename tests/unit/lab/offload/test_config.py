# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from k2lab.common.errors import LabError
from k2lab.offload.config import Variant, read_config

DOCUMENT: dict[str, object] = {
    "clickhouse": {"url": "http://127.0.0.1:8123", "user": "u", "password": "", "database": "k2"},
    "postgres": {"host": "127.0.0.1", "port": 5432, "database": "k2", "user": "k2", "password": "hidden-1"},
    "object_store": {"url": "http://h:9000", "bucket": "warehouse", "access_key": "a", "secret_key": "hidden-2"},
    "orchestrator": {"url": "http://127.0.0.1:4200/api", "work_pool": "iceberg-offload", "interval_s": 60},
    "lab_id": "one",
    "variant": "exactly-once",
    "namespace": "k2",
}


def test_a_whole_file_is_read_and_tells_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "offload.json"
    path.write_text(json.dumps(DOCUMENT))
    config = read_config(path)
    assert config.variant is Variant.EXACTLY_ONCE
    assert config.postgres.port == 5432
    assert config.object_store.secret_key == "hidden-2"
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("clickhouse", "url", "127.0.0.1:8123", "http://host:port as clickhouse.url"),
        ("clickhouse", "database", "k2; DROP", "a plain identifier as clickhouse.database"),
        ("postgres", "port", "5432", "a whole number from 1 to 65535 as postgres.port"),
        ("postgres", "port", True, "a whole number from 1 to 65535 as postgres.port"),
        ("postgres", "password", 7, "text as postgres.password"),
        ("object_store", "bucket", "A_B", "a bucket name"),
        ("object_store", "secret_key", "", "text as object_store.secret_key"),
        ("orchestrator", "interval_s", 0, "a whole number from 1 to 86400 as orchestrator.interval_s"),
        (None, "variant", "best-effort", "exactly-once | append-then-watermark as variant"),
        (None, "namespace", "a.b", "a plain identifier as namespace"),
        (None, "lab_id", None, "the key lab_id"),
        (None, "postgres", None, "the key postgres"),
        (None, "postgres", [], "an object as postgres"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, section: str | None, key: str, value: object, said: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    target = document if section is None else document[section]
    assert isinstance(target, dict)
    if value is None:
        del target[key]
    else:
        target[key] = value
    path = tmp_path / "offload.json"
    path.write_text(json.dumps(document))
    with pytest.raises(LabError) as caught:
        read_config(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_and_no_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        read_config(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(LabError, match="expected JSON in"):
        read_config(tmp_path / "bad.json")

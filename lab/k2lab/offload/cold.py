# SPDX-License-Identifier: Apache-2.0
"""Writing the cold tier: Iceberg tables whose files lie in the object store and whose catalog is in Postgres.

A commit is one compare-and-swap of the catalog's pointer to the table's metadata. It holds the data files and the
watermark, and requires that the table is still at the snapshot from which this process read the watermark. pyiceberg
would by itself put a failed append on top of whatever came first, which would double the rows if that was another
run: its retries are switched off (the table property commit.retry.num-retries), and who may try again is decided
where the watermark is known.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Transaction
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.update.snapshot import ExpireSnapshots
from pyiceberg.transforms import parse_transform
from sqlalchemy.exc import SQLAlchemyError

from k2lab.common.errors import LabError
from k2lab.offload.columns import Column, fields
from k2lab.offload.config import OffloadConfig
from k2lab.offload.errors import ConflictError, object_store_error, postgres_error
from k2lab.offload.hot import Stretch
from k2lab.offload.mirror import CONNECT_TIMEOUT_S, STATEMENT_TIMEOUT_S
from k2lab.offload.tables import Table
from k2lab.offload.watermark import PROPERTY, Watermark

CATALOG = "k2"
CONTRACT = "k2.offload.columns"
VARIANT = "k2.offload.variant"
SNAPSHOTS_KEPT = 20

# Everything of a table's metadata is read and written with each commit: with 400 snapshots a commit takes five times
# as long as with 20. So a run itself lets go of old ones; their files are the maintenance's business.
_TRIM_AT = 2 * SNAPSHOTS_KEPT

_TABLE_PROPERTIES = {
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "write.parquet.compression-codec": "zstd",
}


class ColdTier:
    """The catalog and its tables. Methods raise StoreError, ConflictError or LabError."""

    def __init__(self, config: OffloadConfig, *, create: bool = False) -> None:
        """Connect to the catalog; `create` makes its tables if they are missing."""
        _import_without_pandas("pyiceberg.io.pyarrow")
        from k2lab.offload.file_io import properties_of

        self._namespace = config.namespace
        self._store = config.object_store
        postgres = config.postgres
        self._postgres_at = f"{postgres.host}:{postgres.port}"
        user, password = quote(postgres.user, safe=""), quote(postgres.password, safe="")
        options = quote(f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000} -c client_connection_check_interval=1000")
        with self.errors():
            self._catalog = SqlCatalog(
                CATALOG,
                uri=f"postgresql+psycopg://{user}:{password}@{postgres.host}:{postgres.port}/{postgres.database}"
                f"?connect_timeout={CONNECT_TIMEOUT_S}&application_name=k2-offload-catalog&options={options}",
                warehouse=f"s3://{self._store.bucket}",
                init_catalog_tables=str(create),
                **properties_of(config.object_store),
            )

    def close(self) -> None:
        """Close the catalog's connections."""
        self._catalog.close()

    def create_namespace(self) -> None:
        """Create the namespace unless it is there."""
        with self.errors():
            try:
                self._catalog.create_namespace(self._namespace)
            except NamespaceAlreadyExistsError:
                return

    def load(self, name: str) -> IcebergTable | None:
        """The table as it is now; None when the catalog has none of that name.

        Raises LabError when the catalog names files that are not there.
        """
        try:
            with self.errors():
                return self._catalog.load_table((self._namespace, name))
        except NoSuchTableError:
            return None
        except FileNotFoundError as error:
            raise LabError(
                f"the metadata of the Iceberg table {name} where the catalog says",
                str(error),
                "the bucket was emptied or is another one: restore it or correct object_store; nothing was moved",
            ) from error

    def create(self, table: Table, columns: Sequence[Column], properties: Mapping[str, str]) -> IcebergTable:
        """Create the table, partitioned, with what it is to know of its origin."""
        schema = Schema(*fields(columns))
        column, transform = table.partition_by
        spec = PartitionSpec(
            PartitionField(
                schema.find_field(column).field_id, 1000, parse_transform(transform), f"{column}_{transform}"
            )
        )
        with self.errors():
            return self._catalog.create_table(
                (self._namespace, table.name),
                schema,
                partition_spec=spec,
                properties={**_TABLE_PROPERTIES, **properties},
            )

    def append(
        self, iceberg: IcebergTable, data: pa.Table, watermark: Watermark | None, summary: Mapping[str, str]
    ) -> None:
        """Add rows and, unless None, move the watermark: one commit. `iceberg` is then at the new snapshot."""
        with self.errors():
            transaction = iceberg.transaction()
            transaction.append(_fitted(iceberg, data), snapshot_properties=dict(summary))
            _commit(transaction, watermark)

    def replace(
        self,
        iceberg: IcebergTable,
        data: pa.Table,
        stretches: Sequence[Stretch],
        watermark: Watermark | None,
        summary: Mapping[str, str],
    ) -> None:
        """Put `data` in place of all rows whose window starts in the stretches: one commit."""
        with self.errors(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Delete operation did not match any records")
            transaction = iceberg.transaction()
            transaction.overwrite(
                _fitted(iceberg, data), overwrite_filter=_windows(stretches), snapshot_properties=dict(summary)
            )
            _commit(transaction, watermark)

    def join(self, iceberg: IcebergTable, tasks: Sequence[FileScanTask], summary: Mapping[str, str]) -> int:
        """Put one file with the same rows in place of several: one commit. Returns the number of rows."""
        from pyiceberg.io.pyarrow import ArrowScan

        expected = sum(task.file.record_count for task in tasks)
        with self.errors():
            data = ArrowScan(iceberg.metadata, iceberg.io, iceberg.schema(), AlwaysTrue()).to_table(tasks)
            if data.num_rows != expected:
                raise LabError(
                    f"{expected} rows in {len(tasks)} files of {iceberg.name()[-1]}, as the manifests say",
                    f"{data.num_rows}",
                    "the files are damaged, nothing was changed; look at them before the next maintenance",
                )
            transaction = iceberg.transaction()
            with transaction.update_snapshot(snapshot_properties=dict(summary)).overwrite() as overwrite:
                for task in tasks:
                    overwrite.delete_data_file(task.file)
            transaction.append(data, snapshot_properties=dict(summary))
            _commit(transaction, None)
        return expected

    def expire(self, iceberg: IcebergTable, keep: int) -> int:
        """Let go of all but the `keep` newest snapshots; returns how many went."""
        with self.errors():
            transaction = iceberg.transaction()
            count = trim(transaction, keep)
            transaction.commit_transaction()
        return count

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the libraries raise into errors that say what to do."""
        try:
            yield
        except (CommitFailedException, ValidationException) as error:
            raise ConflictError(
                "to be the only one who commits to the table", str(error), "the next run starts from what is there"
            ) from error
        except SQLAlchemyError as error:
            raise postgres_error(self._postgres_at, error) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            known = object_store_error(self._store.url, error)
            if known is None:
                raise
            raise known from error


def kept_watermark(iceberg: IcebergTable) -> Watermark | None:
    """What the table says of itself; None when nothing was ever moved by the exactly-once variant."""
    text = iceberg.properties.get(PROPERTY)
    return None if text is None else Watermark.from_json(text, f"the Iceberg table {'.'.join(iceberg.name())}")


def trim(transaction: Transaction, keep: int) -> int:
    """Let go of all but the `keep` newest snapshots; returns how many went."""
    metadata = transaction.table_metadata
    by_age = sorted(metadata.snapshots, key=lambda snapshot: snapshot.timestamp_ms)
    heads = {ref.snapshot_id for ref in metadata.refs.values()}
    old = [
        snapshot.snapshot_id for snapshot in by_age[: max(0, len(by_age) - keep)] if snapshot.snapshot_id not in heads
    ]
    if old:
        ExpireSnapshots(transaction).by_ids(old).commit()
    return len(old)


def _commit(transaction: Transaction, watermark: Watermark | None) -> None:
    if watermark is not None:
        transaction.set_properties({PROPERTY: watermark.to_json()})
    if len(transaction.table_metadata.snapshots) > _TRIM_AT:
        trim(transaction, SNAPSHOTS_KEPT)
    transaction.commit_transaction()


def _fitted(iceberg: IcebergTable, data: pa.Table) -> pa.Table:
    """The data in the table's own types; a value that does not fit exactly is an error."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    target = schema_to_pyarrow(iceberg.schema(), include_field_ids=False)
    try:
        return data.select(target.names).cast(target)
    except pa.ArrowInvalid as error:
        raise LabError(
            f"values that fit the columns of the Iceberg table {'.'.join(iceberg.name())}",
            str(error),
            "nothing was moved. Correct or remove the value in ClickHouse",
        ) from error


def _windows(stretches: Sequence[Stretch]) -> str:
    def moment(seconds: int) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat()

    return " or ".join(
        f"(window_start >= '{moment(stretch.start_s)}' and window_start < '{moment(stretch.end_s)}')"
        for stretch in stretches
    )


def _import_without_pandas(module: str) -> None:
    """Import a module that would take pandas along if it is installed, which costs 0.9 CPU-s and is of no use here."""

    class Absent:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pandas":
                raise ModuleNotFoundError(name, name=name)

    absent = Absent()
    sys.meta_path.insert(0, absent)
    try:
        importlib.import_module(module)
    finally:
        sys.meta_path.remove(absent)

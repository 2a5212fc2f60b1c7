# SPDX-License-Identifier: Apache-2.0
"""How pyiceberg reaches the object store: as the rest of this package does."""

from __future__ import annotations

from pyarrow import fs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from k2lab.offload.bucket import s3_filesystem
from k2lab.offload.config import ObjectStore

_KEYS = {
    "url": "s3.endpoint",
    "bucket": "s3.bucket",
    "access_key": "s3.access-key-id",
    "secret_key": "s3.secret-access-key",
}


class SharedFileIO(PyArrowFileIO):
    """The file system with our timeouts and retries, opened once per process.

    What pyiceberg brings opens one per table and commit, and begins a multipart upload for each file of 10 KB: three
    requests where one does.
    """

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        store = ObjectStore(**{field: properties[key] for field, key in _KEYS.items()})

        def opened(_scheme: str, _netloc: str | None = None) -> fs.FileSystem:
            return s3_filesystem(store)

        self.fs_by_scheme = opened


def properties_of(store: ObjectStore) -> dict[str, str]:
    """What a catalog must be given to use it."""
    named = {key: str(getattr(store, field)) for field, key in _KEYS.items()}
    return {**named, "py-io-impl": f"{__name__}.{SharedFileIO.__name__}"}

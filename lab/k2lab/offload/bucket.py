# SPDX-License-Identifier: Apache-2.0
"""The bucket of the cold tier, and the marker in it that says whose it is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

from pyarrow import fs

from k2lab.common.errors import LabError
from k2lab.offload.config import ObjectStore
from k2lab.offload.errors import object_store_error

log = logging.getLogger(__name__)

MARKER = "k2-lab.json"
_CONNECT_TIMEOUT_S = 3
_REQUEST_TIMEOUT_S = 10
_REGION = "us-east-1"


@lru_cache
def s3_filesystem(store: ObjectStore) -> fs.S3FileSystem:
    """The file system of an object store, the same at each call. No wait is endless, and the next run is the retry."""
    return fs.S3FileSystem(
        endpoint_override=store.url,
        access_key=store.access_key,
        secret_key=store.secret_key,
        region=_REGION,
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_timeout=_REQUEST_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        allow_bucket_creation=True,
        allow_delayed_open=True,  # one request for a small file instead of the three of a multipart upload
    )


class Bucket:
    """One bucket. Methods raise StoreError when the object store cannot be used, LabError otherwise."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        with _errors(store):
            self.filesystem = s3_filesystem(store)

    def claim(self, lab_id: str) -> None:
        """Make the bucket this lab's: create it, or take an empty one. Safe to repeat.

        Raises LabError when it is another lab's, or holds objects and no marker.
        """
        name = self._store.bucket
        with _errors(self._store):
            if self.filesystem.get_file_info(name).type is fs.FileType.NotFound:
                self.filesystem.create_dir(name)
                log.info("bucket %s made", name)
            owner = self._owner()
            if owner is None:
                found = self.filesystem.get_file_info(fs.FileSelector(name))
                if found:
                    raise LabError(
                        f"bucket {name} at {self._store.url} empty, or with {MARKER} in it",
                        f"{len(found)} entries, among them {found[0].base_name}, and no marker",
                        "choose another bucket, or remove what is in it; nothing was written",
                    )
                with self.filesystem.open_output_stream(f"{name}/{MARKER}") as stream:
                    stream.write(json.dumps({"lab_id": lab_id}).encode())
                return
        self._check(owner, lab_id)

    def check(self, lab_id: str) -> None:
        """Raise LabError unless the bucket is this lab's."""
        with _errors(self._store):
            owner = self._owner()
        if owner is None:
            raise LabError(
                f"{MARKER} in bucket {self._store.bucket} at {self._store.url}",
                "none: the bucket was emptied, or is not the cold tier's",
                "correct object_store, restore the bucket, or run the init command on an empty one",
            )
        self._check(owner, lab_id)

    def files(self, below: str) -> Sequence[fs.FileInfo]:
        """All objects below a path (bucket/prefix)."""
        with _errors(self._store):
            found: Sequence[fs.FileInfo] = self.filesystem.get_file_info(
                fs.FileSelector(below, recursive=True, allow_not_found=True)
            )
        return found

    def remove(self, paths: Sequence[str]) -> None:
        """Remove objects (bucket/key); one that is gone already is passed over."""
        with _errors(self._store):
            for path in paths:
                with suppress(FileNotFoundError):
                    self.filesystem.delete_file(path)

    def _owner(self) -> str | None:
        try:
            with self.filesystem.open_input_stream(f"{self._store.bucket}/{MARKER}") as stream:
                text = stream.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return None
        try:
            return str(json.loads(text)["lab_id"])
        except (ValueError, KeyError, TypeError):
            return f"unreadable: {text[:100]!r}"

    def _check(self, owner: str, lab_id: str) -> None:
        if owner != lab_id:
            raise LabError(
                f"bucket {self._store.bucket} at {self._store.url} to be that of lab {lab_id}",
                f"{MARKER} names {owner}",
                "use another bucket or base port, or take the other lab down and purge it; nothing was written",
            )


@contextmanager
def _errors(store: ObjectStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = object_store_error(store.url, error)
        if known is None:
            raise
        raise known from error

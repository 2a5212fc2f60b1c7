# SPDX-License-Identifier: Apache-2.0
"""The image of a lab's containers: empty directories and a small /etc.

Their programs are the host's, mounted read-only. It needs neither a registry nor a network, and is made in a moment.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from k2lab.common.errors import LabError
from k2lab.control.docker.api import HTTP_NOT_FOUND, Engine, EngineError

REPOSITORY = "k2-lab-host"
HTTP_CONFLICT = 409
IMPORT_TIMEOUT_S = 120.0
# Mounted over, or written to. /sbin is a real directory: an init that reaps children is mounted into it.
DIRECTORIES = ("usr", "opt", "etc", "proc", "sys", "dev", "run", "tmp", "var/lib", "var/log", "var/tmp", "root", "sbin")
OPEN_DIRECTORIES = ("tmp", "var/tmp")
# Where these are links of a merged /usr, they are links in the image.
LINKS = ("bin", "lib", "lib32", "lib64", "libx32")
# What the host's programs read to find libraries, users, time zones, certificates and their own settings.
ETC = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "nsswitch.conf", "localtime"),
    *("passwd", "group", "ssl/certs", "java-*"),
)


@dataclass(frozen=True)
class HostImage:
    """An archive of the image's files, and the tag that follows from it."""

    archive: bytes
    tag: str

    @classmethod
    def of(cls, root: Path = Path("/")) -> HostImage:
        """The image for the programs of this machine, or of the file system below `root`."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in DIRECTORIES:
                _add_directory(archive, name, 0o1777 if name in OPEN_DIRECTORIES else 0o755)
            for name in LINKS:
                if (root / name).is_symlink():
                    _add_link(archive, name, str((root / name).readlink()))
            for path in sorted(path for pattern in ETC for path in (root / "etc").glob(pattern)):
                _add_tree(archive, root, path)
        content = buffer.getvalue()
        return cls(content, f"{REPOSITORY}:{hashlib.sha256(content).hexdigest()[:12]}")

    def ensure(self, engine: Engine) -> bool:
        """Have the engine know the image; True when it was made now."""
        try:
            engine.get(f"/images/{self.tag}/json")
        except EngineError as error:
            if error.status != HTTP_NOT_FOUND:
                raise
        else:
            return False
        repository, _, tag = self.tag.partition(":")
        query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": 'CMD ["true"]'}
        answer = engine.call("POST", "/images/create", query, self.archive, IMPORT_TIMEOUT_S)
        # Refusals come as a line of a stream that began with 200.
        for line in answer.splitlines():
            if line.strip() and (refused := json.loads(line).get("error")):
                raise LabError(
                    f"the Docker Engine to import the image {self.tag}", str(refused), "see the engine's log"
                )
        return True


def remove_images(engine: Engine) -> None:
    """Remove the images of this kind, except those that another lab's containers use."""
    for image in engine.get("/images/json", {"filters": json.dumps({"reference": [REPOSITORY]})}):
        for tag in image["RepoTags"] or []:
            try:
                engine.call("DELETE", f"/images/{tag}")
            except EngineError as error:
                if error.status not in (HTTP_NOT_FOUND, HTTP_CONFLICT):
                    raise


def outermost(paths: Iterable[Path]) -> list[str]:
    """Directories to mount so that each of `paths` is there: absolute, sorted, none inside another."""
    wanted = sorted({each for path in paths for each in (path.absolute(), path.resolve())})
    kept: list[Path] = []
    for path in wanted:
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return [str(path) for path in kept]


def _add_directory(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _add_tree(archive: tarfile.TarFile, root: Path, path: Path) -> None:
    """A file or directory. Links into /usr stay links: /usr is mounted. Others are followed."""
    name = str(path.relative_to(root))
    if path.is_symlink() and str(path.readlink()).startswith("/usr/"):
        _add_link(archive, name, str(path.readlink()))
    elif path.is_dir():
        _add_directory(archive, name, 0o755)
        for child in sorted(path.iterdir()):
            _add_tree(archive, root, child)
    elif path.is_file():
        content = path.read_bytes()
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))

# SPDX-License-Identifier: Apache-2.0
"""A directory of configuration in which some files are ours and some are others'.

Everything happens inside the directory and by renaming single files: a container that has the directory mounted sees
each change, while a mounted file would keep its old inode. ``.k2_hardening/`` holds, besides the staged copy, what the
files were before (``before/``, until a deployment is verified) and what we took the place of (``originals/``, until we
leave).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .errors import CannotDeploy

WORK = ".k2_hardening"
_MANIFEST = "manifest.json"
_SWAP = "swap.json"
_PUBLIC, _SECRET = 0o644, 0o600


@dataclass(frozen=True)
class Content:
    """What a file is to hold; a secret one is readable by its owner alone and never shown."""

    text: str
    is_secret: bool = False


@dataclass(frozen=True)
class Plan:
    """What a deployment changes, as paths below the directory. ``warnings`` say what is left alone, and why."""

    write: tuple[str, ...]
    remove: tuple[str, ...]
    restore: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.write or self.remove or self.restore)


@dataclass(frozen=True)
class _Manifest:
    """The files we own with the digests of what we wrote, those of them that took the place of an original, and the
    directories that we made.
    """

    files: Mapping[str, str]
    originals: tuple[str, ...]
    directories: tuple[str, ...] = ()


class Tree:
    """The directory at ``root``. ``adopted`` may be taken over from others; what was there comes back when we leave."""

    def __init__(self, root: Path, adopted: tuple[str, ...]) -> None:
        self.root = root
        self._work = root / WORK
        self._adopted = adopted
        self._made: list[str] = []

    # -- looking -----------------------------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Raises CannotDeploy when the directory is not there or cannot be written to."""
        if not self.root.is_dir():
            raise CannotDeploy(
                "there is no directory for the configuration",
                expected=f"a directory {self.root}",
                seen="a file" if self.root.exists() else "nothing",
                action="mount or make it, or correct the directory in k2_alerting",
            )
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise CannotDeploy(
                "the directory for the configuration is read-only",
                expected=f"leave to write in {self.root}",
                seen="none",
                action="run with --become, or mount the directory with write access on the host",
            )

    @property
    def is_owned(self) -> bool:
        """Whether a deployment of ours is there."""
        return (self._work / _MANIFEST).exists()

    def plan(self, wanted: Mapping[str, Content]) -> Plan:
        """What to do so that our files are ``wanted``; nothing wanted means leaving."""
        manifest = self._manifest()
        write, remove, restore, warnings = [], [], [], []
        for path, content in wanted.items():
            present = self._digest(path)
            if present is not None and path not in manifest.files and path not in self._adopted:
                raise CannotDeploy(
                    f"{path} is not ours to replace",
                    expected=f"no file {self.root / path}, or one that this tool wrote",
                    seen="somebody else's file",
                    action="move it away, or give it another name",
                )
            if present != _digest(content.text.encode()) or not self._mode_is_right(path, content):
                write.append(path)
        for path, digest in manifest.files.items():
            if path in wanted:
                continue
            if path in manifest.originals:
                restore.append(path)
            elif self._digest(path) in {digest, None}:
                remove.append(path)
            else:
                warnings.append(f"{path} was changed by somebody since we wrote it, and is left where it is")
        return Plan(tuple(write), tuple(remove), tuple(restore), tuple(warnings))

    def before_and_after(self, plan: Plan, wanted: Mapping[str, Content]) -> Iterator[tuple[str, str, str]]:
        """Path, text before and text after of everything that changes; a secret is only said to change."""
        for path in plan.write:
            if wanted[path].is_secret:
                there = self._digest(path) is not None
                yield path, "(a secret)\n" if there else "", "(a secret, changed)\n" if there else "(a secret)\n"
            else:
                yield path, self._text(path), wanted[path].text
        for path in plan.remove:
            secret = (self.root / path).exists() and (self.root / path).stat().st_mode & 0o077 == 0
            yield path, "(a secret)\n" if secret else self._text(path), ""
        for path in plan.restore:
            yield path, self._text(path), self._original(path).read_text(encoding="utf-8", errors="replace")

    # -- changing ----------------------------------------------------------------------------------------------------

    def recover(self) -> bool:
        """Put back what a deployment that was killed in the middle had replaced; whether there was one."""
        if not (self._work / _SWAP).exists():
            return False
        self.put_back()
        return True

    @contextlib.contextmanager
    def staged(self, wanted: Mapping[str, Content], plan: Plan, place: Optional[Path] = None) -> Iterator[Path]:
        """A copy of the whole directory with the changes made, others' files included; gone afterwards.

        ``place`` is an empty directory elsewhere, where the directory itself must not be touched.
        """
        stage = self._work / "staged" if place is None else place
        if place is None:
            self._make_work()
            shutil.rmtree(stage, ignore_errors=True)
        try:
            shutil.copytree(self.root, stage, symlinks=True, ignore=shutil.ignore_patterns(WORK), dirs_exist_ok=True)
            for path in (*plan.remove, *plan.restore):
                (stage / path).unlink(missing_ok=True)
            for path in plan.restore:
                shutil.copy2(self._original(path), stage / path)
            for path in plan.write:
                self._write(stage / path, wanted[path])
            self._like_root(stage)
            yield stage
        finally:
            if place is None:
                shutil.rmtree(stage, ignore_errors=True)

    def swap(self, stage: Path, plan: Plan) -> None:
        """Move the staged files into place, one rename each; ``put_back`` undoes it until ``settle`` is called."""
        manifest = self._manifest()
        before = self._work / "before"
        shutil.rmtree(before, ignore_errors=True)
        touched = (*plan.write, *plan.remove, *plan.restore)
        for path in touched:
            if (self.root / path).exists():
                (before / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / path, before / path)
        # From here on a killed run is put back by the next one.
        self._save(_SWAP, {"touched": list(touched)})
        for path in plan.write:
            if path not in manifest.files and (self.root / path).exists() and not self._original(path).exists():
                self._original(path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / path, self._original(path))
        for path in (*plan.write, *plan.restore):
            self._make_parents(self.root / path)
            (stage / path).replace(self.root / path)
        for path in plan.remove:
            (self.root / path).unlink(missing_ok=True)

    def put_back(self) -> None:
        """Undo ``swap``."""
        touched = json.loads((self._work / _SWAP).read_text(encoding="utf-8"))["touched"]
        before = self._work / "before"
        owned = self._manifest().files
        for path in touched:
            if (before / path).exists():
                shutil.copy2(before / path, self.root / f"{path}.k2_back")
                (self.root / f"{path}.k2_back").replace(self.root / path)
            else:
                (self.root / path).unlink(missing_ok=True)
            if path not in owned:
                self._original(path).unlink(missing_ok=True)
        (self._work / _SWAP).unlink()
        shutil.rmtree(before, ignore_errors=True)
        if not self.is_owned:
            shutil.rmtree(self._work, ignore_errors=True)

    def settle(self, wanted: Mapping[str, Content]) -> None:
        """The deployment is verified: what is wanted is ours now; without any, nothing of ours remains."""
        originals = [path for path in wanted if self._original(path).exists()]
        directories = [*self._manifest().directories, *self._made]
        if wanted:
            files = {path: _digest(content.text.encode()) for path, content in wanted.items()}
            document = {"schema": 1, "files": files, "originals": originals, "directories": directories}
            self._save(_MANIFEST, document)
        else:
            (self._work / _MANIFEST).unlink(missing_ok=True)
            for name in sorted(directories, reverse=True):
                with contextlib.suppress(OSError):  # somebody else's files may be there by now
                    (self.root / name).rmdir()
        (self._work / _SWAP).unlink(missing_ok=True)
        shutil.rmtree(self._work / "before", ignore_errors=True)
        if not wanted:
            shutil.rmtree(self._work, ignore_errors=True)

    # -- details -----------------------------------------------------------------------------------------------------

    def _manifest(self) -> _Manifest:
        path = self._work / _MANIFEST
        if not path.exists():
            return _Manifest({}, ())
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return _Manifest(dict(data["files"]), tuple(data["originals"]), tuple(data["directories"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CannotDeploy(
                "what this tool wrote down about its files cannot be read",
                expected=f"the manifest in {path}",
                seen=str(error),
                action="if nothing of this tool is there any more, remove the file",
            ) from error

    def _save(self, name: str, document: object) -> None:
        self._make_work()
        new = self._work / f"{name}.new"
        new.write_text(json.dumps(document, indent=1), encoding="utf-8")
        new.replace(self._work / name)

    def _make_work(self) -> None:
        # A server in a container stages nothing, but its checker reads what is staged.
        self._work.mkdir(mode=0o755, exist_ok=True)
        self._like_root(self._work)

    def _original(self, path: str) -> Path:
        return self._work / "originals" / path

    def _text(self, path: str) -> str:
        place = self.root / path
        return place.read_text(encoding="utf-8", errors="replace") if place.exists() else ""

    def _digest(self, path: str) -> Optional[str]:
        place = self.root / path
        return _digest(place.read_bytes()) if place.exists() else None

    def _mode_is_right(self, path: str, content: Content) -> bool:
        return not content.is_secret or (self.root / path).stat().st_mode & 0o077 == 0

    def _write(self, place: Path, content: Content) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        mode = _SECRET if content.is_secret else _PUBLIC
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(content.text)
            handle.flush()
            os.fsync(handle.fileno())

    def _make_parents(self, place: Path) -> None:
        missing = [parent for parent in place.parents if not parent.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        for parent in missing:
            self._like_root(parent)
            self._made.append(str(parent.relative_to(self.root)))

    def _like_root(self, top: Path) -> None:
        """Give everything at ``top`` to whom the directory belongs: the server may run as another user than we do."""
        if os.geteuid() != 0:
            return
        owner = self.root.stat()
        for found in (top, *(top.rglob("*") if top.is_dir() else ())):
            os.chown(found, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

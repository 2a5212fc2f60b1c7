# SPDX-License-Identifier: Apache-2.0
"""The image of a lab's containers: what is in it, and when it is another one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from k2lab.control.docker.image import HostImage, outermost


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    (etc / "java-17-openjdk").mkdir(parents=True)
    (etc / "java-17-openjdk" / "jvm.cfg").write_text("-server KNOWN\n")
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (etc / "shadow").write_text("root:secret::\n")
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    return tmp_path


def members(image: HostImage) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(image.archive)) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_it_holds_what_the_hosts_programs_read_and_no_secret(root: Path) -> None:
    found = members(HostImage.of(root))
    assert found["etc/passwd"].isfile()
    assert found["etc/java-17-openjdk/jvm.cfg"].size == len("-server KNOWN\n")
    assert found["etc/localtime"].linkname == "/usr/share/zoneinfo/Etc/UTC"
    assert "etc/shadow" not in found


def test_links_of_a_merged_usr_stay_links_and_sbin_takes_an_init(root: Path) -> None:
    found = members(HostImage.of(root))
    assert found["bin"].linkname == "usr/bin"
    assert found["sbin"].isdir()
    assert found["tmp"].mode == 0o1777


def test_the_tag_follows_from_the_content(root: Path) -> None:
    first = HostImage.of(root).tag
    assert HostImage.of(root).tag == first
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/bash\n")
    assert HostImage.of(root).tag != first


def test_only_the_outermost_directories_are_mounted(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    wanted = [tmp_path / "link", tmp_path / "real" / "inner", Path("/usr/bin"), Path("/usr")]
    assert outermost(wanted) == sorted(["/usr", str(tmp_path / "link"), str(tmp_path / "real")])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run ``ansible-test sanity`` on a copy of the working tree.

ansible-test wants a real path ``.../ansible_collections/k2/hardening``, which a checkout with a link to itself is not.
It makes virtual environments for its tools and bootstraps pip in them from a download site of its own; the package
configuration of this machine is all that a build server need have, so pip comes from there. Both live in
``.cache/sanity``, and only the first run takes long.

The lab, the benchmarks and the tests are left out: Ansible never loads them, and the project's linters are stricter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".cache" / "sanity"
LEFT_OUT = ("collections/", "lab/", "benchmarks/", "tests/unit/", "tests/integration/", "tests/tools/")
PIP_CHATTER = re.compile(
    r"^(Collecting|Installing collected|Successfully installed|Looking in|  +(Downloading|━)).*\n", re.MULTILINE
)
# What tells programs where packages come from. ansible-test passes none of it on, hence the files made from it below.
PASSED_ON = re.compile(r"^(PIP_.*|UV_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|(https?|no|all)_proxy)$", re.IGNORECASE)
BOOTSTRAP = """\
import os, subprocess, sys
packages = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
command = ["uv", "pip", "install", "--quiet", "--python", sys.executable, *packages]
sys.exit(subprocess.call(command, env={{**os.environ, **{environment!r}}}))
"""


def copy_tree(target: Path, leave_out: tuple[str, ...] = LEFT_OUT) -> None:
    """Copy what is or could be committed, and make it a repository: ansible-test asks git what belongs to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        source = ROOT / name
        if name.startswith(leave_out) or not source.is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target / name)
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=target, check=True)


def prepare_home() -> None:
    """A home directory that tells pip, and the bootstrap of pip, what this process' environment says."""
    environment = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    version = pip_version()
    (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP.format(environment=environment))
    settings = {
        name[4:].lower().replace("_", "-"): value for name, value in environment.items() if name.startswith("PIP_")
    }
    proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy")
    if proxy:
        settings.setdefault("proxy", proxy)
    config = HOME / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    config.chmod(0o600)


def pip_version() -> str:
    """The version of pip that the installed ansible-test bootstraps.

    Raises SystemExit when it cannot be told.
    """
    import ansible_test

    path = Path(str(ansible_test.__file__)).parent / "_internal" / "python_requirements.py"
    found = re.search(r"\bpip='([0-9.]+)'", path.read_text(encoding="utf-8"))
    if not found:
        sys.exit(f"cannot tell which pip ansible-test bootstraps: expected pip='<version>' in {path}")
    return found.group(1)


def main() -> int:
    """Run the tests named on the command line, or all; the exit code is ansible-test's."""
    prepare_home()
    with tempfile.TemporaryDirectory(prefix="k2-sanity-") as scratch:
        tree = Path(scratch) / "ansible_collections" / "k2" / "hardening"
        tree.mkdir(parents=True)
        copy_tree(tree)
        names = [option for test in sys.argv[1:] for option in ("--test", test)]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = ["ansible-test", "sanity", "--python", version, "--color", "no", *names]
        done = subprocess.run(
            command,
            cwd=tree,
            env={**os.environ, "HOME": str(HOME), "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    sys.stdout.write(PIP_CHATTER.sub("", done.stdout))
    ran = done.stdout.count("Running sanity test")
    print(f"{ran} sanity tests run")
    return done.returncode if ran else 1


if __name__ == "__main__":
    sys.exit(main())

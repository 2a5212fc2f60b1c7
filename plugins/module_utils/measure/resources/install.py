# SPDX-License-Identifier: Apache-2.0
"""Puts the sampler on the target as files of its own, and starts it so that it outlives whoever asked for it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import shlex
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

from ...core.clock import Deadline
from ...fault.steps import write_durably
from . import sampler
from .home import LOG, Home, WindowError
from .samples import last_row

START_S = 20.0
_PACKAGE = sampler.__name__.partition(".measure.")[0]
_MAIN = "main.py"
_START = """\
import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from {module} import main

sys.exit(main(sys.argv[1:]))
"""
# A shell costs next to nothing while it waits; what it waits for may be killed at any time.
_GUARD = """\
#!/bin/sh
# Starts the sampler of this window again when something kills it. It ends with the window.
while :; do
  {command} </dev/null >>{log} 2>&1
  code=$?
  case $code in 0|2|3) exit $code ;; esac
  sleep {pause}
done
"""
GUARD = "guard.sh"
PAUSE_S = 2
_POLL_S = 0.05


def closure(module: str = sampler.__name__) -> dict[str, str]:
    """Sources of ``module`` and of all that it imports of this package, by name; also from within a module's archive.

    Raises WindowError where one cannot be had.
    """
    found: dict[str, str] = {}
    left = [module]
    while left:
        name = left.pop()
        if name in found or not (name == _PACKAGE or name.startswith(f"{_PACKAGE}.")):
            continue
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise WindowError(f"{name} is not part of this module", expected="all that the sampler imports")
        source = _source(spec)
        found[name] = source
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        left += _imported(source, package)
        left += [name.rpartition(".")[0]]
    return found


def _source(spec: ModuleSpec) -> str:
    get_source = getattr(spec.loader, "get_source", None)
    # Ansible's own loader of collections gives bytes.
    source = get_source(spec.name) if get_source is not None else None
    if isinstance(source, bytes):
        return source.decode("utf-8")
    if source is None and spec.submodule_search_locations is None:
        raise WindowError(f"the source of {spec.name} cannot be had", expected="a module of Python", seen=str(spec))
    return str(source or "")


def _imported(source: str, package: str) -> list[str]:
    """Full names of what ``source`` imports, as far as they may be modules."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(part for part in (base, node.module or "") if part)
            names.append(origin)
            names += [f"{origin}.{each.name}" for each in node.names if _is_module(f"{origin}.{each.name}")]
    return names


def _is_module(name: str) -> bool:
    if not name.startswith(_PACKAGE):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def install(directory: Path) -> Path:
    """Write the sampler below ``directory``, named by its content; returns the file to run.

    Raises WindowError.
    """
    sources = closure()
    digest = hashlib.sha256("".join(f"{name}\n{text}" for name, text in sorted(sources.items())).encode()).hexdigest()
    folder = directory / f"sampler-{digest[:12]}"
    main = folder / _MAIN
    if main.exists():
        return main
    try:
        for name, source in sources.items():
            path = folder.joinpath(*name.split("."))
            inner = any(other.startswith(f"{name}.") for other in sources)
            _write(path / "__init__.py" if inner else path.with_suffix(".py"), source)
        # A collection that is installed on the target must not take the place of these: all are packages of their own.
        parts = _PACKAGE.split(".")
        for depth in range(1, len(parts)):
            package = folder.joinpath(*parts[:depth]) / "__init__.py"
            if not package.exists():
                _write(package, "")
        # The last: what is there is whole.
        _write(main, _START.format(module=sampler.__name__))
    except OSError as error:
        raise WindowError(
            f"the sampler cannot be installed in {folder}",
            expected="a writable directory with free space",
            seen=str(error),
            action="free space, run with become: true, or correct state_dir",
        ) from error
    return main


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, text)


def start(home: Home, program: Path) -> None:
    """Start the sampler of ``home`` under its guard and return when it has looked once.

    Raises WindowError, with what it said of itself.
    """
    command = shlex.join([sys.executable, "-I", str(program), str(home.path)])
    guard = home.path / GUARD
    before = last_row(home.path, "ticks").get("tick")
    log = home.path / LOG
    try:
        write_durably(guard, _GUARD.format(command=command, log=shlex.quote(str(log)), pause=PAUSE_S))
        process = subprocess.Popen(
            ["/bin/sh", str(guard)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            cwd="/",
            start_new_session=True,
            umask=0o022,
        )
    except OSError as error:
        raise WindowError("the sampler cannot be started", expected=f"a shell and {guard}", seen=str(error)) from error
    deadline = Deadline.after(START_S)
    while last_row(home.path, "ticks").get("tick") in (before, None):
        if process.poll() is not None and last_row(home.path, "ticks").get("tick") in (before, None):
            raise WindowError(
                "the sampler does not run",
                expected="its first look",
                seen=f"exit code {process.returncode}: {home.tail() or 'it said nothing'}",
                action=f"see {log}",
            )
        if deadline.passed:
            raise WindowError(
                "the sampler did not look in time",
                expected=f"its first look within {START_S:g} s",
                seen=home.tail() or "nothing",
                action=f"see {log}",
            )
        time.sleep(_POLL_S)

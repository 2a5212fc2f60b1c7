# SPDX-License-Identifier: Apache-2.0
"""A play of one module, run by ansible-playbook itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml


class Playbook:
    """Runs ``text`` on an inventory of one host, this machine; the play leaves its answer in file ``answer_file``."""

    def __init__(self, root: Path, folder: Path, text: str) -> None:
        self.root, self.folder, self.text = root, folder, text

    def run(self, variables: dict[str, Any], *options: str) -> tuple[int, str, dict[str, Any]]:
        """Exit code, output and answer of the play."""
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        inventory, play, answer = (self.folder / name for name in ("hosts.yml", "play.yml", "answer.json"))
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": host}}}))
        play.write_text(self.text)
        answer.unlink(missing_ok=True)
        config = self.folder / "ansible.cfg"
        config.write_text(f"[defaults]\ncollections_path = {self.root / 'collections'}\n")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ansible",
                "playbook",
                "-i",
                inventory,
                play,
                "-e",
                f"answer_file={answer}",
                *options,
            ],
            env={**os.environ, "ANSIBLE_CONFIG": str(config)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        found = json.loads(answer.read_text()) if answer.exists() else {}
        return done.returncode, done.stdout + done.stderr, found

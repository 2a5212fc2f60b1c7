# SPDX-License-Identifier: Apache-2.0
"""Documentation of how modules reach Prometheus or Alertmanager, its configuration and its checker."""

from __future__ import annotations


class ModuleDocFragment:
    """Which server, where it answers, where its configuration lies, and what checks it."""

    DOCUMENTATION = r"""
options:
  server:
    description: Which server it is.
    type: str
    required: true
    choices: [prometheus, alertmanager]
  url:
    description: Where the server is reached from the target.
    type: str
    required: true
  directory:
    description: The directory of its configuration on the target.
    type: path
    required: true
  seen_as:
    description: What O(tool) calls that directory, where it is mounted into a container; O(directory) by default.
    type: path
  file:
    description: The configuration file in it.
    type: str
    required: true
  shares_file:
    description: Whether the configuration file is somebody else's, and only what lies beside it is deployed.
    type: bool
    default: false
  tool:
    description: The command of C(promtool) or C(amtool), before its arguments.
    type: list
    elements: str
    required: true
"""

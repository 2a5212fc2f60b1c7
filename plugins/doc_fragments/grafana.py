# SPDX-License-Identifier: Apache-2.0
"""Documentation of how modules reach Grafana."""

from __future__ import annotations


class ModuleDocFragment:
    """Address and credentials."""

    DOCUMENTATION = r"""
options:
  url:
    description: Address of Grafana itself.
    type: str
    required: true
  username:
    description: A user who is an administrator of the organisation; one of the server where files are provisioned.
    type: str
    default: ""
  password:
    description: The user's password.
    type: str
    default: ""
  token:
    description: Token of a service account, in place of O(username) and O(password).
    type: str
    default: ""
  timeout:
    description: Limit of one request in seconds.
    type: float
    default: 10
"""

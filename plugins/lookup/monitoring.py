# SPDX-License-Identifier: Apache-2.0
"""Lookup plugin monitoring."""

from __future__ import annotations

DOCUMENTATION = r"""
name: monitoring
author:
  - The k2.hardening authors (!UNKNOWN)
version_added: 0.1.0
short_description: What a server that watches the platform is given, from the catalogue of alerts
description:
  - Puts the platform's names and numbers into the collection's catalogue of alerts and renders what one server needs.
  - Nothing is written. M(k2.hardening.k2_monitoring_config) deploys the result, M(k2.hardening.k2_monitoring_info)
    proves it.
options:
  _terms:
    description:
      - V(prometheus) and V(alertmanager) are files, checks and what the server must say afterwards.
      - V(prometheus_server) and V(alertmanager_server) are where they are and what runs them, without secrets.
      - V(proof) is what proves the rules, namely tests, mutants that the tests must kill and metrics that must exist.
    required: true
    type: list
    elements: str
  profile:
    description: The platform's profile, as returned by P(k2.hardening.profile#lookup).
    type: dict
    required: true
  secrets:
    description: Whether receivers' secrets stand in files of their own or in Alertmanager's configuration itself.
    type: str
    choices: [file, inline]
    default: file
"""

EXAMPLES = r"""
- name: Show the rules that this platform would get
  ansible.builtin.debug:
    msg: "{{ lookup('k2.hardening.monitoring', 'prometheus', profile=lookup('k2.hardening.profile')).files }}"
"""

RETURN = r"""
_raw:
  description: One mapping for each term; that of V(alertmanager) contains secrets.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.bundle import (
    alertmanager_bundle,
    prometheus_bundle,
    proof_bundle,
    server_of,
)
from ansible_collections.k2.hardening.plugins.module_utils.catalogue.load import load_catalogue
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

SERVER = "_server"
TERMS = ("prometheus", "alertmanager", f"prometheus{SERVER}", f"alertmanager{SERVER}", "proof")


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Render.

        :raises AnsibleError: where the profile does not fit the catalogue, by the entry's name.
        """
        self.set_options(var_options=variables, direct=kwargs)
        unknown = [term for term in terms if term not in TERMS]
        if unknown or not terms:
            raise AnsibleError(
                f"lookup k2.hardening.monitoring: expected {', '.join(TERMS)}; seen {unknown or 'no term'}"
            )
        try:
            catalogue = load_catalogue()
            profile = parse_profile(self.get_option("profile"))
            return [self._bundle(term, catalogue, profile) for term in terms]
        except K2Error as error:
            raise AnsibleError(str(error)) from error

    def _bundle(self, term: str, catalogue: Any, profile: Any) -> dict[str, Any]:
        if term.endswith(SERVER):
            return server_of(profile, term.removesuffix(SERVER))
        if term == "prometheus":
            return prometheus_bundle(catalogue, profile)
        if term == "alertmanager":
            return alertmanager_bundle(catalogue, profile, secrets_inline=self.get_option("secrets") == "inline")
        return proof_bundle(catalogue, profile)

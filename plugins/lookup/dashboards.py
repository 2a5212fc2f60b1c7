# SPDX-License-Identifier: Apache-2.0
"""Lookup plugin dashboards."""

from __future__ import annotations

DOCUMENTATION = r"""
name: dashboards
author:
  - The k2.hardening authors (!UNKNOWN)
version_added: 0.1.0
short_description: The collection's dashboards for one platform
description:
  - Puts a platform's metric names, thresholds and budgets into the dashboards that the collection brings, and
    returns them as Grafana takes them.
  - A panel whose metric the platform does not have is left out, with the reason. A dashboard of which no panel is left
    is not returned.
options:
  _terms:
    description: Takes no terms.
    required: false
  profile:
    description: The platform's profile, as the lookup P(k2.hardening.profile#lookup) returns it.
    type: dict
    required: true
  source_uid:
    description: The data source that the dashboards start with.
    type: str
    default: k2-prometheus
  only:
    description: Uids of the dashboards that are wanted; all when empty.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: List the dashboards of the platform
  ansible.builtin.debug:
    msg: "{{ query('k2.hardening.dashboards', profile=lookup('k2.hardening.profile')) | map(attribute='title') }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping per dashboard with C(uid), C(title), C(text) (its JSON model), C(panels) (how many ask something),
      C(may_be_empty) and C(left_out) (panels with reasons).
  type: list
  elements: dict
"""

import json
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.k2.hardening.plugins.module_utils.catalogue.dashboard_load import build_all
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.core.suggest import did_you_mean
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Build them.

        :raises AnsibleError: the profile cannot be read, or a dashboard is asked for that there is not.
        """
        self.set_options(var_options=variables, direct=kwargs)
        if terms:
            raise AnsibleError(f"lookup k2.hardening.dashboards takes no terms; seen: {terms!r}")
        only = self.get_option("only")
        try:
            built = build_all(parse_profile(self.get_option("profile")), self.get_option("source_uid"))
        except K2Error as error:
            raise AnsibleError(str(error)) from error
        unknown = [uid for uid in only if uid not in {each.uid for each in built}]
        if unknown:
            hint = did_you_mean(unknown[0], [each.uid for each in built])
            raise AnsibleError(f"there is no dashboard {unknown[0]!r}; {hint}")
        return [
            {
                "uid": each.uid,
                "title": each.title,
                "text": json.dumps(each.model, indent=2),
                "panels": each.panels,
                "may_be_empty": [{"panel": panel, "reason": reason} for panel, reason in each.may_be_empty],
                "left_out": [{"panel": left.panel, "reason": left.reason} for left in each.left_out],
            }
            for each in built
            if each.panels and (not only or each.uid in only)
        ]

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_grafana
short_description: Put data sources and dashboards into Grafana, verified and taken back where they do not hold
version_added: "0.1.0"
description:
  - Checks everything that is to be deployed as a whole before anything is touched, and names each entry that is wrong.
  - Deploys through Grafana's provisioning files where O(provisioning_dir) is given, through its API otherwise.
  - Reads everything back afterwards. Grafana answers a reload with 200 also where it could not read a file. What does
    not hold is taken back, and the module fails.
  - Takes away what it has put there earlier and is no longer wanted. What it put there is known by O(manifest), and
    dashboards by their tag C(k2-hardening) within O(folder) as well. Never touches another's.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.grafana
options:
  state:
    description: V(absent) takes away all that this module put there, by the record in O(manifest), and nothing else.
    type: str
    choices: [present, absent]
    default: present
  folder:
    description: The folder of the dashboards; removed with them where this module made it and nothing else is in it.
    type: dict
    required: true
    suboptions:
      uid:
        description: Its uid.
        type: str
        required: true
      title:
        description: Its title.
        type: str
        required: true
  data_sources:
    description: Data sources that are to be there. One that is there already, just so, is used and stays another's.
    type: list
    elements: dict
    default: []
    suboptions:
      uid:
        description: Its uid, by which dashboards know it.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      type:
        description: Grafana's name of the kind of data source.
        type: str
        default: prometheus
      url:
        description: Address as Grafana's server reaches it.
        type: str
        required: true
      access:
        description: Who asks it.
        type: str
        choices: [proxy, direct]
        default: proxy
      is_default:
        description: Whether panels that name no data source use it.
        type: bool
        default: false
      interval:
        description: How often its data are scraped, which C($__rate_interval) rests on.
        type: str
        default: 15s
      basic_auth_user:
        description: User of the data source.
        type: str
        default: ""
      basic_auth_password:
        description: Password of that user. It cannot be read back, so another one alone changes nothing.
        type: str
        default: ""
  dashboards:
    description: Dashboards that are to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How messages call it, its file for one.
        type: str
        required: true
      text:
        description: Its classic JSON model, with a uid.
        type: str
        required: true
  manifest:
    description: File on the target that records what this module put there.
    type: path
    required: true
  provisioning_dir:
    description: Grafana's provisioning directory on the target. Deploys through the API when not given.
    type: path
  dashboards_dir:
    description:
      - Directory on the target for the dashboards' files.
      - C(dashboards/k2-hardening) within O(provisioning_dir) when not given.
    type: path
  dashboards_path:
    description: What Grafana itself calls O(dashboards_dir), where that is mounted into a container.
    type: str
  verify_timeout:
    description: Seconds to wait at most until Grafana is as it should be.
    type: float
    default: 20
  check_data_sources:
    description: Whether a data source that Grafana cannot query counts as not deployed.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Looks, checks and tells what would be done.
  diff_mode:
    support: full
    description: Shows each dashboard, data source and file that differs, without secrets.
  idempotent:
    support: full
    description: What is there as it should be is not touched.
requirements:
  - Python 3.9 or later on the target
  - Grafana 10 or later
notes:
  - A data source of Grafana's own files cannot be changed through the API, nor the other way round; keep to one way.
"""

EXAMPLES = r"""
- name: Put a dashboard there
  k2.hardening.k2_grafana:
    url: http://127.0.0.1:3000
    username: admin
    password: "{{ vault_grafana_password }}"
    folder: {uid: k2, title: K2}
    data_sources:
      - {uid: k2-prometheus, name: K2 Prometheus, url: "http://127.0.0.1:9090"}
    dashboards:
      - name: mine.json
        text: "{{ lookup('ansible.builtin.file', 'mine.json') }}"
    manifest: /var/lib/k2-hardening/k2/grafana.json

- name: Take away what was put there
  k2.hardening.k2_grafana:
    state: absent
    url: http://127.0.0.1:3000
    token: "{{ vault_grafana_token }}"
    folder: {uid: k2, title: K2}
    manifest: /var/lib/k2-hardening/k2/grafana.json
"""

RETURN = r"""
version:
  description: Grafana's version.
  returned: success
  type: str
  sample: 11.5.2
changes:
  description: What was done, or would be.
  returned: success
  type: list
  elements: dict
  sample:
    - {action: create, kind: dashboard, name: k2-overview}
dashboards:
  description: Uids, titles and digests of the dashboards that are there now, to hold against what is found later.
  returned: success
  type: list
  elements: dict
  sample:
    - {uid: k2-overview, title: K2 / Pipeline overview, digest: 2c26b46b68ff}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.arguments import access_arguments, read_access
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.backend import ApiBackend, Backend
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.content import (
    Folder,
    SourceSpec,
    read_content,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.deploy import (
    Deployment,
    make_absent,
    make_present,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.files import FilesBackend, Places
from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana import GrafanaClient


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **access_arguments(),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "folder": {
                "type": "dict",
                "required": True,
                "options": {
                    "uid": {"type": "str", "required": True},
                    "title": {"type": "str", "required": True},
                },
            },
            "data_sources": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "uid": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "default": "prometheus"},
                    "url": {"type": "str", "required": True},
                    "access": {"type": "str", "choices": ["proxy", "direct"], "default": "proxy"},
                    "is_default": {"type": "bool", "default": False},
                    "interval": {"type": "str", "default": "15s"},
                    "basic_auth_user": {"type": "str", "default": ""},
                    "basic_auth_password": {"type": "str", "default": "", "no_log": True},
                },
            },
            "dashboards": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "text": {"type": "str", "required": True},
                },
            },
            "manifest": {"type": "path", "required": True},
            "provisioning_dir": {"type": "path"},
            "dashboards_dir": {"type": "path"},
            "dashboards_path": {"type": "str"},
            "verify_timeout": {"type": "float", "default": 20},
            "check_data_sources": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        client = GrafanaClient(read_access(params))
        deployment = Deployment(
            client,
            _backend(client, params),
            Path(params["manifest"]),
            params["verify_timeout"],
            params["check_data_sources"],
        )
        folder = Folder(**params["folder"])
        sources = [SourceSpec(**entry) for entry in params["data_sources"]]
        content = read_content(folder, sources, [(each["name"], each["text"]) for each in params["dashboards"]])
        make = make_present if params["state"] == "present" else make_absent
        outcome = make(deployment, content, module.check_mode)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(
        changed=bool(outcome.changes),
        version=outcome.version,
        changes=[{"action": each.action, "kind": each.kind, "name": each.name} for each in outcome.changes],
        dashboards=[
            {"uid": each.uid, "title": each.title, "digest": each.digest}
            for each in content.dashboards
            if params["state"] == "present"
        ],
        diff=[
            {
                "before_header": f"{each.kind} {each.name}",
                "after_header": f"{each.kind} {each.name}",
                "before": each.before,
                "after": each.after,
            }
            for each in outcome.changes
        ],
    )


def _backend(client: GrafanaClient, params: dict[str, Any]) -> Backend:
    if not params["provisioning_dir"]:
        return ApiBackend(client)
    provisioning = Path(params["provisioning_dir"])
    dashboards = Path(params["dashboards_dir"] or provisioning / "dashboards" / "k2-hardening")
    return FilesBackend(client, Places(provisioning, dashboards, params["dashboards_path"] or str(dashboards)))


if __name__ == "__main__":
    main()

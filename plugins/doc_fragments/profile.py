# SPDX-License-Identifier: Apache-2.0
"""Documentation that all modules of this collection share."""

from __future__ import annotations


class ModuleDocFragment:
    """The ``profile`` parameter."""

    DOCUMENTATION = r"""
options:
  profile:
    description:
      - The platform as its inventory describes it, usually C(lookup('k2.hardening.profile'\)).
      - Every key is checked at every depth, and all problems are told at once.
    type: dict
    required: true
    suboptions:
      k2_platform:
        description: Name, scale, runtimes and reference clock.
        type: dict
        required: true
      k2_services:
        description: The services by name, each with runtime, unit, kind, port, budget and probe.
        type: dict
        required: true
      k2_broker:
        description: Bootstrap address, topics by exchange, consumer groups.
        type: dict
      k2_clickhouse:
        description: How to query ClickHouse.
        type: dict
        suboptions:
          host:
            description: Name or address of the server.
            type: str
            required: true
          port:
            description: Its HTTP port.
            type: int
            required: true
          secure:
            description: Whether to use TLS.
            type: bool
          username:
            description: A user; one that may only read is enough.
            type: str
            required: true
          password:
            description: The user's password; empty if it has none.
            type: str
            required: true
          database:
            description: The database that unqualified tables are in.
            type: str
            required: true
          timeout_s:
            description: Limit of one query in seconds.
            type: float
      k2_tiers:
        description: The places every record passes, in the order of the data path.
        type: list
        elements: dict
      k2_watermarks:
        description: The table that says how far the cold tier has come.
        type: dict
        suboptions:
          host:
            description: Name or address of the Postgres server.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            required: true
          database:
            description: The database that holds the table.
            type: str
            required: true
          username:
            description: A user that may read the table.
            type: str
            required: true
          password:
            description: The user's password; empty if it has none.
            type: str
            required: true
          table:
            description: The table of watermarks.
            type: str
            required: true
          name_column:
            description: The column that names the source of a row.
            type: str
            required: true
          time_column:
            description: The column with the time up to which data were moved.
            type: str
            required: true
          max_age_s:
            description: A watermark older than this many seconds is stale.
            type: float
            required: true
          sources:
            description: The sources that must have a row; every row of the table when empty.
            type: list
            elements: str
          needs:
            description: The services without which no watermark can be read, or move.
            type: list
            elements: str
      k2_orchestrator:
        description: Address of the orchestrator and the deployments that must run.
        type: dict
      k2_object_store:
        description: How to reach the object store.
        type: dict
        suboptions:
          url:
            description: Address of the S3 endpoint.
            type: str
            required: true
          bucket:
            description: The bucket of the cold tier.
            type: str
            required: true
          access_key:
            description: The access key's id.
            type: str
            required: true
          secret_key:
            description: The access key's secret.
            type: str
            required: true
          clickhouse_url:
            description: The same endpoint as ClickHouse reaches it; O(profile.k2_object_store.url) by default.
            type: str
          catalog:
            description: The Iceberg SQL catalog in Postgres that says which metadata of a table is the present one.
            type: dict
            suboptions:
              host:
                description: The Postgres server.
                type: str
                required: true
              port:
                description: Its port.
                type: int
                required: true
              database:
                description: The database that holds the catalog.
                type: str
                required: true
              username:
                description: A user that may read it.
                type: str
                required: true
              password:
                description: Its password.
                type: str
                required: true
              table:
                description: The table of the catalog; C(iceberg_tables) by default.
                type: str
              name:
                description: The catalog's name, where the table holds several.
                type: str
      k2_load:
        description: Loads, the p99 each must keep, and how a load is brought about.
        type: dict
        suboptions:
          rates:
            description: Messages per second by load.
            type: dict
          targets:
            description: The p99 from trade to candle by load, in milliseconds.
            type: dict
          control_url:
            description: Where the rate of the source can be set.
            type: str
          segments:
            description: The parts of the data path and the p99 each should keep.
            type: list
            elements: dict
          stretch:
            description: Goals for the whole path by load, in milliseconds; they block nothing.
            type: dict
          records:
            description: How a load writes the records of each exchange.
            type: dict
          cleanup:
            description: A user that may delete what a load has left in ClickHouse.
            type: dict
            suboptions:
              username:
                description: The user's name.
                type: str
                required: true
              password:
                description: The user's password; empty if it has none.
                type: str
                required: true
      k2_budget:
        description: What the whole platform may use.
        type: dict
      k2_failure_modes:
        description:
          - The failures to bring about, the recovery that is expected, and whom else they may affect.
          - Crashes of all other services follow from O(profile.k2_services).
        type: dict
      k2_alerting:
        description: Where alerts are evaluated, routed and shown, and whom they reach.
        type: dict
        suboptions:
          prometheus_url:
            description: Where rules are evaluated.
            type: str
          alertmanager_url:
            description: Where alerts are routed.
            type: str
          alertmanager_reached_at:
            description: Alertmanager as Prometheus reaches it.
            type: str
          grafana_url:
            description: Where dashboards are shown.
            type: str
          runbooks_url:
            description: Where runbooks are.
            type: str
          log_url:
            description: A webhook that keeps every notification.
            type: str
          team:
            description: The label C(team) of every alert.
            type: str
          scrape_interval:
            description: How often Prometheus scrapes.
            type: str
          evaluation_interval:
            description: How often it evaluates rules.
            type: str
          thresholds:
            description: Thresholds of alerts on this platform.
            type: dict
          timings:
            description: The C(for) of alerts on this platform.
            type: dict
          not_applicable:
            description: Why the platform does without an alert.
            type: dict
          prometheus:
            description: Where Prometheus' configuration lies, and what checks it.
            type: dict
          alertmanager:
            description: Where Alertmanager's configuration lies, and what checks it.
            type: dict
          routing:
            description: How alerts are put together and repeated.
            type: dict
          dead_mans_switch_url:
            description: A webhook outside that must keep hearing the Watchdog.
            type: str
          receivers:
            description: Who hears of which alerts.
            type: list
            elements: dict
            suboptions:
              name:
                description: What to call the receiver.
                type: str
                required: true
              match:
                description: Labels of the alerts it hears.
                type: dict
              webhook:
                description: A web address.
                type: dict
                suboptions:
                  url:
                    description: Where notifications are posted.
                    type: str
                    required: true
              slack:
                description: A channel.
                type: dict
                suboptions:
                  channel:
                    description: The channel.
                    type: str
                    required: true
                  api_url:
                    description: The incoming webhook.
                    type: str
                    required: true
              email:
                description: A mailbox.
                type: dict
                suboptions:
                  to:
                    description: The recipient.
                    type: str
                    required: true
                  from:
                    description: The sender.
                    type: str
                    required: true
                  smarthost:
                    description: The mail server.
                    type: str
                    required: true
                  username:
                    description: Its user.
                    type: str
                  require_tls:
                    description: Whether TLS is a must.
                    type: bool
                  password:
                    description: The user's password.
                    type: str
              pagerduty:
                description: A service of PagerDuty.
                type: dict
                suboptions:
                  url:
                    description: Where to send events instead.
                    type: str
                  routing_key:
                    description: The integration key.
                    type: str
                    required: true
              telegram:
                description: A chat.
                type: dict
                suboptions:
                  chat_id:
                    description: The chat.
                    type: int
                    required: true
                  api_url:
                    description: Where to reach Telegram instead.
                    type: str
                  bot_token:
                    description: The bot's token.
                    type: str
                    required: true
      k2_metric_names:
        description: What the engine calls a metric, mapped to what the platform calls it.
        type: dict
      k2_runbooks:
        description: What commands in runbooks need beyond the other sections, and whom to call.
        type: dict
"""

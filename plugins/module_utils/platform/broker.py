# SPDX-License-Identifier: Apache-2.0
"""A broker that speaks the Kafka protocol, through confluent-kafka: what it holds, and how far its groups are.

confluent-kafka is no part of the standard library: it is looked for when a broker is first asked for something, and its
absence is an error that says what to install.
"""

from __future__ import annotations

from typing import Any

from ..core.errors import K2Error


class DriverMissing(K2Error):  # noqa: N818 - see core.errors
    """The Python that runs this has no confluent-kafka."""


class BrokerError(K2Error):
    """The broker did not answer, or refused."""


def driver() -> Any:
    """The module ``confluent_kafka``.

    Raises DriverMissing.
    """
    try:
        import confluent_kafka
    except ImportError as error:
        raise DriverMissing(
            "the broker cannot be asked",
            expected="confluent-kafka in the Python that Ansible uses on the target",
            seen=str(error),
            action="pip install confluent-kafka there, or set ansible_python_interpreter to a Python that has it",
        ) from error
    return confluent_kafka

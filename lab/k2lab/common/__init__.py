# SPDX-License-Identifier: Apache-2.0
"""Small things every program of the lab shares.

``logs``      one log format on stderr, UTC with milliseconds
``shutdown``  SIGTERM/SIGINT turned into an event, for asyncio programs and for synchronous ones
``status``    the HTTP server with /health and /metrics, usable from both kinds of program
``clock``     wall-clock microseconds, RFC 3339
``options``   argparse types (ports, host:port, rates) with messages that say what was expected
``errors``    the error every program reports in one line and turns into exit code 1
"""

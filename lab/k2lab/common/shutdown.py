# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT as an event to wait for.

The first signal asks for an orderly stop. A second one is left to the default action, so an operator whose stop
hangs is never forced to use kill -9.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from types import FrameType

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_event_asyncio() -> asyncio.Event:
    """Return an event of the running loop that is set on the first SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        log.info("%s received, stopping", number.name)
        event.set()
        for other in STOP_SIGNALS:
            loop.remove_signal_handler(other)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return event


def stop_event_threading() -> threading.Event:
    """Return an event for a synchronous program, set on the first SIGTERM or SIGINT. Call it in the main thread."""
    event = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        event.set()
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        log.info("%s received, stopping", signal.Signals(number).name)

    for number in STOP_SIGNALS:
        signal.signal(number, on_signal)
    return event

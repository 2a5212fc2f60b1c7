# SPDX-License-Identifier: Apache-2.0
"""Work beside the main thread that never keeps the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Begin ``work`` in a thread; its result, or what it raised, is had from the future.

    Threads of an executor are waited for when the process ends: interrupted, it would stay until its watches are over.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future

# SPDX-License-Identifier: Apache-2.0
"""The Go programs of one set-up, in their order: a workshop opens with the first that is missing, closes at the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from k2lab.provision.cache import Made, ensure_entry
from k2lab.provision.errors import SetupError
from k2lab.provision.golang.grafana import build_grafana, fetch_grafana
from k2lab.provision.golang.programs import GRAFANA, GoPart, display_version, go_entry, is_built
from k2lab.provision.golang.workshop import Workshop, open_workshop
from k2lab.provision.paths import Paths
from k2lab.provision.process import Runner


class GoLane:
    """One thread calls ensure() for part after part, then close()."""

    def __init__(
        self, paths: Paths, runner: Runner, missing: tuple[GoPart, ...], refusal: SetupError | None = None
    ) -> None:
        """Prepare for the missing parts; a refusal (too little disk, say) is what each of them ends with instead."""
        self._paths = paths
        self._runner = runner
        self._missing = missing
        self._refusal = refusal
        self._stack = ExitStack()
        self._workshop: Workshop | None = None
        self._fetched: dict[str, Future[None]] = {}

    def close(self) -> None:
        """Remove what the builds needed and nothing else does."""
        self._stack.close()

    def ensure(self, part: GoPart, doing: Callable[[str], None]) -> tuple[str, bool]:
        """Have the part's programs in the cache. Returns a detail for the user and whether anything was built.

        Raises SetupError when they cannot be had, CancelledError when set-up is to end.
        """
        entry = go_entry(self._paths, part)
        # The workshop first, then the entry: in the other order two set-ups could wait for each other.
        workshop = self._open(doing)
        made = ensure_entry(
            entry,
            lambda directory: self._build(workshop, part, directory, doing),
            is_complete=lambda path: is_built(path, part),
            runner=self._runner,
            waiting=doing,
        )
        detail = f"{display_version(self._paths, part)} in {entry}"
        return (detail, True) if made is Made.BUILT else (f"{detail}, {made.value}", False)

    def _build(self, workshop: Workshop, part: GoPart, directory: Path, doing: Callable[[str], None]) -> None:
        doing("fetching modules")
        self._fetched[part.name].result()
        if part is self._missing[-1]:
            workshop.clear(but=part)
        doing(f"compiling, about {part.expected} on 2 cores")
        if part is GRAFANA:
            build_grafana(workshop, directory)
        else:
            workshop.build(part, directory)

    def _open(self, doing: Callable[[str], None]) -> Workshop:
        if self._refusal is not None:
            raise self._refusal
        if self._workshop is not None:
            return self._workshop
        doing("looking for Go")
        try:
            workshop = self._stack.enter_context(open_workshop(self._paths, self._runner, doing))
        except SetupError as error:
            self._refusal = error  # it would be no different for the next part
            raise
        # One at a time here too, in the same order: whoever is next gets the whole of the connection.
        pool = self._stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="go-fetch"))
        for part in self._missing:
            if not is_built(go_entry(self._paths, part), part):
                self._fetched[part.name] = pool.submit(_fetch, workshop, part)
        self._workshop = workshop
        return workshop


def _fetch(workshop: Workshop, part: GoPart) -> None:
    if part is GRAFANA:
        fetch_grafana(workshop)
    else:
        workshop.fetch(part)

# SPDX-License-Identifier: Apache-2.0
"""A platform is only read unless its name is said back: the wrong inventory then changes nothing."""

from __future__ import annotations

from typing import Optional

from ..core.errors import K2Error
from .model import Profile


class NotConfirmed(K2Error):  # noqa: N818 - named after what happened, as core.errors does
    """What was asked for changes the platform, and nobody said its name."""


def require_confirmed(profile: Profile, confirm: Optional[str], what: str) -> None:
    """Refuse to change anything unless the platform's name is said back. ``what`` names the change ("a load").

    :raises NotConfirmed: it is not.
    """
    if confirm != profile.platform.name:
        raise NotConfirmed(
            f"{what} changes the platform",
            expected=f"confirm to say its name, {profile.platform.name!r}",
            seen=repr(confirm),
            action=f"-e k2_confirm={profile.platform.name}, if that is the platform you mean",
        )

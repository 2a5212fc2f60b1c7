# SPDX-License-Identifier: Apache-2.0
"""What can go wrong when configuration is deployed. In each case the old configuration is still live."""

from __future__ import annotations

from ..core.errors import K2Error


class CannotDeploy(K2Error):  # noqa: N818 - see core.errors
    """The directory cannot be used, or holds somebody else's file in the way. Nothing was changed."""


class CheckFailed(K2Error):  # noqa: N818 - see core.errors
    """The deployed version's own checker refuses what was rendered. Nothing was changed."""


class NotVerified(K2Error):  # noqa: N818 - see core.errors
    """The server does not run what was rendered."""


class RolledBack(K2Error):  # noqa: N818 - see core.errors
    """What was deployed did not verify; the files that were there before are back, and loaded again if it says so."""

# SPDX-License-Identifier: Apache-2.0
"""A platform is changed only where its name was said."""

from __future__ import annotations

import pytest
from failure_facts import PROFILE

from ansible_collections.k2.hardening.plugins.module_utils.profile.confirm import NotConfirmed, require_confirmed


@pytest.mark.parametrize("said", [None, "", "Betting", "k2-lab", " betting"])
def test_only_the_platforms_name_confirms(said: str | None) -> None:
    with pytest.raises(NotConfirmed, match=r"a fault changes the platform.*k2_confirm=betting"):
        require_confirmed(PROFILE, said, "a fault")


def test_what_says_the_platforms_name_back_is_let_through() -> None:
    require_confirmed(PROFILE, "betting", "a fault")

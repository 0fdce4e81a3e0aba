"""superionic: from a disordered crystal to ionic conductivity, activation energy and a stability map.

Importing this package imports nothing heavy; the names below are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superionic.version import __version__

if TYPE_CHECKING:
    from superionic.campaign.analysing import analyse
    from superionic.campaign.run import Campaign
    from superionic.enumeration.request import enumerate_orderings
    from superionic.errors import SuperionicError

__all__ = ["Campaign", "SuperionicError", "__version__", "analyse", "enumerate_orderings"]


def __getattr__(name: str) -> Any:
    if name == "Campaign":
        from superionic.campaign.run import Campaign

        return Campaign
    if name == "analyse":
        from superionic.campaign.analysing import analyse

        return analyse
    if name == "enumerate_orderings":
        from superionic.enumeration.request import enumerate_orderings

        return enumerate_orderings
    if name == "SuperionicError":
        from superionic.errors import SuperionicError

        return SuperionicError
    raise AttributeError(f"module 'superionic' has no attribute {name!r}")

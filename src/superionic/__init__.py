"""superionic: from a disordered crystal to ionic conductivity, activation energy and a stability map.

Importing this package imports nothing heavy; the names below are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from superionic.campaign.run import Campaign
    from superionic.errors import SuperionicError

__all__ = ["Campaign", "SuperionicError", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Campaign":
        from superionic.campaign.run import Campaign

        return Campaign
    if name == "SuperionicError":
        from superionic.errors import SuperionicError

        return SuperionicError
    raise AttributeError(f"module 'superionic' has no attribute {name!r}")

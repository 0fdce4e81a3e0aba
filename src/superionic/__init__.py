"""superionic: from a disordered crystal to ionic conductivity, activation energy and a stability map.

This is the face for notebooks: ``import superionic as si``. Importing it imports nothing heavy; the names below are
loaded on first use. Modules of the package import one another, never this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superionic.version import __version__

if TYPE_CHECKING:
    from superionic.campaign.analysing import analyse
    from superionic.campaign.comparing import compare_models, evaluate_models
    from superionic.campaign.loading import load_model
    from superionic.campaign.run import Campaign
    from superionic.campaign.side_by_side import compare_campaigns
    from superionic.campaign.trial import try_crystal
    from superionic.dynamics.relax import relax
    from superionic.dynamics.run import run_md
    from superionic.enumeration.crystal import read_crystal
    from superionic.enumeration.local_order import local_order
    from superionic.enumeration.request import enumerate_orderings
    from superionic.errors import SuperionicError

__all__ = [
    "Campaign",
    "SuperionicError",
    "__version__",
    "analyse",
    "compare_campaigns",
    "compare_models",
    "enumerate_orderings",
    "evaluate_models",
    "load_model",
    "local_order",
    "read_crystal",
    "relax",
    "run_md",
    "try_crystal",
]

_HOMES = {
    "Campaign": "superionic.campaign.run",
    "SuperionicError": "superionic.errors",
    "analyse": "superionic.campaign.analysing",
    "compare_campaigns": "superionic.campaign.side_by_side",
    "compare_models": "superionic.campaign.comparing",
    "enumerate_orderings": "superionic.enumeration.request",
    "evaluate_models": "superionic.campaign.comparing",
    "load_model": "superionic.campaign.loading",
    "local_order": "superionic.enumeration.local_order",
    "read_crystal": "superionic.enumeration.crystal",
    "relax": "superionic.dynamics.relax",
    "run_md": "superionic.dynamics.run",
    "try_crystal": "superionic.campaign.trial",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'superionic' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

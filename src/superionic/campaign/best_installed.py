"""Which potential a new campaign takes where nobody names one: the most accurate that is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from superionic.errors import PotentialError
from superionic.execution.engines import CORE
from superionic.registry import MeasuredModel, Model, models
from superionic.settings.rules import did_you_mean


@dataclass(frozen=True)
class FirstPotential:
    """A potential for a new campaign.

    Attributes
    ----------
    engine, model
        As a campaign file names them; no model for the default of the engine.
    reason
        Why it was taken.
    better
        The next more accurate one and how to install it; empty where there is none, or a potential was named.
    """

    engine: str
    model: str | None
    reason: str
    better: str = ""

    @property
    def name(self) -> str:
        """Engine and model, as on the command line."""
        return self.engine if self.model is None else f"{self.engine}:{self.model}"


_FALLBACK = "chgnet"  # the fastest of those whose weights come with their package


def first_potential(named: str | None = None, *, is_installed: Callable[[str], bool] | None = None) -> FirstPotential:
    """Choose the potential of a new campaign.

    Parameters
    ----------
    named
        ``ENGINE`` or ``ENGINE:MODEL``; the one of smallest measured error of forces that is installed, with its
        weights, if None.
    is_installed
        Says whether an engine is there; looks where engines are if None.

    Raises
    ------
    PotentialError
        If there is no such engine.
    """
    if named is not None:
        engine, _, model = named.partition(":")
        if engine not in models():
            hint = did_you_mean(engine, models()) or f"choose one of: {', '.join(models())}"
            raise PotentialError(f"There is no engine {engine!r}.", where="--potential", fix=hint)
        return FirstPotential(engine, model or None, "as you said")
    there = is_installed or _is_installed
    ranked = sorted(
        ((one, family) for family in models().values() for one in family.measured),
        key=lambda pair: pair[0].force_error_meV_per_A,
    )
    best = next(((one, family) for one, family in ranked if _is_there(one, family, there)), None)
    better = [pair for pair in ranked if best is None or pair[0].force_error_meV_per_A < best[0].force_error_meV_per_A]
    next_better = "".join(
        f"{one.model} ({one.force_error_meV_per_A:.0f}), superionic engines install {family.name}"
        + (", which then downloads its weights" if one.file else "")
        for one, family in better[:1]
    )
    hint = f"; better: {next_better}" if next_better else ""
    if best is None:
        reason = f"none is installed yet: superionic engines install {_FALLBACK}{hint}"
        return FirstPotential(_FALLBACK, None, reason, next_better)
    one, family = best
    reason = f"the best installed: forces {one.force_error_meV_per_A:.0f} meV/Å off PBE's on Li3YCl6{hint}"
    return FirstPotential(family.name, one.model, reason, next_better)


def _is_there(one: MeasuredModel, family: Model, is_installed: Callable[[str], bool]) -> bool:
    if one.file and not Path(one.file).expanduser().is_file():
        return False
    return family.engine is None or is_installed(family.engine.name)


def _is_installed(engine: str) -> bool:
    from superionic.campaign.prepare import missing_engines

    return engine == CORE or not missing_engines([engine])

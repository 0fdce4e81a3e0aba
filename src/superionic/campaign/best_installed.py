"""Which potential a name on the command line stands for, and which one is taken where nobody names one.

An engine alone stands for its most accurate model, as far as errors were measured; without a name, the most accurate
model of all engines that are installed is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from superionic.conventions import OWN
from superionic.errors import PotentialError
from superionic.execution.engine_specs import DATA
from superionic.execution.engines import CORE
from superionic.registry import MeasuredModel, Model, find, models
from superionic.settings.rules import did_you_mean


@dataclass(frozen=True)
class FirstPotential:
    """A potential for a new campaign.

    Attributes
    ----------
    entry
        Its entry in the ``potentials`` of a campaign; a file by its absolute path.
    reason
        Why it was taken.
    better
        The next more accurate one and how to install it; empty where there is none, or a potential was named.
    """

    entry: Mapping[str, Any]
    reason: str
    better: str = ""

    @property
    def name(self) -> str:
        """Engine and model or file, as on the command line."""
        which = self.entry.get("file", self.entry.get("model"))
        return str(self.entry["engine"]) + ("" if which is None else f":{which}")


_D3BJ: Final = "+d3bj"
_FALLBACK: Final = {"engine": "sevennet", "model": "7net-l3i5"}
"""The most accurate model whose weights come with its package."""


def first_potential(named: str | None = None, *, is_installed: Callable[[str], bool] | None = None) -> FirstPotential:
    """Choose the potential of a new campaign.

    Parameters
    ----------
    named
        As :func:`named_entry` takes it; the one of smallest measured error of forces that is installed, with its
        weights, if None.
    is_installed
        Says whether an engine is there; looks where engines are if None.

    Raises
    ------
    PotentialError
        If there is no such potential.
    """
    if named is not None:
        return FirstPotential(named_entry(named), "as you said")
    there = is_installed or _is_installed
    ranked = sorted(
        ((one, family) for family in models().values() for one in family.measured),
        key=lambda pair: pair[0].force_error_meV_per_A,
    )
    best = next(((one, family) for one, family in ranked if _is_there(one, family, there)), None)
    better = [pair for pair in ranked if best is None or pair[0].force_error_meV_per_A < best[0].force_error_meV_per_A]
    next_better = "".join(
        f"{one.model} ({one.force_error_meV_per_A:.0f}), superionic engines install {family.name}"
        + (", which downloads its weights" if one.file else "")
        for one, family in better[:1]
    )
    hint = f"; better: {next_better}" if next_better else ""
    if best is None:
        reason = f"none is installed yet: superionic engines install {_FALLBACK['engine']}{hint}"
        return FirstPotential(_FALLBACK, reason, next_better)
    one, family = best
    reason = f"the best installed: forces {one.force_error_meV_per_A:.0f} meV/Å off PBE's on Li3YCl6{hint}"
    return FirstPotential({"engine": family.name, "model": one.model}, reason, next_better)


def named_entry(name: str, *, where: str = "--potential") -> dict[str, Any]:
    """Return the entry of a campaign's ``potentials`` for which a name on the command line stands.

    Parameters
    ----------
    name
        ``ENGINE``: its most accurate model, as far as errors were measured, else its default. ``ENGINE:MODEL``.
        ``ENGINE:FILE``: where neither the file nor the record of its checksum states the convention of its energies,
        they get one of their own. Or the name of an engine of data, such as ``nep89``. Each with ``+d3bj`` at its end
        to add that dispersion.
    where
        What is wrong if the name is, for messages.

    Raises
    ------
    PotentialError
        If there is no such engine, model or file, or the engine needs more than a name.
    """
    from superionic.campaign.prepare import choose_potential

    if name.endswith(_D3BJ):
        entry = named_entry(name.removesuffix(_D3BJ), where=where) | {"dispersion": _D3BJ[1:]}
        choose_potential(name, entry["engine"], entry.get("model"), _without(entry, "engine", "model"), where=where)
        return entry
    if name in DATA:
        return {"engine": DATA[name].engine, "model": name}
    engine, _, which = name.partition(":")
    family = find(engine)
    if family is None:
        known = (*models(), *DATA)
        hint = did_you_mean(engine, known) or f"choose one of: {', '.join(known)}"
        raise PotentialError(f"There is no potential called {engine[:40]!r}.", where=where, fix=hint)
    if which and Path(which).exists():
        return _entry_of_file(family, Path(which).absolute(), where)
    best = min(family.measured, key=lambda one: one.force_error_meV_per_A, default=None)
    model = which or (None if best is None else best.model)
    if family.needed and family.data_named(model) is None:
        needs = "a file" if family.file else f"{' and '.join(family.needed)} in a campaign file"
        fix = f"name it {engine}:FILE, with {family.file}" if family.file else "name another one here"
        raise PotentialError(f"The engine {engine} needs {needs}.", where=where, fix=fix)
    choose_potential(name, engine, model, {}, where=where)
    return {"engine": engine} if model is None else {"engine": engine, "model": model}


def _without(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in names}


def _entry_of_file(family: Model, file: Path, where: str) -> dict[str, Any]:
    from superionic.campaign.prepare import choose_potential
    from superionic.potentials.checkpoints import NOT_STATED
    from superionic.potentials.exported import is_exported

    entry = {"engine": family.name, "file": str(file)}
    if "file" not in family.keys and not is_exported(file):
        raise PotentialError(
            f"The engine {family.name} takes no file but a potential that `superionic export model` wrote.",
            where=where,
            fix="name one of its models, or another engine",
        )
    try:
        described = choose_potential(family.name, family.name, None, {"file": str(file)}, where=where)
    except PotentialError:  # its convention is not on record; where something else is wrong, it is still wrong below
        described = None
    if described is not None and described.identity.energy_convention != NOT_STATED:
        return entry
    stated = {"file": str(file), "energy_convention": f"{OWN}{file.name}"}
    choose_potential(family.name, family.name, file.name, stated, where=where)
    return {"engine": family.name, "model": file.name, **stated}


def _is_there(one: MeasuredModel, family: Model, is_installed: Callable[[str], bool]) -> bool:
    if one.file and not Path(one.file).expanduser().is_file():
        return False
    return family.engine is None or is_installed(family.engine.name)


def _is_installed(engine: str) -> bool:
    from superionic.campaign.prepare import missing_engines

    return engine == CORE or not missing_engines([engine])

"""Labels to which a dispersion term is added: what DFT left out, at no cost of a calculation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ase import Atoms

from superionic.conventions import dispersion_in, with_dispersion
from superionic.errors import StageError
from superionic.labels.base import Label, settings_hash
from superionic.labels.dispersion import vasp_correction
from superionic.potentials.dispersion import Dispersion


def dispersion_of_label(provenance: Mapping[str, Any]) -> str | None:
    """Return the dispersion that a label's energies have, by its provenance; None where they have none.

    Parameters
    ----------
    provenance
        Of a label, or as much of it as is known: ``functional``, ``energy_convention``, ``settings``.
    """
    settings = provenance.get("settings") or {}
    if vasp_correction({}, settings) or settings.get("LUSE_VDW"):
        return dispersion_in(str(provenance.get("functional", ""))) or "van der Waals"
    for text in (provenance.get("functional"), provenance.get("energy_convention")):
        if text and (named := dispersion_in(str(text))):
            return named
    return None


def with_dispersion_term(label: Label, atoms: Atoms, given: str | Mapping[str, Any] | Dispersion) -> Label:
    """Add a dispersion term to a label.

    Parameters
    ----------
    label
        Energy, forces and (or not) stress without dispersion.
    atoms
        Its structure, n atoms.
    given
        The term, or what :meth:`superionic.potentials.dispersion.Dispersion.of` makes it of; the functional of the
        label decides on its parameters where nothing else does.

    Returns
    -------
    Label
        Of another reference: functional, energy convention, settings and their hash say that the term is in it.

    Raises
    ------
    StageError
        If the label has dispersion already.
    PotentialError, EngineError, CalculationFailed
        As :meth:`superionic.potentials.dispersion.Dispersion.evaluate`.
    """
    before = label.provenance
    functional, convention = str(before.get("functional", "")), str(before.get("energy_convention", ""))
    there = dispersion_of_label(before)
    if there is not None:
        raise StageError(
            f"The labels have dispersion already ({there}): their functional is {functional}.",
            where="label.dispersion",
            fix="Leave it out, or take labels without dispersion.",
        )
    # Only of a stand-in does the convention say more: one of DFT names pseudopotentials, too.
    levels = (functional, convention) if before.get("stand_in") else (functional,)
    dispersion = Dispersion.of(given, *levels)
    energy_eV, forces, voigt = dispersion.evaluate(atoms, stress=label.stress_eV_per_A3 is not None)
    term = dispersion.term(*levels)
    named = {
        "code": before.get("code"),
        "version": before.get("version"),
        "functional": with_dispersion(functional, term) if before.get("stand_in") else f"{functional}-{term}",
        "energy_convention": with_dispersion(convention, term),
        "settings": {**(before.get("settings") or {}), "dispersion": dispersion.to_dict()},
    }
    return replace(
        label,
        energy_eV=label.energy_eV + energy_eV,
        forces_eV_per_A=label.forces_eV_per_A + forces,
        stress_eV_per_A3=None if label.stress_eV_per_A3 is None or voigt is None else label.stress_eV_per_A3 + voigt,
        provenance={**before, **named, "settings_hash": settings_hash(named)},
        diagnostics={**label.diagnostics, "dispersion_eV": energy_eV},
    )

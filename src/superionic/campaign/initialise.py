"""Writing a first campaign file for a crystal: what ``superionic init`` does.

The mobile ion, the charges and the supercell are guesses that the file shows with their reasons; everything in it can
be changed by hand.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic.campaign.best_installed import first_potential
from superionic.campaign.budget import USUAL, Sizes, draft_within
from superionic.campaign.file.yaml_text import plain_scalar
from superionic.chemistry import ELECTRONEGATIVITY, ELEMENTS
from superionic.enumeration.counted import DEFAULT_MIN_DISTANCE_A
from superionic.errors import CompositionError, PotentialError, StructureError
from superionic.settings.rules import did_you_mean
from superionic.structures.crystal.composition import MAX_DEVIATION
from superionic.structures.crystal.oxidation import MOBILE_IONS, NEUTRAL_E_PER_ATOM

if TYPE_CHECKING:
    from superionic.structures.crystal.composition import IntegerComposition
    from superionic.structures.crystal.disordered import DisorderedCrystal
    from superionic.structures.crystal.oxidation import OxidationStates
    from superionic.structures.crystal.supercells import Supercell

MAX_ATOMS: Final = 150
"""Sites of the largest supercell that is guessed."""

_CELLS_TRIED: Final = 8


@dataclass(frozen=True)
class CrystalOptions:
    """What the user states about a crystal; what is None is guessed.

    Attributes
    ----------
    mobile_ion
        Element whose ions conduct.
    oxidation_states
        Charges in e; those of elements that it leaves out come from the crystal's file or are guessed.
    block
        Data block of a CIF that holds several crystals; the first that lists atoms if None.
    supercell
        Supercell in which orderings are made, such as ``2x2x1``; None or ``auto`` for the smallest that fits.
    max_deviation
        Largest difference of an occupancy from the refined one.
    min_distance_A
        Like ions are never closer.
    """

    mobile_ion: str | None = None
    oxidation_states: Mapping[str, float] | None = None
    block: str | None = None
    supercell: str | None = None
    max_deviation: float = MAX_DEVIATION
    min_distance_A: float = DEFAULT_MIN_DISTANCE_A


@dataclass(frozen=True)
class CrystalGuess:
    """What a campaign assumes about a crystal unless the user states it.

    Attributes
    ----------
    crystal
        As it was read.
    options
        What the user stated about it.
    mobile_ion
        Element whose ions conduct.
    states
        Charges, and where they come from.
    supercell, supercell_note
        Text of the supercell in which orderings are made, and why it is that.
    composition
        Atoms in that supercell.
    """

    crystal: DisorderedCrystal
    options: CrystalOptions
    mobile_ion: str
    states: OxidationStates
    supercell: str
    supercell_note: str
    composition: IntegerComposition

    @property
    def charges(self) -> Mapping[str, float]:
        """Charge in e of each element."""
        return self.states.values

    @property
    def n_atoms(self) -> int:
        """Atoms in the supercell."""
        return sum(self.composition.totals.values())

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader of results should know of these guesses, in sentences."""
        composition, amounts = self.composition, self.crystal.composition
        cautions = []
        if composition.lost:
            cautions.append(
                f"{composition.formula} stands for the refined {self.crystal.formula}: {composition.loss} "
                "(--supercell, --charges)"
            )
        net, n_atoms = self.states.net_charge_e, sum(amounts.values())
        if abs(net) >= NEUTRAL_E_PER_ATOM * n_atoms:
            listed = ", ".join(f"{element}{charge:+g}" for element, charge in self.charges.items())
            cautions.append(
                f"with {listed} the refined composition has {net:+.2f} e for {n_atoms:.4g} atoms; "
                f"{composition.formula} is neutral (--charges)"
            )
        if self.options.mobile_ion is None:
            others = [ion for ion in MOBILE_IONS if self.charges.get(ion) == 1.0 and ion != self.mobile_ion]
            fixed = f"; {' and '.join(others)}, which may move too, counts as framework" if others else ""
            cautions.append(f"that {self.mobile_ion} is the mobile ion is a guess{fixed} (--mobile-ion)")
        return tuple(cautions)

    def repeats(self, thick_A: float) -> tuple[int, int, int]:
        """Return how often the supercell is repeated along each axis so that the cell is nowhere thinner, in Å."""
        from superionic.structures.crystal.supercells import Supercell

        cell_A = np.array(Supercell.parse(self.supercell).matrix) @ np.asarray(self.crystal.cell_A)
        heights_A = 1.0 / np.linalg.norm(np.linalg.inv(cell_A).T, axis=1)
        a, b, c = (math.ceil(thick_A / height_A - 1e-9) for height_A in heights_A.tolist())
        return a, b, c


def guess_settings(crystal_path: str | Path, options: CrystalOptions) -> CrystalGuess:
    """Read a crystal, and guess its mobile ion, its charges, and the smallest supercell with whole atoms and no charge.

    Parameters and errors are those of :func:`draft_campaign`.
    """
    from superionic.enumeration.request import charges_of_crystal
    from superionic.structures.io.files import read_crystal

    path = Path(crystal_path)
    crystal = read_crystal(path, block=options.block)
    ion = _mobile_ion(crystal, options.mobile_ion, str(path))
    _demand_crystal(crystal, ion, str(path))
    states = charges_of_crystal(crystal, path, options.oxidation_states, block=options.block)
    if min(states.values.values()) >= 0 or max(states.values.values()) <= 0:
        listed = ", ".join(f"{element}: {charge:g}" for element, charge in states.values.items())
        taker = max(states.values, key=lambda element: ELECTRONEGATIVITY.get(element, 0.0))
        example = ",".join(f"{element}={-1 if element == taker else 1}" for element in states.values)
        raise CompositionError(
            f"The charges {listed} do not have both signs.",
            where=str(path),
            fix=f"Give charges that can make a neutral crystal, such as --charges {example}.",
        )
    supercell, note, composition = _supercell(crystal, states.values, options)
    return CrystalGuess(crystal, options, ion, states, supercell, note, composition)


def draft_campaign(
    crystal_path: str | Path,
    options: CrystalOptions = CrystalOptions(),
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    dispersion: str | None = None,
    budget_h: float | None = None,
    potential: str | None = None,
) -> str:
    """Write the text of a commented campaign file for one crystal.

    Parameters
    ----------
    crystal_path
        CIF, POSCAR, extended XYZ or pymatgen JSON file.
    options
        What is known about the crystal.
    name
        Name of the campaign; made of the file name if None.
    folder
        Folder in which the campaign file will stand, for the relative path of the crystal; the working folder if
        None.
    dispersion
        Term that is added to the potential, such as ``"d3bj"``; none if None.
    budget_h
        Wall time in hours that the campaign may take on this machine, by its plan: sizes are the most generous that
        fit (:mod:`superionic.campaign.budget`), and comments say what was given up. The usual sizes if None.
    potential
        ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE`` that ranks and teaches; the most accurate one that is installed
        if None, and the file says why (:mod:`superionic.campaign.best_installed`).

    Returns
    -------
    str
        YAML text that :func:`superionic.campaign.file.load.load_campaign` accepts.

    Raises
    ------
    StructureError
        If the crystal cannot be read, holds no ion that is known to conduct, or not the one that is named.
    CompositionError
        If no charges are known for one of its elements, they do not have both signs, or no supercell fits.
    CampaignFileError
        If not even the least campaign fits into the time.
    PotentialError
        If there is no such potential, it does not cover the crystal, or it cannot do all that the campaign asks of it.
    """
    chosen = first_potential(potential)
    path = Path(crystal_path)
    guess = guess_settings(path, options)
    crystal = guess.crystal
    values = {
        "name": plain_name(name if name is not None else path.stem),
        "crystal": plain_name(path.stem),
        "file": relative_file(path, folder),
        "block": block_line(options.block),
        "notes": "".join(f"# Note: {note}\n" for note in crystal.notes),
        "formula": crystal.formula,
        "spacegroup": f"{crystal.spacegroup_symbol} (no. {crystal.spacegroup_number})",
        "ion": guess.mobile_ion,
        "ion_remark": "as you said" if options.mobile_ion else "a guess; change it if another ion conducts",
        "charges": ", ".join(f"{element}: {charge:g}" for element, charge in guess.charges.items()),
        "charge_remark": guess.states.note,
        "supercell": guess.supercell,
        "supercell_remark": guess.supercell_note,
        "bounds": enumerate_lines(options),
        "potential": entry_text({**chosen.entry, **({} if dispersion is None else {"dispersion": dispersion})}, folder),
        "potential_remark": chosen.reason,
    }

    def text(sizes: Sizes, remarks: str = "") -> str:
        repeats = (2, 2, 2) if sizes.thick_A is None else guess.repeats(sizes.thick_A)
        return _TEXT.format(
            **values,
            remarks=remarks,
            orderings=sizes.orderings,
            labels=sizes.labels,
            seed_labels=sizes.seed_labels,
            repeats="x".join(map(str, repeats)),
            temperatures=", ".join(map(str, sizes.temperatures_K)),
            replicas=sizes.replicas,
            npt_ps=sizes.npt_ps,
            production_ps=sizes.production_ps,
        )

    _demand_fit(text(USUAL), Path(folder or "."))
    if budget_h is None:
        return text(USUAL)
    return draft_within(budget_h, crystal, text, path, Path(folder or "."))


def _demand_fit(text: str, folder: Path) -> None:
    """Refuse a potential with which ``superionic check`` would refuse the file."""
    from superionic.campaign.file.load import parse_campaign
    from superionic.campaign.spaces import choose_potentials

    try:
        choose_potentials(parse_campaign(text, folder / "campaign.yaml"))
    except PotentialError as error:
        raise PotentialError(
            error.message, where="--potential", fix="choose another --potential; `superionic engines list` has them"
        ) from error


def _demand_crystal(crystal: DisorderedCrystal, ion: str, where: str) -> None:
    """Refuse a file that lists the sites of one element only: it has no framework."""
    if len(crystal.species) > 1:
        return
    raise StructureError(
        f"The file lists sites of {ion} and nothing else: these are sites for the mobile ion, not a crystal.",
        where=where,
        fix="Give the file of the whole crystal; for sites of an analysis, `superionic analyse RUN --sites FILE`.",
    )


def _mobile_ion(crystal: DisorderedCrystal, symbol: str | None, where: str) -> str:
    amounts = crystal.composition
    if symbol is not None:
        if symbol in amounts:
            return symbol
        hint = did_you_mean(symbol, amounts)
        listed = ", ".join(amounts)
        fix = f"Name one of its elements: {listed}" + (f"; {hint}" if hint else ".")
        message = (
            f"The crystal has no {symbol}."
            if symbol in ELEMENTS
            else f"'{symbol[:40]}' is not the symbol of an element."
        )
        raise StructureError(message, where=where, fix=fix)
    from superionic.structures.crystal.oxidation import guess_mobile_ion

    try:
        return guess_mobile_ion(crystal)
    except CompositionError as error:
        raise StructureError(
            error.message, where=where, fix=f"Name the mobile ion, e.g. --mobile-ion {next(iter(amounts), 'Li')}."
        ) from error


def _supercell(
    crystal: DisorderedCrystal, charges: Mapping[str, float], options: CrystalOptions
) -> tuple[str, str, IntegerComposition]:
    """Choose a supercell that a campaign takes with its defaults: the smallest that fits, with every species in it.

    One atom more or fewer than stated counts as a fit only where no small supercell is better, and a large supercell
    is taken only where no small one fits.

    Raises
    ------
    CompositionError
        If none fits: a campaign would be refused for the same reason.
    """
    from superionic.enumeration.counted import counted_spaces
    from superionic.enumeration.request import AUTO
    from superionic.structures.crystal.composition import compact_supercell, fitting_indices
    from superionic.structures.crystal.supercells import Supercell

    max_deviation = options.max_deviation

    def composed(cell: Supercell, *, strict: bool) -> IntegerComposition:
        return counted_spaces(
            crystal,
            cell,
            charges,
            max_deviation=max_deviation,
            strict=strict,
            min_distance_A=options.min_distance_A,
        )[0].composition

    if options.supercell is not None and options.supercell != AUTO:
        cell = Supercell.parse(options.supercell)
        return str(cell), "as you said", composed(cell, strict=False)
    strict = [(cells, True) for cells in fitting_indices(crystal, charges, max_deviation=max_deviation)]
    loose = [(cells, False) for cells in fitting_indices(crystal, charges, max_deviation=max_deviation, strict=False)]

    def is_large(choice: tuple[int, bool]) -> bool:
        return choice[0] > 1 and choice[0] * len(crystal.sites) > MAX_ATOMS

    refusal: CompositionError | None = None
    for cells, strictly in sorted([*strict, *loose], key=is_large)[:_CELLS_TRIED] or [(1, False)]:
        cell = compact_supercell(crystal, cells)
        try:
            composition = composed(cell, strict=strictly)
            if strictly and not crystal.is_ordered:
                composition = composed(cell, strict=False)  # that which the campaign takes
        except CompositionError as error:
            refusal = refusal or error
            continue
        if crystal.is_ordered:
            return str(cell), "the crystal is ordered", composition
        loss = f"; {composition.loss}" if composition.lost else ""
        return str(cell), f"the smallest with whole atoms and no charge: {composition.formula}{loss}", composition
    assert refusal is not None  # noqa: S101 - one cell at least was tried
    raise refusal


def entry_text(entry: Mapping[str, Any], folder: str | Path | None) -> str:
    """Write an entry of ``potentials``, its file relative to the folder of the campaign file."""

    def value_text(key: str, value: Any) -> str:
        if key == "file":
            return relative_file(Path(value), folder)
        is_plain = isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value) and plain_scalar(value) == value
        return str(value) if is_plain else json.dumps(value, ensure_ascii=False)

    return "{" + ", ".join(f"{key}: {value_text(key, value)}" for key, value in entry.items()) + "}"


def enumerate_lines(options: CrystalOptions) -> str:
    """Return the lines of a campaign file that bound compositions and distances."""
    return (
        f"  max_composition_deviation: {options.max_deviation:g}  # of an occupancy from the refined one, at most\n"
        f"  min_distance_A: {options.min_distance_A:g}            # of like ions, at least\n"
    )


def block_line(block: str | None) -> str:
    """Return the line of a campaign file that names the data block of a crystal; empty for None."""
    return "" if block is None else f"    block: {json.dumps(block, ensure_ascii=False)}\n"


def relative_file(path: Path, folder: str | Path | None) -> str:
    """Return the path of a file relative to the folder of the campaign file, quoted for YAML."""
    relative = Path(os.path.relpath(path.absolute(), Path(folder or ".").absolute())).as_posix()
    return json.dumps(relative, ensure_ascii=False)


def plain_name(text: str) -> str:
    """Turn any text into a name that a campaign file accepts, quoted for YAML where necessary."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-._+")[:80] or "campaign"
    return name if isinstance(plain_scalar(name), str) else f'"{name}"'  # 419 would be read as a number


_TEXT: Final = """\
# Campaign file of superionic. Each key is described in docs/campaign-file.md; units stand in the names of the keys.
#   superionic check THIS_FILE     says what would be done, and what it costs
#   superionic run THIS_FILE       does it; run it again after any interruption
{remarks}superionic: 1
name: {name}
seed: 1                          # the same seed gives the same results

# The crystal: {formula}, {spacegroup}
{notes}mobile_ion: {ion}                   # {ion_remark}
oxidation_states: {{{charges}}}    # {charge_remark}
crystals:
  - name: {crystal}
    file: {file}
{block}    supercell: {supercell}             # {supercell_remark}

# A composition axis replaces one element by another, step by step (give the new element an oxidation state, too):
# composition_axes:
#   - {{replace: Cl, by: Br, formula_unit: Li3YCl6, values: [0, 3, 6]}}

# Ordered phases against which formation energies are taken:
# references:
#   - {{name: licl, file: licl.cif}}

potentials:
  universal: {potential}    # {potential_remark}

enumerate:
  method: auto                   # list all distinct orderings; search the lowest where there are too many
  ewald_keep: {orderings:<18} # orderings of lowest electrostatic energy that go on
{bounds}
rank:
  relax_top: 20                  # orderings of each composition that are relaxed
  fmax_eV_per_A: 0.01            # largest force that ends a relaxation

# Fine-tuning is left out. To have it, take away the `#~ ` of these lines (labels by GPAW cost hours of CPU time):
#~ select:
#~   temperature_K: 800           # Boltzmann selection of orderings
#~   count: 5
#~ sample:
#~   temperatures_K: [800]
#~   equilibration_ps: 5
#~   production_ps: 10
#~   snapshots: 30                # from each run
#~ label:
#~   engine: gpaw                 # or potential:NAME, another potential as a stand-in
#~   functional: PBE
#~   ecut_eV: 520
#~   kpoint_spacing_per_A: 0.2
#~ train:
#~   epochs: 100
#~ validate: {{}}

# A fast student of the potential runs the dynamics, if it says what its teacher says; without it, they take days.
distil:
  method: on-policy              # from labels alone: the student runs, and its teacher labels what it meets
  students: 2
  on_policy:
    max_labels: {labels:<16} # by the teacher, in all
    seed_labels: {seed_labels:<15} # of these before the students run

transport:
  potential: student
  supercell: {repeats:<19} # repetition of the ordering
  temperatures_K: [{temperatures}]
  replicas: {replicas:<20} # independent runs at each temperature; the students take turns
  timestep_fs: 2
  npt_ps: {npt_ps:<22} # equilibration of the cell
  nvt_before_npt_ps: 5
  production_ps: {production_ps:<15} # the run that is analysed
  save_every_fs: 20
  segment_ps: 5                  # what a killed run loses at most

analyse:
  report_temperatures_K: [300]   # where the conductivity is predicted

execution:
  threads_per_worker: 1          # workers: the number of cores, if not given here
"""

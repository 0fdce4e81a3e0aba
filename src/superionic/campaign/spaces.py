"""From the campaign file to the spaces that are enumerated, and to the vertices of the hull."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from superionic.campaign.prepare import choose_potential, known_elements, refuse_moving_cells
from superionic.errors import AnalysisError, CompositionError, PotentialError, StructureError
from superionic.foreign import read_regular
from superionic.results.identity import ONCE, AxisValue, Material
from superionic.results.orderings import LeftOutCell
from superionic.settings.base import parse_formula
from superionic.stages.base import CrystalText
from superionic.stages.enumerate.spaces import Space, SpaceSettings
from superionic.structures.crystal.axes import Axis, apply_point
from superionic.structures.crystal.composition import integer_compositions
from superionic.structures.crystal.occupancies import with_occupancies
from superionic.structures.crystal.supercells import Supercell
from superionic.structures.io.cif.text import block_text
from superionic.structures.io.files import MAX_FILE_BYTES
from superionic.thermodynamics.composition import extreme
from superionic.transport.density.grid import grid_shape

MOST_ATOMS_OF_A_RUN = 100_000
"""Sites of the cell of a run of molecular dynamics."""

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.settings.inputs import CrystalInput, ReferenceInput
    from superionic.stages.base import ChosenPotential
    from superionic.structures.crystal.disordered import DisorderedCrystal


def read_text(path: str | Path) -> str:
    """Read a structure file that the campaign names.

    Raises
    ------
    StructureError
        If it is missing, unreadable or no text.
    """
    try:
        return read_regular(path, MAX_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StructureError(
            f"the structure file cannot be read: {reason}", where=str(path), fix="check `file` in the campaign"
        ) from error


def crystal_text(entry: CrystalInput | ReferenceInput) -> CrystalText:
    """Return a crystal or reference of the file as a task can read it."""
    occupancies: Mapping[str, Mapping[str, float]] = getattr(entry, "occupancies", {})
    refined = {name: dict(species) for name, species in occupancies.items()}
    text = read_text(entry.file)
    if entry.block is not None:  # a task reads that block and knows of no other
        text = block_text(text, entry.block)
    return CrystalText(entry.name, Path(entry.file).name, text, refined)


def build_spaces(file: CampaignFile, crystals: Mapping[str, DisorderedCrystal]) -> list[Space]:
    """Return crystals × grid points × supercells, in the order of the file.

    Parameters
    ----------
    crystals
        Each crystal of the file, read.

    Raises
    ------
    CompositionError
        If an axis does not apply to a crystal, or asks for more atoms than there are sites; if a run would have more
        atoms, or its density more points, than can be dealt with.
    """
    spaces = []
    charges = {element: float(charge) for element, charge in file.oxidation_states.items()}
    for entry in file.crystals:
        crystal, read = crystals[entry.name], crystal_text(entry)
        _demand_possible_runs(file, entry, crystal)
        for point in file.grid():
            material = Material(entry.name, tuple(AxisValue(axis, value) for axis, value in point.items()))
            made = _composition(file, crystal, read.occupancies, point)
            spaces += [
                Space(
                    material,
                    SpaceSettings(
                        file_name=read.file_name,
                        text=read.text,
                        supercell=matrix,
                        oxidation_states=charges,
                        coupling=entry.coupling,
                        exact_species=made.exact_species,
                        occupancies=made.occupancies,
                        substitutions=made.substitutions,
                        primitive=entry.primitive,
                    ),
                )
                for matrix in entry.all_supercells
            ]
    return spaces


def fitting_spaces(
    file: CampaignFile, crystals: Mapping[str, DisorderedCrystal]
) -> tuple[list[Space], tuple[LeftOutCell, ...]]:
    """Return the spaces whose sites can hold their composition, and the supercells that are left out.

    A supercell is left out for a composition only where another one of the same crystal holds it: a composition that
    fits none is an error of the file, which those spaces report.

    Parameters and errors are those of :func:`build_spaces`.
    """
    spaces = build_spaces(file, crystals)
    reasons: dict[int, str] = {}
    several = {entry.name for entry in file.crystals if len(entry.all_supercells) > 1}
    for space in (each for each in spaces if each.material.crystal in several):
        given = space.settings
        try:
            integer_compositions(
                given.substituted(crystals[space.material.crystal]),
                given.supercell,
                given.oxidation_states,
                coupling=given.coupling,
                overrides=given.occupancies or None,
                exact_species=given.exact_species,
                max_deviation=file.enumerate.max_composition_deviation,
                limit=1,
            )
        except CompositionError as error:
            reasons[id(space)] = error.message
    held = {space.material for space in spaces if id(space) not in reasons}
    left_out = [space for space in spaces if id(space) in reasons and space.material in held]
    return (
        [space for space in spaces if id(space) not in reasons or space.material not in held],
        tuple(LeftOutCell(space.cell, reasons[id(space)]) for space in left_out),
    )


def _demand_possible_runs(file: CampaignFile, entry: CrystalInput, crystal: DisorderedCrystal) -> None:
    """Refuse runs of too many atoms, and densities of too many points, before days are spent on what comes before."""
    sections = (
        ("sample", file.sample),
        ("distil", file.distil),
        ("volumes", file.volumes),
        *(("transport", series) for series in file.transport_series),
    )
    cells = [
        (stage, "supercell", matrix, section.supercell)
        for stage, section in sections
        if section is not None
        for matrix in entry.all_supercells
    ]
    if file.transport is not None and file.transport.draws is not None:  # these are run in their large cell as it is
        cells.append(("transport", "draws.supercell", file.transport.draws.supercell, ONCE))
    for stage, key, matrix, repetition in cells:
        cell, repeated = Supercell(matrix), Supercell(repetition)
        n_atoms = len(crystal.sites) * cell.multiplicity * repeated.multiplicity
        if n_atoms > MOST_ATOMS_OF_A_RUN:
            raise CompositionError(
                f"a run of {entry.name} in its supercell {cell}, repeated {repeated}, has {n_atoms:,} sites; no "
                f"more than {MOST_ATOMS_OF_A_RUN:,} are run",
                where=f"{stage}.{key}",
                fix="take a smaller supercell",
            )
        spacing = file.analyse.density_grid_A if file.analyse is not None and key == "supercell" else None
        if spacing is None or stage != "transport":
            continue
        try:
            grid_shape(repeated.array @ cell.array @ crystal.cell_A, spacing)
        except AnalysisError as error:
            raise CompositionError(error.message, where="analyse.density_grid_A", fix=error.fix) from error


@dataclass(frozen=True)
class _Composition:
    """What turns a crystal into that of a point of the grid; see :class:`SpaceSettings`."""

    occupancies: Mapping[str, Mapping[str, float]]
    substitutions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exact_species: tuple[str, ...] = ()


def _axes(file: CampaignFile) -> list[Axis]:
    """Return the axes of the file, and the replacements along them, as those of the command line.

    Where a replacement changes the charge (P → Si), the amount of the mobile ion follows.
    """
    axes = []
    for axis in file.composition_axes:
        steps = [(axis.replace, axis.by, 1.0)] + [(other.replace, other.by, other.ratio) for other in axis.along]
        charges = file.oxidation_states
        change = sum(ratio * (charges[new] - charges[old]) for old, new, ratio in steps)
        moves = abs(change) > 1e-9 and all(file.mobile_ion not in step for step in steps)
        axes += [
            Axis(
                replace=old,
                by=new,
                name=axis.by,
                follows=(file.mobile_ion,) if moves else (),
                formula_unit=axis.formula_unit,
                factor=ratio,
            )
            for old, new, ratio in steps
        ]
    return axes


def followers(file: CampaignFile) -> list[str]:
    """Return the species whose amounts follow along the axes: sites that a crystal lists as empty are kept for them."""
    return sorted({species for axis in _axes(file) for species in axis.follows})


def _composition(
    file: CampaignFile,
    crystal: DisorderedCrystal,
    occupancies: Mapping[str, Mapping[str, float]],
    point: Mapping[str, float],
) -> _Composition:
    """Return the changes that lead to the crystal of this point: substitutions of an element, or occupancies."""
    axes = _axes(file)
    if not axes:
        return _Composition(occupancies)
    start = with_occupancies(crystal, occupancies)
    parent, exact = apply_point(start, axes, point, file.oxidation_states, balanced=False)
    replaced: dict[str, dict[str, float]] = {}
    for axis in axes:
        present = [element for element in (axis.replace, axis.by) if element in start.species]
        if len(present) != 1 or present[0] in replaced or axis.follows or occupancies:
            changed = [s.name for s, old in zip(parent.sublattices, crystal.sublattices, strict=True) if s != old]
            return _Composition(
                {name: dict(parent.sublattice(name).species) for name in changed},
                exact_species=tuple(sorted(element for element in exact if element in parent.species)),
            )
        unit = parse_formula(axis.formula_unit or "")
        fraction = min(1.0, point[axis.name] * axis.factor / (unit.get(axis.replace, 0.0) + unit.get(axis.by, 0.0)))
        mixture = {e: share for e, share in ((axis.replace, 1.0 - fraction), (axis.by, fraction)) if share > 0}
        if mixture != {present[0]: 1.0}:
            replaced[present[0]] = mixture
    elements = sorted({element for mixture in replaced.values() for element in mixture})
    return _Composition(occupancies, replaced, tuple(elements))


def end_members(
    file: CampaignFile, formulas_by_point: Iterable[tuple[tuple[AxisValue, ...], str]], references: Mapping[str, str]
) -> list[str]:
    """Return the formulas of the hull's vertices.

    Given ones come first; else the references; else the ends of the composition axes; else the compositions of the
    crystals, but for those that are mixtures of others (one composition makes a hull of one point, which compares its
    orderings and polymorphs).

    Parameters
    ----------
    formulas_by_point
        Points of the composition grid, each with a reduced formula there; crystals may differ in it at one point.
    references
        Reduced formula of each reference.
    """
    hull = file.hull
    if hull is not None and hull.end_members:
        return list(hull.end_members)
    if references:
        return list(dict.fromkeys(references.values()))
    if not file.composition_axes:
        every = list(dict.fromkeys(formula for _, formula in formulas_by_point))
        return [every[index] for index in extreme([parse_formula(formula) for formula in every])]
    grid = file.grid()
    ends = [{point[axis.by] for point in grid} for axis in file.composition_axes]
    corners = itertools.product(*((min(values), max(values)) for values in ends))
    points = [tuple(map(AxisValue, (axis.by for axis in file.composition_axes), corner)) for corner in corners]
    return list(dict.fromkeys(formula for corner in points for point, formula in formulas_by_point if point == corner))


def replacements(file: CampaignFile) -> list[tuple[str, str]]:
    """Return all pairs of elements that replace each other along the composition axes."""
    return [(axis.replace, axis.by) for axis in _axes(file)]


def choose_potentials(file: CampaignFile) -> dict[str, ChosenPotential]:
    """Describe the campaign's potentials, and check that they cover its elements.

    Raises
    ------
    PotentialError
        If a potential or model is unknown, or does not cover an element of the campaign.
    """
    potentials = {}
    elements = set(file.oxidation_states) | {file.mobile_ion}
    elements |= {element for axis in file.composition_axes for element in (axis.replace, axis.by)}
    for name, entry in file.potentials.items():
        options = entry.load_options()
        if entry.engine == "pair" and "charges_e" not in options:
            options["charges_e"] = {element: float(charge) for element, charge in file.oxidation_states.items()}
        potentials[name] = choose_potential(name, entry.engine, entry.model, options, where=f"potentials.{name}")
        identity = potentials[name].identity
        # Which elements a pickled checkpoint covers is known once its engine has read it.
        covered = identity.elements or known_elements(identity.name, potentials[name].options)
        missing = sorted(elements - set(covered)) if covered else []
        if missing:
            raise PotentialError(
                f"the potential {name} ({identity.name} {identity.model}) does not know {', '.join(missing)}",
                where=f"potentials.{name}",
                fix="choose a potential that covers these elements",
            )
    refuse_moving_cells(file, potentials)
    return potentials

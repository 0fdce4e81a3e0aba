"""Sections of the campaign file that say what is studied and with which potentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from superionic.conventions import CONVENTIONS, OWN, advice, is_convention
from superionic.registry import find, models
from superionic.settings.base import (
    Amounts,
    Count,
    CrystalMatrix,
    Element,
    Formula,
    InputFile,
    Matrix,
    ModelName,
    Name,
    NotNegative,
    Number,
    Positive,
    RowsOfMatrix,
    parse_formula,
)
from superionic.settings.rules import Problem, Section, did_you_mean, missing_file, no_such, rule, rule_of_file

IDENTITY: RowsOfMatrix = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


class CrystalInput(Section):
    """One crystal (polymorph), with partial occupancies or ordered."""

    name: Name = Field(description="Short name of the crystal, used in tables and file names.")
    file: InputFile = Field(
        description="CIF, POSCAR, extended XYZ or pymatgen JSON file, relative to the campaign file."
    )
    block: str | None = Field(
        default=None,
        min_length=1,
        description="Data block of a CIF that holds several crystals, without `data_`; the first with atoms if left "
        "out.",
    )
    supercell: CrystalMatrix = Field(
        default=IDENTITY,
        description='Supercell in which the orderings are made: "1x1x2", [1, 1, 2] or a 3×3 matrix; `primitive` is '
        "short for `primitive: true` and 1x1x1.",
    )
    further_supercells: Annotated[tuple[Matrix, ...], Field(strict=False)] = Field(
        default=(),
        description="More supercells to enumerate besides `supercell` (paper A: 1x1x1, 1x1x2 and 1x2x2). The lowest "
        "`enumerate.ewald_keep` of all of them together go on; one that cannot hold a composition is left out for it.",
    )
    primitive: bool = Field(
        default=False,
        description="Reduce the crystal to its primitive cell first: `supercell` and `further_supercells` are then "
        "matrices on that (NaSICON R-3c: 2 formula units instead of 6).",
    )
    coupling: Literal["per-orbit", "coupled"] = Field(
        default="per-orbit",
        description="`per-orbit`: each crystallographic orbit keeps its own refined number of atoms, so that no "
        "ordering moves an atom from one orbit to another. `coupled`: orbits with the same species share one number, "
        "as in enumlib (paper B); the space is larger and holds the smaller one where both have the same numbers. "
        "Li3YBr6 C2/m, 1x1x1: 3 distinct orderings per orbit, 10 coupled, and only the latter have paper A's ground "
        "state (4g full, 4h half); 1x2x2: 32,536 and 338,316. Li3YCl6 P-3m1, 1x1x1: 30 and 124; 1x1x2: 49,668 and "
        "395,596.",
    )

    occupancies: dict[str, dict[Element, NotNegative]] = Field(
        default_factory=dict,
        description="Occupancies that replace the refined ones, by name of the sublattice (`superionic check` lists "
        "the names), e.g. {Y2: {Y: 0.75}}; what is missing to 1 is vacant.",
    )

    @property
    def all_supercells(self) -> tuple[RowsOfMatrix, ...]:
        """All supercells to enumerate, each once, `supercell` first."""
        return tuple(dict.fromkeys((self.supercell, *self.further_supercells)))

    @rule
    def _sites_are_not_overfull(self) -> Iterator[Problem]:
        for sublattice, species in self.occupancies.items():
            total = sum(species.values())
            if total > 1 + 1e-9:
                message = f"the occupancies add up to {total:g}, which is more than 1"
                yield Problem(("occupancies", sublattice), message)

    @rule_of_file
    def _file_is_there(self) -> Iterator[Problem]:
        yield from missing_file(("file",), self.file)


class _Replacement(Section):
    replace: Element
    by: Element

    @rule
    def _elements_differ(self) -> Iterator[Problem]:
        if self.replace == self.by:
            yield Problem(("by",), f"{self.replace} is replaced by itself")

    @rule
    def _elements_have_charges(self, oxidation_states: Mapping[str, float]) -> Iterator[Problem]:
        for key, element in (("replace", self.replace), ("by", self.by)):
            if element not in oxidation_states:
                yield Problem((key,), f"{element} has no oxidation state", "add it to `oxidation_states`")

    def atoms_in(self, formula_unit: str) -> float:
        """Return how many atoms of its two elements a formula unit has: so many can be of `by`."""
        counts = parse_formula(formula_unit)
        return sum(counts.get(element, 0.0) for element in {self.replace, self.by})


class Substitution(_Replacement):
    """A replacement that goes along with a composition axis."""

    replace: Element = Field(description="Element that is replaced.")
    by: Element = Field(description="Element that takes its sites.")
    ratio: Positive = Field(
        default=1.0,
        description="Atoms replaced for each atom that the axis itself replaces (4 for S→O along Li3PS4–Li4GeO4).",
    )


class CompositionAxis(_Replacement):
    """One axis of the composition grid: an element that is replaced by another, step by step.

    The two elements share the sites that hold either of them in a crystal file, so the file of either end serves.
    """

    replace: Element = Field(description="Element that is replaced, as the formula unit has it.")
    by: Element = Field(description="Element that takes its sites.")
    formula_unit: Formula = Field(description="Formula unit in which the atoms are counted, e.g. Li3YCl6.")
    values: Amounts = Field(description="Atoms of `by` for each formula unit, rising, e.g. [0, 3, 6].")
    along: Annotated[tuple[Substitution, ...], Field(strict=False)] = Field(
        default=(), description="Replacements that go along with this one in a fixed ratio."
    )

    @rule
    def _formula_unit_has_the_atoms(self) -> Iterator[Problem]:
        most = max(self.values)
        yield from self._too_few((), self, most, "formula_unit", "values")
        for index, entry in enumerate(self.along):
            yield from self._too_few(("along", index), entry, most * entry.ratio, "replace", "ratio")

    def _too_few(
        self, path: tuple[str | int, ...], entry: _Replacement, replaced: float, absent: str, amount: str
    ) -> Iterator[Problem]:
        room = entry.atoms_in(self.formula_unit)
        if room == 0.0:
            yield Problem((*path, absent), f"the formula unit has no {entry.replace} to replace")
        elif replaced > room * (1 + 1e-9):
            message = f"replaces {replaced:g} {entry.replace}, but the formula unit has {room:g}"
            yield Problem((*path, amount), message)


class CompositionConstraint(Section):
    """A linear condition that a point of the composition grid must meet to be taken."""

    weights: dict[Element, Number] = Field(
        min_length=1, description="Weight of the value of each axis, named by its `by` element, e.g. {In: 6, Br: 1}."
    )
    minimum: Number | None = Field(default=None, description="Smallest weighted sum that is taken.")
    maximum: Number | None = Field(default=None, description="Largest weighted sum that is taken.")

    def is_met(self, point: Mapping[str, float]) -> bool:
        """Return whether a point of the grid meets it: the value of each axis, by its `by` element."""
        total = sum(weight * point[name] for name, weight in self.weights.items())
        slack = 1e-9 * (1.0 + abs(total))
        return (self.minimum is None or total >= self.minimum - slack) and (
            self.maximum is None or total <= self.maximum + slack
        )

    @rule
    def _bounds_leave_something(self) -> Iterator[Problem]:
        if self.minimum is None and self.maximum is None:
            yield Problem((), "the constraint has neither a `minimum` nor a `maximum`")
        elif self.is_empty:
            yield Problem(("minimum",), f"the minimum {self.minimum:g} is above the maximum {self.maximum:g}")

    @property
    def is_empty(self) -> bool:
        """Whether no value at all lies between its bounds."""
        return self.minimum is not None and self.maximum is not None and self.minimum > self.maximum

    @rule
    def _names_axes(self, composition_axes: tuple[CompositionAxis, ...]) -> Iterator[Problem]:
        axes = [axis.by for axis in composition_axes]
        for name in self.weights:
            if name not in axes:
                message = f"no composition axis brings in '{name}'"
                yield Problem(("weights", name), message, did_you_mean(name, axes), at_key=True)


class ReferenceInput(Section):
    """An ordered phase that serves as a reference of formation energies and as a vertex of the hull."""

    name: Name = Field(description="Short name of the phase.")
    file: InputFile = Field(description="Structure file of the ordered phase, relative to the campaign file.")
    block: str | None = Field(
        default=None,
        min_length=1,
        description="Data block of a CIF that holds several crystals, without `data_`; the first with atoms if left "
        "out.",
    )

    @rule_of_file
    def _file_is_there(self) -> Iterator[Problem]:
        yield from missing_file(("file",), self.file)


_ABOUT_A_FILE: Final = frozenset({"energy_convention", "level_of_theory", "modal", "trust_sha256"})


class DispersionInput(Section):
    """A dispersion term that is added to a potential or to labels; the word `d3bj` alone stands for its defaults."""

    method: Literal["d3bj"] = Field(default="d3bj", description="D3 with Becke–Johnson damping, without three bodies.")
    functional: Literal["PBE", "PBEsol", "SCAN", "r2SCAN"] | None = Field(
        default=None,
        description="Functional whose damping is taken; that of the energies it is added to, where they name one.",
    )
    cutoff_A: Annotated[float, Field(gt=0, le=200)] = Field(
        default=32.0, description="Distance up to which pairs count; the cost grows as its cube."
    )
    coordination_cutoff_A: Annotated[float, Field(gt=0, le=200)] = Field(
        default=11.0, description="Distance up to which the neighbours are counted that coefficients depend on."
    )


DispersionChoice = Literal["d3bj"] | DispersionInput


def chosen_dispersion(given: DispersionChoice | None) -> dict[str, Any] | None:
    """Return what a campaign says of dispersion as plain values; None where there is none."""
    if given is None:
        return None
    section = DispersionInput() if isinstance(given, str) else given
    return {name: value for name, value in section.model_dump(mode="json").items() if value is not None}


def _check_sha256(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise ValueError(f"'{text[:20]}' is no SHA-256: 64 digits and letters a to f (sha256sum FILE tells it)")
    return text.lower()


class PotentialInput(Section):
    """One machine-learned potential, or the pair potential, under the name that the stages use for it."""

    engine: ModelName = Field(
        description="Program that evaluates the potential; `ase` is a calculator of an installed package."
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Model of the engine, e.g. 0.3.0, 7net-0 or nequix-omat-1; the engine's default if left out. With "
        "`file`, a name for it in reports.",
    )
    file: InputFile | None = Field(
        default=None,
        description="Checkpoint of the potential, relative to the campaign file: of mace an .npz made by `superionic "
        "engines convert` (or a .model), of matgl the folder with model.json and state.pt, of nequix an .nqx, of "
        "sevennet a .pth, of nep a nep.txt; of every engine that is trained, a potential that another campaign trained "
        "(`superionic export model`).",
    )
    modal: str | None = Field(
        default=None,
        min_length=1,
        description="Level of theory (sevennet: modal, mace: head) of a `file` that has several.",
    )
    precision: Literal["float32", "float64"] | None = Field(
        default=None,
        description="Precision of chgnet, mace and matgl; float32 if left out (as published, and twice as fast).",
    )
    energy_convention: str | None = Field(
        default=None,
        min_length=1,
        description="What the energies of `file` or `calculator` are, e.g. MP raw PBE(+U), or `own: ...`; energies of "
        "two conventions never meet on one hull. Needed where it is not on record.",
    )
    level_of_theory: str | None = Field(
        default=None,
        min_length=1,
        description="What the `file` or `calculator` reproduces, in words, for the report.",
    )
    calculator: str | None = Field(
        default=None,
        min_length=1,
        description="Name under which an installed package registers its ASE calculator (engine `ase` only).",
    )
    elements: Annotated[tuple[Element, ...], Field(strict=False)] | None = Field(
        default=None, description="Elements that the `calculator` covers (engine `ase` only)."
    )
    trust_sha256: Annotated[str, AfterValidator(_check_sha256)] | None = Field(
        default=None,
        description="SHA-256 of a mace .model that may be loaded although loading it runs code that is stored in it.",
    )
    dispersion: DispersionChoice | None = Field(
        default=None,
        description="Dispersion that is added to it, e.g. d3bj; its energy convention says so. What has dispersion "
        "already is refused.",
    )
    options: dict[str, bool | int | Number | str | dict[str, Number]] = Field(
        default_factory=dict, description="Further options of the engine, passed on as they are."
    )

    def load_options(self) -> dict[str, Any]:
        """Return the options with which the potential is loaded, as plain values; what was left out is left out."""
        own = ("file", "modal", "precision", "energy_convention", "level_of_theory", "calculator", "trust_sha256")
        options: dict[str, Any] = {name: getattr(self, name) for name in own if getattr(self, name) is not None}
        if self.elements is not None:
            options["elements"] = list(self.elements)
        if (dispersion := chosen_dispersion(self.dispersion)) is not None:
            options["dispersion"] = dispersion
        return {**self.options, **options}

    @property
    def given(self) -> frozenset[str]:
        """Keys that stand in the entry (in a draft with whatever value) besides `engine`, `model` and `options`."""
        keys = {key for key in type(self).model_fields if not self.is_sound(key) or getattr(self, key) is not None}
        return frozenset(keys - {"engine", "model", "dispersion", "options"})

    @property
    def is_exported(self) -> bool:
        """Whether its file is a trained potential of another campaign, which states everything about itself."""
        from superionic.potentials.exported import is_exported

        return self.file is not None and is_exported(self.file)

    @rule
    def _engine_knows_the_keys(self) -> Iterator[Problem]:
        model = models()[self.engine]
        if self.is_exported:
            for key in sorted(self.given & _ABOUT_A_FILE - {"energy_convention"}):
                yield Problem((key,), f"'{key}' is on record in the file", "leave it out", at_key=True)
            return
        of_some_engine = frozenset().union(*(each.keys for each in models().values()))
        knows = ", ".join(sorted(model.keys)) or "only `model` and `options`"
        for key in sorted(self.given & of_some_engine - model.keys):
            only = "it takes only one made by `superionic export model`" if key == "file" and model.trainer else ""
            hint = only or f"it knows: {knows}"
            yield Problem((key,), f"the engine {self.engine} has no '{key}'", hint, at_key=True)
        for key in () if model.data_named(self.model) is not None else model.needed:
            if key not in self.given:
                hint = {"file": f"it is {model.file}", "energy_convention": _ONE_CONVENTION}.get(key, "")
                yield Problem((), f"a potential of the engine {self.engine} needs '{key}'", hint)
        if "file" in model.keys and "file" not in self.given:
            for key in sorted(self.given & _ABOUT_A_FILE):
                yield Problem((key,), f"'{key}' says something about a `file`, and there is none", at_key=True)

    @rule
    def _convention_is_one(self) -> Iterator[Problem]:
        convention = self.energy_convention
        if convention is not None and not is_convention(convention):
            hint = did_you_mean(convention, CONVENTIONS) or advice("")
            yield Problem(("energy_convention",), f"'{convention}' is not an energy convention", hint)

    @rule_of_file
    def _file_is_there(self) -> Iterator[Problem]:
        if self.file is not None:
            model = find(self.engine) if self.is_sound("engine") else None
            is_folder = model is not None and bool(model.members) and not self.is_exported
            yield from missing_file(("file",), self.file, is_folder=is_folder)


_ONE_CONVENTION: Final = f"write one of: {', '.join(CONVENTIONS)}; or '{OWN}...' for your own calculations"

Potentials = Mapping[str, PotentialInput]
"""The entries of `potentials`, by name."""


def unknown_potential(name: str | None, potentials: Potentials, key: str = "potential") -> Iterator[Problem]:
    """Yield the problem of a setting that names no entry of `potentials`; None names none on purpose."""
    if name is not None and name not in potentials:
        yield no_such("potential", name, potentials, (key,))


class ExecutionSettings(Section):
    """How the work is carried out. Nothing in here enters the key of a task: changing it repeats no work."""

    workers: Count | None = Field(default=None, description="Worker processes; the number of cores if left out.")
    threads_per_worker: Count = Field(
        default=1, description="Threads of each worker process; more than one may change the last digits of a result."
    )
    walltime_h: Positive | None = Field(
        default=None,
        description="Start no further task after this many hours; a later run goes on. No limit if left out.",
    )
    task_limit_h: Positive = Field(
        default=24.0,
        description="Longest time of one task, in hours, counted from when a worker begins it. One that takes longer "
        "is ended, tried once more, and then recorded as failed.",
    )
    durable: bool = Field(
        default=True,
        description="Wait until the disk has each result, so that none is lost with a power cut; some ms a result. "
        "A kill of the program loses nothing either way.",
    )

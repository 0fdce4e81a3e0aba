"""The section ``label`` of the campaign file: the reference method and the gates.

Defaults are the values of the papers where they give one: paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B
the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from superionic.settings.base import Count, Element, InputFile, NotNegative, Number, Positive, StageSection
from superionic.settings.inputs import DispersionChoice, Potentials
from superionic.settings.rules import Problem, Section, did_you_mean, missing_file, no_such, rule, rule_of_file
from superionic.settings.sample import SampleSettings
from superionic.settings.train import TrainSettings

STAND_IN: Final = "potential:"
LABEL_ENGINES: Final = ("gpaw", "vasp", "tblite")
FINISHED: Final = "finished"
PLANE_WAVE_ENGINES: Final = ("gpaw", "vasp")

KPointSpacing = Annotated[float, Field(ge=0.01, le=10)]


class GateSettings(Section):
    """What a label must pass before it is used for training; null switches a gate off."""

    max_force_eV_per_A: Positive | None = Field(default=30.0, description="Largest force on an atom.")
    max_net_force_eV_per_A: Positive | None = Field(default=0.5, description="Largest net force on the cell.")
    max_stress_GPa: Positive | None = Field(default=50.0, description="Largest absolute component of the stress.")
    min_distance_A: Positive | None = Field(default=0.8, description="Shortest distance between two atoms.")
    max_smearing_energy_eV_per_atom: Positive | None = Field(
        default=0.01, description="Largest energy of smearing: more tells of a metal or of a broken electronic state."
    )
    energy_outlier_sigma: Positive | None = Field(
        default=4.5,
        description="Largest deviation of the energy from what the sampling potential and per-element shifts explain, "
        "in robust standard deviations of the set.",
    )
    force_outlier_sigma: Positive | None = Field(
        default=6.0,
        description="Largest deviation of the forces from those of the sampling potential, compared with the other "
        "labels; on a logarithmic scale.",
    )
    stress_outlier_sigma: Positive | None = Field(default=6.0, description="The same of the stress.")
    duplicate_distance_A: Positive | None = Field(
        default=1.0e-3, description="Two structures are the same if no atom and no cell vector differs by more."
    )


class VaspSettings(Section):
    """Settings of VASP alone; environment variables say how it is run and where its POTCARs are."""

    version: str | None = Field(
        default=None,
        min_length=1,
        description="Version of VASP that runs, e.g. 6.3.2; another one is refused. State it: labels of two versions "
        "are not mixed.",
    )
    potcar_functional: str = Field(
        default="PBE_54", min_length=1, description="Release of the POTCARs (paper A: PBE_54)."
    )
    potcars: dict[Element, str] = Field(
        default_factory=dict,
        description="POTCARs by element, e.g. {Li: Li_sv}, over paper A's and the Materials Project's.",
    )
    incar: dict[str, bool | int | Number | str] = Field(
        default_factory=dict, description="Further tags of the INCAR, e.g. {NCORE: 4}."
    )


class TbliteSettings(Section):
    """Settings of tblite alone; of the other fields of `label` it uses only `max_scf_steps`."""

    method: Literal["GFN1-xTB", "GFN2-xTB"] = Field(
        default="GFN1-xTB", description="Tight-binding method. At the Γ point only: take edges of 10 Å or more."
    )
    electronic_temperature_K: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=300.0, description="Temperature of the electrons."
    )
    accuracy: Positive = Field(
        default=0.1, description="Scales tblite's thresholds of convergence and cutoffs (tblite's own default: 1)."
    )


class FinishedSettings(Section):
    """Finished calculations that join the labels of the first round."""

    files: Annotated[tuple[InputFile, ...], Field(strict=False)] = Field(
        default=(),
        description="Files, or folders to search: vasprun.xml, vasprun.xml.gz, .gpw, .extxyz; relative to the campaign "
        "file.",
    )
    every: Count = Field(default=1, description="Take every n-th ionic step of a run of many.")
    kpoint_spacing_per_A: KPointSpacing | None = Field(
        default=None,
        description="State the k-points by this spacing, as `label.kpoint_spacing_per_A`; coarser grids are refused.",
    )
    code: str | None = Field(
        default=None,
        min_length=1,
        description="Code that made frames of .extxyz which do not say, with `version` and `functional`; who states "
        "it answers for convergence too.",
    )
    version: str | None = Field(default=None, min_length=1, description="Its version.")
    functional: str | None = Field(default=None, min_length=1, description="Its functional.")
    energy_convention: str | None = Field(
        default=None, min_length=1, description="What its energies count from, in words."
    )

    @rule
    def _provenance_is_whole(self) -> Iterator[Problem]:
        parts = {"code": self.code, "version": self.version, "functional": self.functional}
        stated = [name for name, value in parts.items() if value is not None]
        if 0 < len(stated) < len(parts):
            yield Problem((stated[0],), "a stated provenance needs `code`, `version` and `functional`")

    @rule_of_file
    def _files_are_there(self) -> Iterator[Problem]:
        for index, name in enumerate(self.files):
            yield from missing_file(("files", index), name, is_folder=None)


class ReferenceMethodSettings(StageSection):
    """Base of the sections that calculate by a reference method: which, and with which settings."""

    engines: ClassVar[tuple[str, ...]] = LABEL_ENGINES

    engine: str = Field(
        default="gpaw",
        description="`gpaw`, `vasp`, `tblite` (tight binding, for tests and studies of method), or `potential:<name>` "
        "for an entry of `potentials` as a named stand-in for DFT.",
    )
    functional: Literal["PBE", "PBEsol", "LDA", "SCAN", "r2SCAN"] = Field(
        default="PBE", description="Exchange–correlation functional (paper A: SCAN; paper B: PBE)."
    )
    ecut_eV: Positive = Field(default=520.0, description="Plane-wave cutoff (paper A: 520; paper B: 350).")
    kpoint_spacing_per_A: KPointSpacing = Field(
        default=0.2,
        description="Largest spacing of k-points along each reciprocal axis, whose length is 2π/L, as VASP's KSPACING "
        "has it (paper A: 0.2).",
    )
    kpoint_offset: Literal["gamma", "offset"] = Field(
        default="gamma",
        description="Γ-centred k-points (papers A and B), or a grid shifted by a quarter step, whose points and their "
        "time-reversal partners together have the spacing: fewer points for the same accuracy.",
    )
    smearing_eV: NotNegative = Field(default=0.05, description="Width of the Fermi–Dirac occupation of the bands.")
    energy_tolerance_eV: Positive = Field(
        default=1.0e-5,
        description="Change of the energy of the cell that ends the electronic minimisation (paper A: 1e-5).",
    )
    density_tolerance: Positive = Field(
        default=1.0e-4,
        description="Change of the density, in electrons per valence electron, that ends the minimisation.",
    )
    eigenstates_tolerance: Positive = Field(
        default=4.0e-8, description="Residual of the bands, in eV² per valence electron, that ends the minimisation."
    )
    max_scf_steps: Count = Field(default=100, description="Electronic steps after which a label is given up.")
    dispersion: DispersionChoice | None = Field(
        default=None,
        description="Dispersion that is added to what is calculated, e.g. d3bj; methods that have dispersion already "
        "are refused.",
    )
    vasp: VaspSettings = Field(default_factory=VaspSettings, description="Settings of VASP alone.")
    tblite: TbliteSettings = Field(default_factory=TbliteSettings, description="Settings of tblite alone.")

    @property
    def stand_in(self) -> str | None:
        """Name of the potential that stands in for a reference method; None for a reference method."""
        return self.engine.removeprefix(STAND_IN) if self.engine.startswith(STAND_IN) else None

    @property
    def dispersion_engines(self) -> tuple[str, ...]:
        """Environments in which the dispersion term is evaluated; none without one."""
        return () if self.dispersion is None else ("core",)

    @rule
    def _engine_is_known(self, potentials: Potentials) -> Iterator[Problem]:
        engine, name = self.engine, self.stand_in
        if engine in self.engines:
            return
        if name is None:
            hint = did_you_mean(engine, [*self.engines, *(STAND_IN + each for each in potentials)])
            hint = hint or f"write {', '.join(self.engines)}, or potential:<name>"
            yield Problem(("engine",), f"'{engine}' is not a reference method", hint)
        elif name not in potentials:
            yield no_such("potential", name, potentials, ("engine",))

    @rule
    def _vasp_has_its_kpoints(self) -> Iterator[Problem]:
        if self.engine == "vasp" and self.kpoint_offset == "offset":
            hint = "add `kpoint_offset: gamma`, and a spacing of 0.2 or so"
            yield Problem(("kpoint_offset",), "VASP takes Γ-centred k-points here", hint)

    @rule
    def _dispersion_is_not_there_already(self, potentials: Potentials) -> Iterator[Problem]:
        if self.dispersion is None:
            return
        path, engine, incar = ("dispersion",), self.engine, self.vasp.incar
        tag = next((tag for tag in ("IVDW", "LVDW", "LUSE_VDW") if incar.get(tag)), None) if engine == "vasp" else None
        if tag is not None:
            yield Problem(path, f"VASP adds dispersion itself, by {tag} in `vasp.incar`", "leave out one of the two")
        if engine == "tblite":
            yield Problem(path, "tight binding by tblite has dispersion already", "leave it out")
        if self.functional == "LDA" and engine in ("gpaw", "vasp"):
            yield Problem(path, "D3 has no parameters for LDA", "choose PBE, PBEsol, SCAN or r2SCAN, or leave it out")
        name = self.stand_in
        if name is not None and name in potentials and potentials[name].dispersion is not None:
            yield Problem(path, f"the energies of the potential '{name}' have dispersion already", "leave it out")


class ConvergenceCheckSettings(Section):
    """A few labels made anew, which show whether the plane-wave cutoff and the k-points suffice."""

    ecut_factor: Annotated[float, Field(gt=1, le=4)] | None = Field(
        default=1.3,
        description="The fewest structures that have all elements are labelled at this times `ecut_eV`; null for none.",
    )
    kpoints: bool = Field(
        default=True,
        description="Whether one structure of each kind of cell is labelled with more k-points, on the axes where they "
        "are the farthest apart.",
    )
    max_force_meV_per_A: Positive = Field(
        default=10.0, description="Mean absolute change of the forces above which the report warns."
    )
    max_stress_GPa: Positive = Field(
        default=0.5, description="Change of the mean normal stress above which the report warns."
    )
    max_energy_difference_meV_per_atom: Positive = Field(
        default=3.0,
        description="Difference between two kinds of cell, in what the k-points change of their energies, above which "
        "the report warns.",
    )


class LabelSettings(ReferenceMethodSettings):
    """Reference energies, forces and stresses of the snapshots."""

    engines: ClassVar[tuple[str, ...]] = (*LABEL_ENGINES, FINISHED)

    engine: str = Field(
        default="gpaw",
        description="`gpaw`, `vasp`, `tblite` (tight binding, for tests and studies of method), `potential:<name>` for "
        "an entry of `potentials` as a named stand-in for DFT, or `finished` for the labels of `finished` alone.",
    )
    dispersion: DispersionChoice | None = Field(
        default=None,
        description="Dispersion that is added to labels, e.g. d3bj, also to those in `finished`. What is trained on "
        "them learns it. Labels that have dispersion already are refused.",
    )
    finished: FinishedSettings = Field(
        default_factory=FinishedSettings, description="Finished calculations that join the labels."
    )
    gates: GateSettings = Field(default_factory=GateSettings, description="What a label must pass.")
    convergence_check: ConvergenceCheckSettings | None = Field(
        default_factory=ConvergenceCheckSettings,
        description="A few structures are labelled anew at a higher cutoff, and with more k-points, by GPAW and VASP; "
        "null for no such check.",
    )

    @property
    def is_finished(self) -> bool:
        """Whether all labels are there already."""
        return self.engine == FINISHED

    @property
    def higher_ecut_eV(self) -> float | None:
        """The cutoff of the labels that check `ecut_eV`; None without such a check, or without plane waves."""
        check = self.convergence_check
        if check is None or check.ecut_factor is None or self.engine not in PLANE_WAVE_ENGINES:
            return None
        return round(check.ecut_factor * self.ecut_eV, 6)

    @property
    def checks_kpoints(self) -> bool:
        """Whether labels with more k-points check `kpoint_spacing_per_A`: not without plane waves."""
        check = self.convergence_check
        return check is not None and check.kpoints and self.engine in PLANE_WAVE_ENGINES

    @rule
    def _finished_labels_are_named(self) -> Iterator[Problem]:
        if self.is_finished and not self.finished.files:
            yield Problem(("engine",), "no finished labels are named", "name files or folders in `finished.files`")

    @rule
    def _dispersion_is_not_learned_beside_a_term(
        self, potentials: Potentials, sample: SampleSettings | None, train: TrainSettings | None
    ) -> Iterator[Problem]:
        name = None if self.dispersion is None or train is None or sample is None else sample.potential
        if name is not None and name in potentials and potentials[name].dispersion is not None:
            message = f"the potential '{name}' of `sample` has a dispersion term; what is trained would have it twice"
            hint = "leave it out here, and the term stays; or there, and the potential learns it"
            yield Problem(("dispersion",), message, hint)

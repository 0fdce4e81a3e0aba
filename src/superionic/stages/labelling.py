"""What the stages share that calculate by a reference method: which it is, its tasks, and about what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ase import Atoms

from superionic.execution.task import Context, Task, task
from superionic.labels.base import Label, Labeller
from superionic.stages.base import ChosenPotential, Workbench

if TYPE_CHECKING:
    from superionic.settings.label import ReferenceMethodSettings

KNOWN_AS = "superionic.stages.label"  # its name in keys, from before it moved here

_ENGINES: Final = {"gpaw": "gpaw", "tblite": "tblite", "vasp": "core"}  # a core worker starts VASP
_OF_VASP: Final = {
    *("functional", "ecut_eV", "kpoint_spacing_per_A", "smearing_eV", "energy_tolerance_eV", "max_scf_steps"),
}
_OF_GPAW: Final = _OF_VASP | {"kpoint_offset", "density_tolerance", "eigenstates_tolerance"}
# GPAW: CPU seconds of a 30-atom label at 300 eV and one k-point; grows with the cutoff, the k-points and the atoms.
_LABEL_S: Final = 40.0
# tblite: CPU seconds of a 64-atom label; grows as the square of the atoms at such sizes.
_TIGHT_BINDING_LABEL_S: Final = 7.0


@dataclass(frozen=True)
class ChosenLabeller:
    """The reference method of a section, as tasks name it.

    Attributes
    ----------
    name
        Name of the labeller: ``"gpaw"``, ``"vasp"``, ``"tblite"`` or ``"potential:<name>"``.
    settings
        Its settings, as plain values.
    engine
        Environment in which it calculates.
    dispersion
        The term that is added to what it calculates, as plain values; None for none.
    """

    name: str
    settings: Mapping[str, Any]
    engine: str
    dispersion: Mapping[str, Any] | None

    @classmethod
    def of(cls, section: ReferenceMethodSettings, stand_in: ChosenPotential | None) -> ChosenLabeller:
        """Take the method that a section names, or the potential that stands in for one."""
        from superionic.settings.inputs import chosen_dispersion

        dispersion = chosen_dispersion(section.dispersion)
        settings: dict[str, Any]
        if stand_in is not None:
            settings = {"model": stand_in.model, "options": dict(stand_in.options)}
            return cls(f"potential:{stand_in.identity.name}", settings, stand_in.engine, dispersion)
        if section.engine == "tblite":
            settings = {**section.tblite.model_dump(mode="json"), "max_scf_steps": section.max_scf_steps}
        elif section.engine == "vasp":
            settings = section.model_dump(mode="json", include=_OF_VASP) | section.vasp.model_dump(mode="json")
        else:
            settings = section.model_dump(mode="json", include=_OF_GPAW)
        return cls(section.engine, settings, _ENGINES[section.engine], dispersion)

    def label(self, bench: Workbench, title: str, atoms: Atoms) -> Task[Label]:
        """Build the task that labels a structure, without the dispersion term."""
        call = label_task.of(labeller=self.name, labeller_settings=self.settings, atoms=atoms)
        return bench.task(title, call, engine=self.engine)


def seconds_of_label(section: ReferenceMethodSettings, n_atoms: float) -> float:
    """Return about how many CPU seconds one label takes, dispersion left out; that of VASP is not known."""
    if section.engine == "tblite":
        return _TIGHT_BINDING_LABEL_S * (n_atoms / 64.0) ** 2
    if section.engine != "gpaw":
        return 1.0
    size = (n_atoms / 30.0) ** 2 * (section.ecut_eV / 300.0) ** 1.5
    kpoints = max(1.0, (0.7 / section.kpoint_spacing_per_A) ** 3 / 4.0)
    factor = {"SCAN": 3.0, "r2SCAN": 3.0}.get(section.functional, 1.0)
    return float(_LABEL_S * size * kpoints * factor)


def load_labeller(labeller: str, labeller_settings: Mapping[str, Any], context: Context) -> Labeller:
    """Return the labeller of a task, loaded once per worker process and cached."""
    from superionic.execution.codec import canonical_json
    from superionic.labels.base import load_labeller as load

    token = "labeller:" + canonical_json([labeller, dict(labeller_settings)])
    if token not in context.cache:
        context.cache[token] = load(labeller, labeller_settings)
    loaded: Labeller = context.cache[token]
    return loaded


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=1)
def label_task(context: Context, *, labeller: str, labeller_settings: Mapping[str, Any], atoms: Atoms) -> Label:
    """Label one structure."""
    loaded = load_labeller(labeller, labeller_settings, context)
    return loaded.label(atoms, scratch=context.scratch, progress=context.progress)


@task(version=1)
def dispersion_task(_context: Context, *, label: Label, atoms: Atoms, dispersion: Mapping[str, Any]) -> Label:
    """Add a dispersion term to one label."""
    from superionic.labels.corrected import with_dispersion_term

    return with_dispersion_term(label, atoms, dispersion)

"""The methods of a campaign as a draft for a paper, with its sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from superionic.conventions import dispersion_in
from superionic.enumeration.counted import Method
from superionic.references.values import BOEHM_2025, DENG_2025
from superionic.registry import DELTA, models
from superionic.report.own_results import is_fine_tuned
from superionic.report.section import Paragraph, Section, Sources
from superionic.report.sections.conductivity import FORMS
from superionic.report.sections.rungs import going_on
from superionic.report.words import formula_text, listing, number, plural
from superionic.results.campaign import Results
from superionic.results.orderings import EnumeratedSpace

# citation, DOI
_SOURCES: Final[dict[str, tuple[str, str]]] = {
    **{name: model.citation for name, model in models().items() if model.citation is not None},
    "paper A": (DENG_2025.citation, DENG_2025.doi or ""),
    "paper B": (BOEHM_2025.citation, BOEHM_2025.doi or ""),
    "ase": ("A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)", "10.1088/1361-648X/aa680e"),
    "pymatgen": ("S. P. Ong et al., Comput. Mater. Sci. 68, 314–319 (2013)", "10.1016/j.commatsci.2012.10.028"),
    "spglib": (
        "A. Togo, K. Shinohara, I. Tanaka, Sci. Technol. Adv. Mater. Methods 4, 2384822 (2024)",
        "10.1080/27660400.2024.2384822",
    ),
    "ewald": ("P. P. Ewald, Ann. Phys. 369, 253–287 (1921)", "10.1002/andp.19213690304"),
    "gpaw": ("J. J. Mortensen et al., J. Chem. Phys. 160, 092503 (2024)", "10.1063/5.0182685"),
    "gfn1-xtb": (
        "S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989–2009 (2017)",
        "10.1021/acs.jctc.7b00118",
    ),
    "gfn2-xtb": (
        "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652–1671 (2019)",
        "10.1021/acs.jctc.8b01176",
    ),
    "D3(BJ": ("S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456–1465 (2011)", "10.1002/jcc.21759"),
    "pbe": ("J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996)", "10.1103/PhysRevLett.77.3865"),
    "nose-hoover-chain": (
        "G. J. Martyna, M. L. Klein, M. Tuckerman, J. Chem. Phys. 97, 2635 (1992)",
        "10.1063/1.463940",
    ),
    "csvr": ("G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007)", "10.1063/1.2408420"),
    "berendsen": ("H. J. C. Berendsen et al., J. Chem. Phys. 81, 3684 (1984)", "10.1063/1.448118"),
    "maxvol": (
        "E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171–180 (2017)",
        "10.1016/j.commatsci.2017.08.031",
    ),
    "he2018": ("X. He, Y. Zhu, A. Epstein, Y. Mo, npj Comput. Mater. 4, 18 (2018)", "10.1038/s41524-018-0074-y"),
}
_THERMOSTATS: Final = {
    "nose-hoover-chain": "a Nosé–Hoover chain",
    "csvr": "stochastic velocity rescaling",
    "langevin": "Langevin dynamics",
    "berendsen": "Berendsen's thermostat",
}


_CHOICES: Final[dict[Method, str]] = {
    "list": "All were compared by {charges}, and the lowest were retained.",
    "search": "Those lowest in {charges}, were sought by replica exchange from independent starts.",
    "sample": "A random sample was drawn, and the lowest in {charges}, were retained.",
    "monte-carlo": "Orderings were drawn at a temperature by Monte Carlo with swaps of ions and replica exchange.",
}


class _Text:
    """Numbers sources in the order in which paragraphs cite them."""

    def __init__(self) -> None:
        self._cited: list[str] = []

    def cite(self, *keys: str) -> str:
        """Return ``[1, 2]`` for the sources of these keys; keys without a source are skipped."""
        known = [key for key in keys if key in _SOURCES]
        self._cited += [key for key in dict.fromkeys(known) if key not in self._cited]
        return f" [{', '.join(str(self._cited.index(key) + 1) for key in known)}]" if known else ""

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """The cited sources, by number."""
        return tuple(_SOURCES[key] for key in self._cited)


def section(results: Results) -> Section:
    """Return the paragraphs on methods, and their sources."""
    out = _Text()
    head = (
        f"All calculations were done with superionic {results.superionic}, which follows the workflows of Deng et al. "
        f"and of Böhm and Champagne{out.cite('paper A', 'paper B')}, with the Atomic Simulation Environment, pymatgen "
        f"and spglib{out.cite('ase', 'pymatgen', 'spglib')}."
    )
    parts = (_orderings, _ranking, _hull, _labels, _training, _distillation, _volumes, _dynamics, _analysis)
    paragraphs = [head, *(part(results, out) for part in parts)]
    return Section(
        "methods", "Methods and sources", [*(Paragraph(words) for words in paragraphs if words), Sources(out.sources)]
    )


def _orderings(results: Results, out: _Text) -> str:
    if results.enumerate is None or not results.enumerate.spaces:
        return ""
    distinct = sum(space.counted.count.distinct for space in results.enumerate.spaces)
    return (
        "Partial occupancies were turned into charge-neutral integer compositions of a supercell, nearest to the "
        "refined occupancies. Orderings equivalent under the space group of the disordered parent were merged; their "
        f"number was counted exactly by Burnside's lemma ({plural(distinct, 'distinct ordering')} in all). "
        + _choice(results.enumerate.spaces, out)
    )


def _choice(spaces: Sequence[EnumeratedSpace], out: _Text) -> str:
    """Describe how orderings were chosen among those counted, each method once."""
    charges = (
        f"the electrostatic energy of point charges at formal oxidation states, by Ewald summation{out.cite('ewald')}"
    )
    methods = dict.fromkeys(space.method for space in spaces)
    return " ".join(_CHOICES[method].format(charges=charges) for method in methods)


def _ranking(results: Results, out: _Text) -> str:
    if not results.rank:
        return ""
    potential = results.rank[0].potential
    details = [f"model {potential.model}"] if potential.model else []
    details += [f"trained at {potential.level_of_theory}"] if potential.level_of_theory else []
    shown = f" ({', '.join(details)})" if details else ""
    who = out.cite(potential.name.lower())
    dispersion = _dispersion(potential.energy_convention, out)
    return (
        f"Energies, forces and stresses were computed with {potential.name}{shown}{who}; "
        "positions and cell were relaxed, and relaxed structures that coincide were merged. Energies are on the scale "
        f"“{potential.energy_convention}”; no other scale is mixed with it{dispersion}."
    )


def _dispersion(scale: str, out: _Text) -> str:
    """Say what stands for van der Waals forces on a scale of energy, where it has a term for them."""
    term = dispersion_in(scale) or ""
    if not term.startswith("D3(BJ"):
        return ""
    return f"; van der Waals forces are D3's, with Becke–Johnson damping{out.cite('D3(BJ')}"


def _hull(results: Results, out: _Text) -> str:
    del out
    if not results.hull:
        return ""
    members = listing([formula_text(member) for member in results.hull[-1].end_members])
    return (
        f"Energies above the convex hull refer to mixtures of {members} only, at 0 K and without entropy; "
        "decomposition into compounds outside this set was not considered."
    )


def _labels(results: Results, out: _Text) -> str:
    if not results.label:
        return ""
    reference = results.label[-1].reference
    code, functional = reference.code or "the reference method", reference.functional
    theory = f" with the {functional} functional" if functional else ""
    if functional.endswith("xTB"):
        theory = f" with the tight-binding method {functional} at the Γ point"
    version = f" {reference.version}" if reference.version else ""
    sources = out.cite(code.lower(), functional.lower(), *_parts(functional))
    return (
        f"Reference energies, forces and stresses were computed with {code}{version}{theory}"
        f"{sources}. A label was accepted only if it converged, is finite, has "
        "plausible forces and distances and stems from the same settings as all others." + _check_words(results)
    )


def _check_words(results: Results) -> str:
    """Say what the labels were for where nothing was trained on them."""
    if results.validate is None or results.validate.errors.before is not None:
        return ""
    name = results.validate.potential
    return f" Nothing was trained on the labels: the potential {name} was compared with them as it is."


def _parts(functional: str) -> tuple[str, ...]:
    """Keys of the sources of a functional with D3: its own, and that of the term."""
    below, named, _ = functional.partition("-D3(BJ")
    return (below.lower(), "D3(BJ") if named else ()


def _training(results: Results, out: _Text) -> str:
    del out
    train = results.trained
    if train is None:
        return ""
    how = "fine-tuned from its published weights" if is_fine_tuned(results) else "trained from random weights"
    if train.trainer == DELTA:
        how = "corrected by a function of distance for each pair of elements, fitted to labels less its predictions"
    return (
        f"The potential was {how} ({train.trainer}). One energy per element, fitted by "
        f"least squares, brought the labels to its energy scale. The labels were split by {train.split_by} "
        f"({train.n_train} for training, {train.n_validation} for validation, {train.n_test} for testing). The weights "
        f"of epoch {train.best_epoch}, with the lowest validation loss, were used."
        + ("" if results.rungs is None else f" Of the rungs of the ladder, {going_on(results.rungs)}")
    )


def _distillation(results: Results, out: _Text) -> str:
    if results.distil is None:
        return ""
    distil = results.distil
    explored = sum(each.labels for each in distil.rounds)
    loop = f", {explored} of them from hot runs of the students" if explored else ""
    compared = f"compared with {distil.teacher.name} on unseen frames and in runs of the same start, cell and length."
    if distil.on_policy is not None:
        compared = (
            f"compared with {distil.teacher.name} on {plural(distil.on_policy.labels, 'frame')} of their own runs in "
            "the cell of production, in energies, forces by element and pressure."
        )
        if distil.compared:
            compared = f"{compared[:-1]}, and in runs of the same start, cell and length."
    others = listing([each.name for each in results.teachers])
    further = (
        f" Students of {others} were made in the same way and ran the same dynamics; the scatter between teachers is "
        "part of the errors of σ and Eₐ."
        if others
        else ""
    )
    return (
        f"{plural(len(distil.members), 'neuroevolution potential')}{out.cite('nep')}, the students, learned energies, "
        f"forces and stresses of {distil.teacher.name} on {plural(distil.learned_from.total, 'structure')}{loop}. "
        f"Extrapolation was monitored by the D-optimality of the descriptors{out.cite('maxvol')}. The students were "
        f"{compared}{further}"
    )


def _volumes(results: Results, out: _Text) -> str:
    series = results.volumes
    if series is None:
        return ""
    temperatures = listing([f"{t:g}" for t in sorted({each.run.temperature_K for each in series.runs})])
    length = number(max(each.length_ps for each in series.runs))
    return (
        f"Cells at {temperatures} K are means over runs of {length} ps at {number(series.pressure_GPa)} GPa with a "
        f"Nosé–Hoover chain{out.cite('nose-hoover-chain')} as thermostat and a barostat of the same kind, without "
        "their first part, with errors from the autocorrelation; those at 0 K were relaxed by the same potential. "
        "Thermal expansion is the slope of a weighted line through the mean volumes."
    )


def _dynamics(results: Results, out: _Text) -> str:
    if results.transport is None or not results.transport.runs:
        return ""
    runs = results.transport.runs
    thermostats = dict.fromkeys(run.thermostat for run in runs if run.thermostat)
    named = listing([f"{_THERMOSTATS.get(name, name)}{out.cite(name)}" for name in thermostats])
    thermostat = f", with {named} as thermostat" if named else ""
    lengths = [run.length_ps for run in runs]
    span = number(min(lengths)) if min(lengths) == max(lengths) else f"{number(min(lengths))} to {number(max(lengths))}"
    temperatures = listing([f"{t:g}" for t in sorted({run.run.temperature_K for run in runs})])
    equilibrated = any(run.npt.time_ps for run in runs)
    npt = " The cell was first equilibrated at constant pressure, and its average used." if equilibrated else ""
    turns = len({run.run.member for run in runs if run.run.member is not None}) > 1
    by = " Replicas took turns with the students." if turns else ""
    return f"Molecular dynamics ran for {span} ps at {temperatures} K{thermostat}.{npt}{by}"


def _analysis(results: Results, out: _Text) -> str:
    if results.analyse is None:
        return ""
    dependences = [material.dependence for material in results.analyse.arrhenius]
    forms = dict.fromkeys(each.form for each in dependences if each.fit is not None)
    fits = f" Activation energies are from weighted fits of {listing([FORMS[f] for f in forms])}." if forms else ""
    few = any(each.line is not None and sum(each.line.used) < 3 for each in dependences)
    summed = any(each.sigma_line is not None and each.sigma_line is each.directions for each in dependences)
    fits += (
        " Where directions of a crystal differ in activation energy, components of the conductivity tensor were fitted "
        "jointly and extrapolated one by one, and σ is their mean."
        if summed
        else ""
    )
    caution = " With two temperatures a fit has no degree of freedom left for a test." if few else ""
    return (
        "Tracer diffusivities are slopes of mean squared displacements averaged over ions and time origins, after "
        "removal of the drift of the framework. Their errors come from the scatter between ions and between blocks of "
        "time, as they are limited by the number of independent hops, not the number of frames"
        f"{out.cite('he2018')}. Conductivities follow from the Nernst–Einstein relation σ = N q² D / (V k_B T), which "
        f"neglects correlations between ions.{fits}{caution}"
    )

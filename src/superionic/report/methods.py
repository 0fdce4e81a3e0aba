"""The methods of a campaign as a text to build on in a paper, with its sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from superionic.references.values import BOEHM_2025, DENG_2025
from superionic.report.values import Record, Results, mapping, numbers, real, records, text, whole
from superionic.report.words import formula_text, listing, number, plural

# citation, DOI
_SOURCES: Final[dict[str, tuple[str, str]]] = {
    "paper A": (DENG_2025.citation, DENG_2025.doi or ""),
    "paper B": (BOEHM_2025.citation, BOEHM_2025.doi or ""),
    "ase": ("A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)", "10.1088/1361-648X/aa680e"),
    "pymatgen": ("S. P. Ong et al., Comput. Mater. Sci. 68, 314–319 (2013)", "10.1016/j.commatsci.2012.10.028"),
    "spglib": (
        "A. Togo, K. Shinohara, I. Tanaka, Sci. Technol. Adv. Mater. Methods 4, 2384822 (2024)",
        "10.1080/27660400.2024.2384822",
    ),
    "ewald": ("P. P. Ewald, Ann. Phys. 369, 253–287 (1921)", "10.1002/andp.19213690304"),
    "chgnet": ("B. Deng et al., Nat. Mach. Intell. 5, 1031–1041 (2023)", "10.1038/s42256-023-00716-3"),
    "sevennet": ("Y. Park et al., J. Chem. Theory Comput. 20, 4857–4868 (2024)", "10.1021/acs.jctc.4c00190"),
    "gpaw": ("J. J. Mortensen et al., J. Chem. Phys. 160, 092503 (2024)", "10.1063/5.0182685"),
    "gfn1-xtb": (
        "S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989–2009 (2017)",
        "10.1021/acs.jctc.7b00118",
    ),
    "gfn2-xtb": (
        "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652–1671 (2019)",
        "10.1021/acs.jctc.8b01176",
    ),
    "pbe": ("J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996)", "10.1103/PhysRevLett.77.3865"),
    "nose-hoover-chain": (
        "G. J. Martyna, M. L. Klein, M. Tuckerman, J. Chem. Phys. 97, 2635 (1992)",
        "10.1063/1.463940",
    ),
    "csvr": ("G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007)", "10.1063/1.2408420"),
    "berendsen": ("H. J. C. Berendsen et al., J. Chem. Phys. 81, 3684 (1984)", "10.1063/1.448118"),
    "nep": ("Z. Fan et al., J. Chem. Phys. 157, 114801 (2022)", "10.1063/5.0106617"),
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


class _Text:
    """Paragraphs that number their sources as they come."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self._cited: list[str] = []

    def cite(self, *keys: str) -> str:
        """Return ``[1, 2]`` for the sources of these keys; keys without a source are left out."""
        known = [key for key in keys if key in _SOURCES]
        for key in known:
            if key not in self._cited:
                self._cited.append(key)
        return f" [{', '.join(str(self._cited.index(key) + 1) for key in known)}]" if known else ""

    def sources(self) -> list[tuple[str, str]]:
        """Return the cited sources in the order of their numbers."""
        return [_SOURCES[key] for key in self._cited]


def methods(results: Results) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the paragraphs of the methods, and the sources ``(citation, DOI)`` in the order of their numbers."""
    out = _Text()
    out.paragraphs.append(
        f"All calculations were done with superionic {results.version}, which follows the "
        "workflows of Deng et al. and of "
        f"Böhm and Champagne{out.cite('paper A', 'paper B')}, with the Atomic Simulation Environment, pymatgen and "
        f"spglib{out.cite('ase', 'pymatgen', 'spglib')}."
    )
    for part in (_orderings, _ranking, _hull, _labels, _training, _distillation, _dynamics, _analysis):
        words = part(results, out)
        if words:
            out.paragraphs.append(words)
    return out.paragraphs, out.sources()


def _orderings(results: Results, out: _Text) -> str:
    spaces = results.records("enumerate", "spaces")
    if not spaces:
        return ""
    distinct = sum(whole(space, "distinct") or 0 for space in spaces)
    return (
        "Partial occupancies were turned into charge-neutral integer compositions of a "
        "supercell, nearest to the refined "
        "occupancies. Orderings equivalent under the space group of the disordered parent were "
        "merged; their number was "
        f"counted exactly by Burnside's lemma ({plural(distinct, 'distinct ordering')} in all). " + _choice(spaces, out)
    )


def _choice(spaces: Sequence[Record], out: _Text) -> str:
    """Say how orderings were chosen among those counted, each way once."""
    charges = (
        f"the electrostatic energy of point charges at formal oxidation states, by Ewald summation{out.cite('ewald')}"
    )
    sentences = {
        "list": f"All were compared by {charges}, and the lowest went on.",
        "search": f"Those lowest in {charges}, were searched by replica exchange from independent starts.",
        "sample": f"A random sample was drawn, and the lowest in {charges}, went on.",
        "monte-carlo": "Orderings were drawn at a temperature by Monte Carlo with swaps of ions and replica exchange.",
    }
    ways = list(dict.fromkeys(text(space, "method") for space in spaces))
    found = [sentences[way] for way in ways if way in sentences]
    return " ".join(found or [f"Orderings were compared by {charges}."])


def _ranking(results: Results, out: _Text) -> str:
    if not results.has("rank"):
        return ""
    potential = mapping(results.stage("rank"), "potential")
    name = text(potential, "name") or "the potential"
    model = text(potential, "model")
    level = text(potential, "level_of_theory")
    scale = text(potential, "energy_convention")
    details = [part for part in (model and f"model {model}", level and f"trained at {level}") if part]
    shown = f" ({', '.join(details)})" if details else ""
    energies = f" Energies are on the scale “{scale}”; no other scale is mixed with it." if scale else ""
    return (
        f"Energies, forces and stresses were computed with {name}{shown}{out.cite(name.lower().replace('-0', ''))}; "
        "positions and cell were relaxed, and relaxed structures that coincide were merged." + energies
    )


def _hull(results: Results, out: _Text) -> str:
    del out
    members = [formula_text(str(member)) for member in results.stage("hull").get("end_members") or []]
    if not members:
        return ""
    return (
        f"Energies above the convex hull refer to mixtures of {listing(members)} only, at 0 K and without entropy; "
        "decomposition into compounds outside this set was not considered."
    )


def _labels(results: Results, out: _Text) -> str:
    labeller = mapping(results.stage("label"), "labeller")
    if not labeller:
        return ""
    code = text(labeller, "code") or "the reference method"
    functional = text(labeller, "functional")
    theory = f" with the {functional} functional" if functional else ""
    if functional.endswith("xTB"):
        theory = f" with the tight-binding method {functional} at the Γ point"
    keys = [key for key in (code.lower(), functional.lower()) if key]
    version = f" {text(labeller, 'version')}" if text(labeller, "version") else ""
    return (
        "Reference energies, forces and stresses were computed with "
        f"{code}{version}{theory}{out.cite(*keys)}. A label was "
        "accepted only if it converged, is finite, has plausible forces and distances and stems "
        "from the same settings as all others."
    )


def _training(results: Results, out: _Text) -> str:
    del out
    stage = results.stage("train")
    if not stage:
        return ""
    counts = [
        f"{count} for {name}"
        for key, name in (("n_train", "training"), ("n_validation", "validation"), ("n_test", "test"))
        if (count := whole(stage, key)) is not None
    ]
    split = f" The labels were split by trajectory ({listing(counts)})." if counts else ""
    trainer = text(stage, "trainer") or "the potential"
    best = whole(stage, "best_epoch")
    kept = f" The weights of epoch {best}, with the lowest validation loss, were kept." if best is not None else ""
    return (
        f"The potential was fine-tuned from its published weights ({trainer}). One energy per element, fitted by least "
        f"squares, brought the labels to its energy scale.{split}{kept}"
    )


def _distillation(results: Results, out: _Text) -> str:
    stage = results.stage("distil")
    members = len(records(stage, "members"))
    if not members:
        return ""
    teacher = text(mapping(stage, "teacher"), "called") or "the potential"
    explored = sum(whole(item, "labels") or 0 for item in records(stage, "rounds"))
    loop = f", {explored} of them from hot runs of the students" if explored else ""
    total = whole(mapping(stage, "data"), "total") or 0
    return (
        f"{plural(members, 'neuroevolution potential')}{out.cite('nep')}, the students, learned energies, forces and "
        f"stresses of {teacher} on {plural(total, 'structure')}{loop}. Extrapolation was watched by the D-optimality "
        f"of the descriptors{out.cite('maxvol')}. The students were compared with {teacher} on unseen frames and in "
        "runs of the same start, cell and length."
    )


def _dynamics(results: Results, out: _Text) -> str:
    runs = results.records("transport", "runs")
    if not runs:
        return ""
    thermostats = list(dict.fromkeys(text(run, "thermostat") for run in runs if text(run, "thermostat")))
    named = [f"{_THERMOSTATS.get(name, name)}{out.cite(name)}" for name in thermostats]
    lengths = [length for run in runs if (length := real(run, "length_ps")) is not None]
    temperatures = sorted({t for run in runs if (t := real(run, "temperature_K")) is not None})
    span = (
        f"{number(min(lengths))} to {number(max(lengths))} ps"
        if lengths and min(lengths) < max(lengths)
        else number(lengths[0]) + " ps"
        if lengths
        else "unknown length"
    )
    members = sorted({member for run in runs if (member := whole(run, "member")) is not None})
    by = " Replicas took turns with the students." if len(members) > 1 else ""
    npt = (
        " The cell was first equilibrated at constant pressure and its average kept."
        if any(run.get("npt") for run in runs)
        else ""
    )
    return (
        f"Molecular dynamics ran for {span} at {listing([f'{t:g}' for t in temperatures])} K"
        + (f", with {listing(named)} as thermostat" if named else "")
        + f".{npt}{by}"
    )


def _analysis(results: Results, out: _Text) -> str:
    if not results.has("analyse"):
        return ""
    forms = {text(fit, "form") for fit in results.records("analyse", "arrhenius")}
    form = {frozenset({"lnD"}): "ln D against 1/T", frozenset({"lnSigmaT"}): "ln(σT) against 1/T"}.get(
        frozenset(forms), ""
    )
    arrhenius = f" Activation energies are from weighted fits of {form}." if form else ""
    few = any(len(numbers(fit, "temperatures_K")) < 3 for fit in results.records("analyse", "arrhenius"))
    caution = " With two temperatures a fit has no degree of freedom left to test it." if few else ""
    return (
        "Tracer diffusivities are slopes of mean squared displacements averaged over ions and "
        "time origins, after removal of "
        "the drift of the framework. Their errors come from the scatter between ions and between "
        "blocks of time, as the "
        f"number of independent hops, not the number of frames, limits them{out.cite('he2018')}. "
        "Conductivities follow from the "
        "Nernst–Einstein relation σ = N q² D / (V k_B T), which neglects correlations between ions."
        + arrhenius
        + caution
    )

"""The first half of a trial: whether and how a crystal conducts, by hot runs of a fast potential in the refined cell.

What it asks is whether ions move through the crystal at all. It gives no conductivity at room temperature: over 15
crystals, that extrapolated from such runs was off by 2.6 decades on average, while all six crystals in which nothing
moved are measured as insulators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from superionic.campaign.initialise import (
    CrystalGuess,
    block_line,
    entry_text,
    enumerate_lines,
    plain_name,
    relative_file,
)
from superionic.errors import StageError
from superionic.shown import Shown
from superionic.transport.estimate import Estimate

if TYPE_CHECKING:
    from superionic.campaign.results import CampaignResults
    from superionic.transport.sites.percolation import Cluster

Verdict = Literal["conducts", "hops without diffusing", "does not move", "loses its framework", "cannot be told"]

_UNKNOWN: Final[Verdict] = "cannot be told"

TEMPERATURES_K: Final = (700.0, 850.0, 1000.0)
"""Hot enough for hops in 20 ps, and cold enough that most frameworks hold."""

ATOMS: Final = 120
"""Atoms of the cell of a run, unless an ordering has more."""

_PRODUCTION_PS: Final = 20.0
_LEAST_PRODUCTION_PS: Final = 8.0
_LEAST_HEIGHT_A: Final = 7.0
_MOST_REPEATS: Final = 4
_MOVES: Final = 0.05  # hops an ion: fewer are chance


@dataclass(frozen=True)
class TrialTemperature:
    """What one hot run shows.

    Attributes
    ----------
    diffusivity_cm2_per_s
        D*; a bound where ions diffuse by no more than chance.
    hops_per_ion
        Hops of a mobile ion in the run, those to and fro included.
    framework_holds
        Whether the framework keeps its sites.
    framework_flags
        What moves in the framework, in sentences.
    dimension, axes
        Along how many directions, and along which axes, jumps between sites go on without end; None where sites could
        not be told.
    """

    temperature_K: float
    length_ps: float
    diffusivity_cm2_per_s: Estimate
    hops_per_ion: float
    framework_holds: bool
    framework_flags: tuple[str, ...]
    dimension: int | None
    axes: tuple[str, ...] | None


@dataclass(frozen=True, repr=False)
class FirstLook(Shown):
    """Whether and how a crystal conducts at high temperatures, by a fast potential in the refined cell.

    Attributes
    ----------
    formula, mobile_ion, n_atoms
        Of the ordering that was run, in its simulation cell.
    potential
        Name of the potential.
    verdict, reason
        In a word, and why.
    temperatures
        The runs, by rising temperature.
    cautions
        What the reader should know besides.
    campaign
        The campaign file, from which the work can be continued.
    """

    formula: str
    mobile_ion: str
    n_atoms: int
    potential: str
    verdict: Verdict
    reason: str
    temperatures: tuple[TrialTemperature, ...]
    cautions: tuple[str, ...]
    campaign: str

    @property
    def words(self) -> str:
        """The formula and the verdict as a clause."""
        if self.verdict == _UNKNOWN:
            return f"whether {self.formula} conducts cannot be told"
        return f"{self.formula} {self.verdict}"


def first_look_text(path: Path, guess: CrystalGuess, folder: str | Path, potential: Mapping[str, Any]) -> str:
    """Write the campaign file of a first look."""
    cells = repeats(guess, ATOMS)
    n_atoms = guess.n_atoms * int(np.prod(cells))
    production = max(_LEAST_PRODUCTION_PS, min(_PRODUCTION_PS, round(_PRODUCTION_PS * ATOMS / n_atoms)))
    return _TEXT.format(
        crystal=crystal_text(path, guess, folder, plain_name(f"try-{path.stem}-{potential_name(potential)}")),
        potential=potential_text(potential, folder),
        search=search_text(guess),
        repeats="x".join(map(str, cells)),
        n_atoms=n_atoms,
        temperatures=", ".join(f"{temperature:g}" for temperature in TEMPERATURES_K),
        production=f"{production:g}",
    )


def crystal_text(path: Path, guess: CrystalGuess, folder: str | Path, name: str) -> str:
    """Write the beginning of a campaign file: its name, the crystal, and what is assumed about it."""
    return _CRYSTAL.format(
        name=name,
        crystal=plain_name(path.stem),
        file=relative_file(path, folder),
        block=block_line(guess.options.block),
        ion=guess.mobile_ion,
        charges=", ".join(f"{element}: {charge:g}" for element, charge in guess.charges.items()),
        charge_note=guess.states.note,
        supercell=guess.supercell,
        supercell_note=guess.supercell_note,
    )


def potential_name(entry: Mapping[str, Any]) -> str:
    """Return the name that a trial gives to an entry of ``potentials``."""
    return plain_name(Path(entry["file"]).stem if "file" in entry else str(entry.get("model", entry["engine"])))


def potential_text(entry: Mapping[str, Any], folder: str | Path) -> str:
    """Write an entry of ``potentials`` under its name."""
    return f"{potential_name(entry)}: {entry_text(entry, folder)}"


def search_text(guess: CrystalGuess, keep: int = 5) -> str:
    """Write how both halves of a trial choose their orderings: of those drawn, how many are kept."""
    return _SEARCH.format(keep=keep) + enumerate_lines(guess.options)


def judge_look(
    outcome: CampaignResults | StageError, guess: CrystalGuess, potential: Mapping[str, Any], campaign: str
) -> FirstLook:
    """Judge the hot runs of a campaign.

    Parameters
    ----------
    outcome
        Results of a campaign with the stages *transport* and *analyse* on one material, or why a stage had nothing to
        go on with.
    guess, potential
        The crystal as it was assumed, and the entry of the potential.
    """
    temperatures: tuple[TrialTemperature, ...] = ()
    if isinstance(outcome, StageError):
        verdict, reason = _UNKNOWN, outcome.message
    else:
        temperatures = runs_by_temperature(outcome)
        verdict, reason = verdict_of(temperatures)
    transport = None if isinstance(outcome, StageError) else outcome.transport
    runs, failures = ((), ()) if transport is None else (transport.runs, transport.failures)
    return FirstLook(
        formula=guess.composition.formula if not runs else runs[0].formula,
        mobile_ion=guess.mobile_ion,
        n_atoms=guess.n_atoms * int(np.prod(repeats(guess, ATOMS))),
        potential=potential_name(potential),
        verdict=verdict,
        reason=reason,
        temperatures=temperatures,
        cautions=(
            *guess.cautions,
            *(f"{failure.label}: {failure.reason}" for failure in failures),
            *melting_cautions(temperatures),
            *framework_cautions(temperatures),
        ),
        campaign=campaign,
    )


def runs_by_temperature(results: CampaignResults) -> tuple[TrialTemperature, ...]:
    """Return what each run of a campaign shows, by rising temperature."""
    if results.analyse is None:
        return ()
    at = {record.run: record.migration for record in results.analyse.migration}
    temperatures = []
    for each in sorted(results.analyse.runs, key=lambda each: each.run.temperature_K):
        analysis, migration = each.analysis, at.get(each.run)
        framework = analysis.framework
        clusters = () if migration is None else migration.clusters
        temperatures.append(
            TrialTemperature(
                temperature_K=each.run.temperature_K,
                length_ps=analysis.duration_ps,
                diffusivity_cm2_per_s=analysis.tracer_diffusivity_cm2_per_s,
                hops_per_ion=analysis.n_hops / analysis.n_ions,
                framework_holds=framework is None or framework.melts_from_ps is None,
                framework_flags=() if framework is None else framework.flags(),
                dimension=None if migration is None else max((cluster.dimension for cluster in clusters), default=0),
                axes=None if migration is None else _axes(clusters),
            )
        )
    return tuple(temperatures)


def _axes(clusters: Sequence[Cluster]) -> tuple[str, ...]:
    return tuple(sorted({axis for cluster in clusters for axis in cluster.axes}))


def verdict_of(temperatures: Sequence[TrialTemperature]) -> tuple[Verdict, str]:
    """Judge by the runs whose framework holds: what a melt does says nothing about the crystal."""
    if not temperatures:
        return _UNKNOWN, "no run came to its end"
    crystalline = [each for each in temperatures if each.framework_holds]
    if not crystalline:
        return "loses its framework", (
            f"the framework leaves its sites at {temperatures[0].temperature_K:g} K already, by this potential"
        )
    diffusing = [each for each in crystalline if not each.diffusivity_cm2_per_s.is_upper_bound]
    if diffusing:
        first = diffusing[0]
        return "conducts", (
            f"ions diffuse at {first.temperature_K:g} K: D* = {first.diffusivity_cm2_per_s.value:.1e} cm²/s, "
            f"{first.hops_per_ion:.1f} hops an ion in {first.length_ps:g} ps"
        )
    hottest = crystalline[-1]
    bound = hottest.diffusivity_cm2_per_s.interval95[1]
    if all(each.hops_per_ion < _MOVES for each in crystalline):
        return "does not move", (
            f"no hops up to {hottest.temperature_K:g} K in {hottest.length_ps:g} ps: D* below {bound:.1e} cm²/s (95 %)"
        )
    return "hops without diffusing", (
        f"hops up to {hottest.temperature_K:g} K, {hottest.hops_per_ion:.2f} an ion in {hottest.length_ps:g} ps, "
        f"but no diffusion that chance rules out: D* below {bound:.1e} cm²/s (95 %)"
    )


def framework_cautions(temperatures: Sequence[TrialTemperature]) -> Iterator[str]:
    """Say of runs whose framework holds what moves in it all the same."""
    for each in temperatures:
        if each.framework_holds:
            yield from (f"{each.temperature_K:g} K: {flag}" for flag in each.framework_flags)


def melting_cautions(temperatures: Sequence[TrialTemperature]) -> Iterator[str]:
    """Say in which runs the framework does not hold."""
    melting = [each.temperature_K for each in temperatures if not each.framework_holds]
    if melting:
        listed = ", ".join(f"{temperature:g}" for temperature in melting)
        yield f"the framework leaves its sites at {listed} K; these runs do not count"


def repeats(guess: CrystalGuess, most_atoms: int) -> tuple[int, int, int]:
    """Choose how often the cell is repeated: the thickest within a number of atoms, and no thicker than need be."""
    from superionic.structures.crystal.supercells import Supercell

    cell_A = np.array(Supercell.parse(guess.supercell).matrix) @ np.asarray(guess.crystal.cell_A)
    normals = np.linalg.inv(cell_A).T
    heights = 1.0 / np.linalg.norm(normals, axis=1)
    choices = [
        choice
        for choice in product(range(1, _MOST_REPEATS + 1), repeat=3)
        if guess.n_atoms * np.prod(choice) <= most_atoms or choice == (1, 1, 1)
    ]

    def thickness(choice: tuple[int, ...]) -> tuple[float, float]:
        thinnest = float(np.min(heights * np.array(choice)))
        return min(thinnest, 2 * _LEAST_HEIGHT_A), -float(np.prod(choice))

    a, b, c = max(choices, key=thickness)
    return a, b, c


_CRYSTAL: Final = """\
superionic: 1
name: {name}
seed: 1
mobile_ion: {ion}
oxidation_states: {{{charges}}}    # {charge_note}
crystals:
  - name: {crystal}
    file: {file}
{block}    supercell: {supercell}             # {supercell_note}
"""

_SEARCH: Final = """\
enumerate:                        # the lowest of some drawn at random: bounded in time for any crystal
  method: sample
  sample_draws: 200
  ewald_keep: {keep}
"""

_TEXT: Final = """\
# A first look by superionic: does this crystal conduct at high temperatures, and how? Not how well at room temperature.
{crystal}
potentials:
  {potential}

{search}
rank:                             # in the refined cell: a fast potential has errors of pressure
  relax_cell: false
  relax_top: 1
  warm_start: 0
  fmax_eV_per_A: 0.05
  max_steps: 200

transport:
  supercell: {repeats}              # {n_atoms} atoms
  temperatures_K: [{temperatures}]
  timestep_fs: 2
  heating_ps: 1
  nvt_before_npt_ps: 0
  npt_ps: 0
  nvt_equilibration_ps: 2
  production_ps: {production}
  save_every_fs: 20
  segment_ps: 10

analyse:
  report_temperatures_K: [{temperatures}]
  density_grid_A: null
"""

"""A first look at a crystal: whether and how it conducts, before anybody writes a campaign for it.

It is a campaign like any other, small and with every choice made: the orderings of lowest electrostatic energy among
some drawn at random, in the refined cell, relaxed and run hot by one fast potential. What it asks is whether ions move
through the crystal at all. It gives no conductivity at room temperature: over 15 crystals, that extrapolated from such
runs was off by 2.6 decades on average, while all six crystals in which nothing moved are measured as insulators.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from superionic.campaign.initialise import (
    CrystalGuess,
    CrystalOptions,
    block_line,
    guess_settings,
    plain_name,
    relative_file,
)
from superionic.errors import CampaignFileError, PotentialError, storage_error
from superionic.registry import find, models
from superionic.shown import Shown
from superionic.transport.estimate import Estimate

if TYPE_CHECKING:
    from superionic.campaign.plan import Plan
    from superionic.campaign.results import CampaignResults
    from superionic.campaign.run import Campaign
    from superionic.execution.reporting import Reporter
    from superionic.transport.sites.percolation import Cluster

Verdict = Literal["conducts", "hops without diffusing", "does not move", "loses its framework", "cannot be told"]

TEMPERATURES_K: Final = (700.0, 850.0, 1000.0)
"""Hot enough for hops in 20 ps, and cold enough that most frameworks hold."""

FIRST_LOOK: Final = "first-look.yaml"

_ATOMS: Final = 120
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
    dimension, axes
        Along how many directions, and along which axes, jumps between sites go on without end; None where sites could
        not be told.
    """

    temperature_K: float
    length_ps: float
    diffusivity_cm2_per_s: Estimate
    hops_per_ion: float
    framework_holds: bool
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


class Trial:
    """The first look at one crystal: its campaign file, its plan, and its outcome.

    Parameters
    ----------
    crystal
        CIF, POSCAR, extended XYZ or pymatgen JSON file.
    folder
        Where the campaign file and its runs go; ``try-NAME`` in the working folder if None. A file that is there is
        taken as it stands if it is the one that would be written, so that a run that was stopped goes on.
    potential
        Entry of a campaign's ``potentials`` that runs it.
    options
        What is known about the crystal.

    Raises
    ------
    SuperionicError
        If the crystal cannot be read, or no composition of whole atoms without charge is near it.
    """

    def __init__(
        self,
        crystal: str | Path,
        *,
        folder: str | Path | None = None,
        potential: Mapping[str, Any] | None = None,
        options: CrystalOptions = CrystalOptions(),  # noqa: B008 - frozen
    ) -> None:
        path, block = Path(crystal), options.block
        self.guess = guess_settings(path, options)
        self.folder = Path(folder) if folder is not None else Path(f"try-{plain_name(path.stem).strip(chr(34))}")
        self.text = first_look_text(path, self.guess, self.folder, potential or FAST, block)
        self._crystal, self._block, self._potential = path, block, potential or FAST

    @property
    def file(self) -> Path:
        """The campaign file."""
        return self.folder / FIRST_LOOK

    def campaign(self) -> Campaign:
        """Write the campaign file, if it is not there, and open it.

        Raises
        ------
        CampaignFileError
            If another campaign file stands there.
        """
        from superionic.campaign.run import Campaign

        try:
            if self.file.exists() and self.file.read_text(encoding="utf-8") != self.text:
                raise CampaignFileError(
                    "the file is of another trial, or was changed",
                    where=str(self.file),
                    fix=f"run it as it is with `superionic run {self.file}`, or name another --folder",
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file.write_text(self.text, encoding="utf-8")
        except OSError as error:
            raise storage_error(error, where=self.file, doing="write the campaign file of the trial") from error
        return Campaign.load(self.file)

    def plan(self) -> Plan:
        """Say what would be run and what it costs on this machine as it is now. Nothing is run.

        Where the potential runs in this Python, a few steps in the crystal are timed; else costs are those on record.
        """
        from superionic.campaign.trial_cost import unit_costs, with_measured
        from superionic.enumeration.request import enumerate_orderings

        campaign = self.campaign()
        plan = campaign.check()
        plan = replace(plan, lines=tuple(line for line in plan.lines if line.stage != "report"))
        is_here = all(kind == "current" for kind in plan.engines.values())
        if not is_here or all(line.basis == "measured" for line in plan.lines):
            return plan
        drawn = enumerate_orderings(
            self._crystal,
            block=self._block,
            supercell=self.guess.supercell,
            oxidation_states=self.guess.charges,
            sample_draws=1,
        )
        costs = unit_costs(self._potential, drawn.atoms()[0].repeat(_repeats(self.guess)), campaign.file)
        return plan if costs is None else with_measured(plan, costs, campaign.file)

    def run(self, *, reporter: Reporter | None = None, workers: int | None = None) -> FirstLook:
        """Run what is not done yet, and judge it."""
        campaign = self.campaign()
        results = campaign.run(reporter=reporter, workers=workers, write_report=False)
        return first_look(results, str(self.file))


FAST: Final[Mapping[str, Any]] = {"engine": "nep", "model": "nep89"}
"""NEP89: 89 elements at the speed of a student."""


def named_potential(name: str) -> Mapping[str, Any]:
    """Return the entry of a campaign's ``potentials`` for ``nep89`` or for an engine with its usual model.

    Raises
    ------
    PotentialError
        If there is no such engine.
    """
    if name == FAST["model"]:
        return FAST
    if find(name) is None:
        known = ", ".join((FAST["model"], *models()))
        raise PotentialError(
            f"There is no potential {name[:40]!r}.", where="--potential", fix=f"Choose one of {known}."
        )
    return {"engine": name}


def try_crystal(
    crystal: str | Path,
    *,
    folder: str | Path | None = None,
    potential: Mapping[str, Any] | None = None,
    mobile_ion: str | None = None,
    oxidation_states: Mapping[str, float] | None = None,
    block: str | None = None,
    workers: int | None = None,
) -> FirstLook:
    """Look whether and how a crystal conducts: hot runs of about a minute by a fast potential in the refined cell.

    Parameters are those of :class:`Trial` and :class:`superionic.campaign.initialise.CrystalOptions`; `workers` are
    processes, one per core if None.

    Examples
    --------
    >>> import superionic as si
    >>> look = si.try_crystal("li3ycl6.cif")  # doctest: +SKIP
    >>> look.verdict  # doctest: +SKIP
    'conducts'
    """
    options = CrystalOptions(mobile_ion, oxidation_states, block)
    return Trial(crystal, folder=folder, potential=potential, options=options).run(workers=workers)


def first_look_text(
    path: Path, guess: CrystalGuess, folder: str | Path, potential: Mapping[str, Any], block: str | None = None
) -> str:
    """Write the campaign file of a first look."""
    repeats = _repeats(guess)
    n_atoms = guess.n_atoms * int(np.prod(repeats))
    production = max(_LEAST_PRODUCTION_PS, min(_PRODUCTION_PS, round(_PRODUCTION_PS * _ATOMS / n_atoms)))
    return _TEXT.format(
        name=plain_name(f"try-{path.stem}"),
        crystal=plain_name(path.stem),
        file=relative_file(path, folder),
        block=block_line(block),
        ion=guess.mobile_ion,
        charges=", ".join(f"{element}: {charge:g}" for element, charge in guess.charges.items()),
        charge_note=guess.charge_note,
        supercell=guess.supercell,
        supercell_note=guess.supercell_note,
        potential_name=plain_name(str(potential.get("model", potential["engine"]))),
        potential=", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in potential.items()),
        repeats="x".join(map(str, repeats)),
        n_atoms=n_atoms,
        temperatures=", ".join(f"{temperature:g}" for temperature in TEMPERATURES_K),
        production=f"{production:g}",
    )


def first_look(results: CampaignResults, campaign: str) -> FirstLook:
    """Judge the hot runs of a campaign.

    Parameters
    ----------
    results
        Of a campaign with the stages *transport* and *analyse* on one material.
    """
    runs, migrations = (results.analyse.runs, results.analyse.migration) if results.analyse is not None else ((), ())
    at = {record.run: record.migration for record in migrations}
    simulated = {each.run: each for each in results.transport.runs} if results.transport is not None else {}
    temperatures = []
    for each in sorted(runs, key=lambda each: each.run.temperature_K):
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
                dimension=None if migration is None else max((cluster.dimension for cluster in clusters), default=0),
                axes=None
                if migration is None
                else tuple(sorted({axis for cluster in clusters for axis in cluster.axes})),
            )
        )
    verdict, reason = _verdict(temperatures)
    first = next(iter(simulated.values()), None)
    failures = results.transport.failures if results.transport is not None else ()
    return FirstLook(
        formula="" if first is None else first.formula,
        mobile_ion="" if results.analyse is None else results.analyse.mobile_ion,
        n_atoms=0 if first is None else first.n_atoms,
        potential="" if results.transport is None else results.transport.potential,
        verdict=verdict,
        reason=reason,
        temperatures=tuple(temperatures),
        cautions=(*(f"{failure.label}: {failure.reason}" for failure in failures), *_cautions(temperatures)),
        campaign=campaign,
    )


def _axes(clusters: Sequence[Cluster]) -> tuple[str, ...]:
    return tuple(sorted({axis for cluster in clusters for axis in cluster.axes}))


def _verdict(temperatures: Sequence[TrialTemperature]) -> tuple[Verdict, str]:
    """Judge by the runs whose framework holds: what a melt does says nothing about the crystal."""
    if not temperatures:
        return "cannot be told", "no run came to its end"
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


def _cautions(temperatures: Sequence[TrialTemperature]) -> Iterator[str]:
    melting = [each.temperature_K for each in temperatures if not each.framework_holds]
    if melting:
        yield f"the framework leaves its sites from {melting[0]:g} K on; hops there do not count"


def _repeats(guess: CrystalGuess) -> tuple[int, int, int]:
    """Choose how often the cell is repeated: the thickest of 120 atoms at most, and no thicker than need be."""
    from superionic.structures.crystal.supercells import Supercell

    cell_A = np.array(Supercell.parse(guess.supercell).matrix) @ np.asarray(guess.crystal.cell_A)
    normals = np.linalg.inv(cell_A).T
    heights = 1.0 / np.linalg.norm(normals, axis=1)
    choices = [
        repeats
        for repeats in product(range(1, _MOST_REPEATS + 1), repeat=3)
        if guess.n_atoms * np.prod(repeats) <= _ATOMS or repeats == (1, 1, 1)
    ]

    def thickness(repeats: tuple[int, ...]) -> tuple[float, float]:
        thinnest = float(np.min(heights * np.array(repeats)))
        return min(thinnest, 2 * _LEAST_HEIGHT_A), -float(np.prod(repeats))

    a, b, c = max(choices, key=thickness)
    return a, b, c


_TEXT: Final = """\
# A first look by superionic: does this crystal conduct at high temperatures, and how? Not how well at room temperature.
superionic: 1
name: {name}
seed: 1
mobile_ion: {ion}
oxidation_states: {{{charges}}}    # {charge_note}
crystals:
  - name: {crystal}
    file: {file}
{block}    supercell: {supercell}             # {supercell_note}

potentials:
  {potential_name}: {{{potential}}}

enumerate:                        # the lowest of some drawn at random: bounded in time for any crystal
  method: sample
  sample_draws: 200
  ewald_keep: 5

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

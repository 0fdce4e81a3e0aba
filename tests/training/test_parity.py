from __future__ import annotations

import math

import numpy as np
import pytest
from ase.build import bulk

from superionic.training.dataset import Targets
from superionic.training.pair_distances import distance_overlap, pair_distances
from superionic.training.parity import (
    Criterion,
    DiffusivityPair,
    MeanVolume,
    Verdict,
    diffusivity_criteria,
    error_criteria,
    mean_volume,
    stability_criterion,
    structure_criterion,
    transfer_error,
    volume_criterion,
)
from superionic.transport.estimate import Estimate, count_like_estimate
from superionic.units import BOLTZMANN_EV_PER_K


def targets(error: float, n: int = 50, n_atoms: int = 8) -> Targets:
    rng = np.random.default_rng(1)
    true = [rng.standard_normal((n_atoms, 3)) for _ in range(n)]
    energies, stresses = rng.standard_normal(n), 0.01 * rng.standard_normal((n, 6))
    noise = np.random.default_rng(2)
    return Targets(
        energies + n_atoms * error * noise.standard_normal(n),
        tuple(f + error * noise.standard_normal(f.shape) for f in true),
        stresses + 0.01 * error * noise.standard_normal((n, 6)),
    )


LIMITS = {"max_energy_rmse_meV_per_atom": 5.0, "max_force_error_ratio": 0.1, "max_stress_rmse_GPa": 0.3}


def test_errors_are_judged_on_the_worst_member_against_the_rms_force():
    good, metrics = error_criteria([targets(0.003), targets(0.004)], targets(0.0), **LIMITS)
    assert [criterion.passed for criterion in good] == [True, True, True]
    assert good[0].value == max(metric.rmse_energy_meV_per_atom for metric in metrics)
    # RMS force is one eV/Å here, so that the ratio is the error in eV/Å.
    assert good[1].value == pytest.approx(0.004, rel=0.1)
    bad, _ = error_criteria([targets(0.003), targets(0.2)], targets(0.0), **LIMITS)
    assert [criterion.passed for criterion in bad] == [False, False, False]
    assert "the limit is 10 %" in bad[1].words


def test_a_verdict_passes_if_something_was_tested_and_nothing_failed():
    yes, no, unknown = Criterion("a", True, ""), Criterion("b", False, ""), Criterion("c", None, "")
    assert Verdict((yes, unknown)).passed
    assert not Verdict((yes, no)).passed
    assert not Verdict((unknown,)).passed
    assert [c.name for c in Verdict((yes, no)).failed] == ["b"]


def crystal_run(amplitude: float, seed: int, n_frames: int = 60):
    atoms = bulk("LiCl", "rocksalt", a=5.13).repeat(3)
    rng = np.random.default_rng(seed)
    positions = atoms.positions + amplitude * rng.standard_normal((n_frames, len(atoms), 3))
    return pair_distances(positions, atoms.cell.array, atoms.numbers, r_max_A=6.0)


def test_radial_distributions_integrate_to_the_neighbours_of_rocksalt():
    atoms = bulk("LiCl", "rocksalt", a=5.13).repeat(3)
    distances = {one.pair: one for one in crystal_run(0.05, 1)}
    assert list(distances) == ["Li-Li", "Li-Cl", "Cl-Cl"]
    one = distances["Li-Cl"]
    shells = 4.0 / 3.0 * np.pi * np.diff(one.edges_A**3)
    density = 27 / atoms.get_volume()
    first = one.centres_A < 3.2
    assert float((one.g * shells)[first].sum() * density) == pytest.approx(6.0, rel=1e-6)


def test_equal_runs_overlap_but_for_noise_and_different_ones_do_not():
    same = [distance_overlap(a, b) for a, b in zip(crystal_run(0.1, 1), crystal_run(0.1, 2), strict=True)]
    for overlap in same:
        assert 1.0 - overlap.overlap < 3.0 * overlap.noise + 1e-3
        assert overlap.overlap > 0.95
    other = [distance_overlap(a, b) for a, b in zip(crystal_run(0.1, 1), crystal_run(0.2, 2), strict=True)]
    assert all(1.0 - overlap.overlap > 4.0 * overlap.noise for overlap in other)
    assert structure_criterion({"run": same}, min_overlap=0.95).passed is True
    assert structure_criterion({"run": same, "worse": other}, min_overlap=0.95).passed is False
    assert structure_criterion({}, min_overlap=0.95).passed is None


def test_mean_volume_is_right_as_often_as_its_error_says():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        cells = np.eye(3) * (1000.0 + 10.0 * rng.standard_normal(100))[:, None, None] ** (1 / 3)
        volume = mean_volume(cells, 50)
        hits += abs(volume.A3_per_atom - 20.0) < volume.error
    assert 0.6 < hits / 400 < 0.78


def test_the_error_of_a_volume_knows_that_neighbours_in_time_are_alike():
    rng = np.random.default_rng(4)
    hits, naive = 0, 0
    for _ in range(300):
        # A first-order autoregression with a correlation time of a tenth of the run.
        noise = np.zeros(200)
        for k in range(1, 200):
            noise[k] = math.exp(-1 / 20) * noise[k - 1] + math.sqrt(1 - math.exp(-2 / 20)) * rng.standard_normal()
        cells = np.eye(3) * (1000.0 + 10.0 * noise)[:, None, None] ** (1 / 3)
        volume = mean_volume(cells, 50, correlation_fraction=0.1)
        hits += abs(volume.A3_per_atom - 20.0) < volume.error
        blind = mean_volume(cells, 50)
        naive += abs(blind.A3_per_atom - 20.0) < blind.error
    assert 0.6 < hits / 300 < 0.85
    assert naive < hits


def test_volumes_pass_within_the_limit_or_within_their_noise():
    teacher = MeanVolume(20.0, 0.02)
    assert volume_criterion({"a": (teacher, [MeanVolume(20.2, 0.02)])}, max_difference_percent=1.5).passed
    assert not volume_criterion({"a": (teacher, [MeanVolume(20.5, 0.02)])}, max_difference_percent=1.5).passed
    noisy = volume_criterion({"a": (teacher, [MeanVolume(20.5, 0.5)])}, max_difference_percent=1.5)
    assert noisy.passed
    assert "± 2.5 %" in noisy.words
    assert volume_criterion({}, max_difference_percent=1.0).passed is None
    short = volume_criterion({"a": (MeanVolume(20.0, math.inf), [MeanVolume(20.0, 0.1)])}, max_difference_percent=1.0)
    assert short.passed is False


def estimate(value: float, relative: float) -> Estimate:
    return count_like_estimate(value, (relative * value) ** 2)


def pair(temperature: float, teacher: float, members: list[float], relative: float = 0.1, hops: int = 50):
    return DiffusivityPair(
        f"a {temperature:g} K",
        temperature,
        estimate(teacher, relative),
        tuple(estimate(member, relative) for member in members),
        (hops,) * (1 + len(members)),
    )


def test_diffusivities_pass_where_intervals_overlap_at_two_temperatures():
    passing = diffusivity_criteria([pair(600, 1e-6, [1.2e-6]), pair(800, 1e-5, [0.9e-5])])
    assert [criterion.passed for criterion in passing] == [True, True]
    failing = diffusivity_criteria([pair(600, 1e-6, [1e-6, 3e-6]), pair(800, 1e-5, [1e-5, 1e-5])])
    assert [criterion.passed for criterion in failing] == [False, True]
    assert "member(s) 2" in failing[0].words
    alone = diffusivity_criteria([pair(800, 1e-5, [1e-5], hops=3)])
    assert [criterion.passed for criterion in alone] == [True, False]
    assert "weak test" in alone[0].words


def test_the_transfer_error_is_what_noise_does_not_explain():
    # A factor of 1.5 at both temperatures, measured to 1 %: ln 1.5, and no error of Ea.
    transfer = transfer_error([pair(600, 1e-6, [1.5e-6], 0.01), pair(900, 1e-5, [1.5e-5], 0.01)])
    assert transfer.ln_sigma == pytest.approx(math.log(1.5), rel=0.02)
    assert transfer.Ea_eV < 0.01
    assert 600 < transfer.temperature_K < 900
    # The same difference measured to 50 % proves nothing; the resolution says so.
    coarse = transfer_error([pair(600, 1e-6, [1.5e-6], 0.5), pair(900, 1e-5, [1.5e-5], 0.5)])
    assert coarse.ln_sigma == 0.0
    assert coarse.ln_D_resolution > 0.3


def test_a_different_slope_is_a_difference_of_activation_energies():
    factor = math.exp(-0.1 / BOLTZMANN_EV_PER_K * (1 / 600 - 1 / 900))
    transfer = transfer_error([pair(600, 1e-6, [1e-6 * factor], 0.01), pair(900, 1e-5, [1e-5], 0.01)])
    assert transfer.Ea_difference_eV == pytest.approx(0.1, rel=0.01)
    assert transfer.Ea_eV == pytest.approx(0.1, rel=0.01)


def test_members_that_scatter_more_than_their_statistics_widen_the_error():
    rows = [pair(600, 1e-6, [0.5e-6, 2e-6], 0.02), pair(900, 1e-5, [0.5e-5, 2e-5], 0.02)]
    transfer = transfer_error(rows)
    assert transfer.ln_D_spread == pytest.approx(np.std(np.log([0.5, 2.0]), ddof=1), rel=0.01)
    assert transfer.ln_sigma >= transfer.ln_D_spread


def test_upper_bounds_say_nothing_about_the_transfer():
    bound = count_like_estimate(0.0, 0.0, bound_per_hop=1e-7)
    assert transfer_error([DiffusivityPair("a", 600.0, bound, (estimate(1e-6, 0.1),), (0, 9))]) is None
    assert transfer_error([]) is None


def test_the_shortest_clean_run_counts():
    assert stability_criterion([20.0, 20.0], 20.0, 900.0).passed
    assert not stability_criterion([20.0, 4.0], 20.0, 900.0).passed
    assert not stability_criterion([], 1.0, 900.0).passed


def test_an_atom_and_its_own_image_are_no_pair():
    atoms = bulk("LiCl", "rocksalt", a=5.13)
    positions = np.repeat(atoms.positions[None], 4, axis=0)
    distances = {one.pair: one for one in pair_distances(positions, atoms.cell.array, atoms.numbers, r_max_A=6.0)}
    assert distances["Li-Li"].counts.sum() == 0
    assert distances["Li-Cl"].counts.sum() > 0
    assert distance_overlap(distances["Li-Li"], distances["Li-Li"]) is None
    assert distance_overlap(distances["Li-Cl"], distances["Li-Cl"]).overlap == 1.0

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest

from superionic import enumerate_orderings
from superionic.enumeration.counted import counted_spaces
from superionic.enumeration.series import count_supercells
from superionic.errors import CompositionError
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.orderings.ordering import list_ordering_table


def test_a_count_needs_nothing_but_the_file(lyc_file):
    values = enumerate_orderings(lyc_file, supercell="2x2x2").to_dict()
    assert (values["n_sites"], values["n_atoms"], values["group_order"]) == (280, 240, 96)
    assert values["distinct"] > 10**24
    assert values["raw"] >= values["distinct"] * values["group_order"] / 2
    assert values["plan"]["method"] == "search"
    assert values["oxidation_states"] == {
        "values": {"Li": 1.0, "Y": 3.0, "Cl": -1.0},
        "source": "guessed",
        "note": values["oxidation_states"]["note"],
    }
    assert "ewald_eV" not in values
    json.dumps(values)


def test_the_lowest_are_those_of_the_whole_list(lyc_file):
    result = enumerate_orderings(lyc_file, ewald_top=1000)
    everything = result.to_dict()
    assert (everything["raw"], everything["distinct"], everything["looked_at"]) == (360, 30, 30)
    assert len(everything["ewald_eV"]) == 30
    assert sum(everything["degeneracies"]) == 360
    assert sum(everything["histogram"]["raw"]) == 360
    assert len({*everything["codes"]}) == 30
    few = enumerate_orderings(lyc_file, ewald_top=3).to_dict()
    np.testing.assert_allclose(few["ewald_eV"], everything["ewald_eV"][:3])
    assert few["codes"] == everything["codes"][:3]


def test_axes_give_a_point_each(lyc_file):
    result = enumerate_orderings(lyc_file, axes=["Cl:Br:x=0..6:3"], ewald_top=4)
    points = result.to_dict()["points"]
    assert [p["grid_point"] for p in points] == ["x=0", "x=3", "x=6"]
    assert [p["formula"] for p in points] == ["Li3YCl6", "Li3YBr3Cl3", "Li3YBr6"]
    halides = [{s: 18 * p["formula"].count(s) for s in ("Br", "Cl")} for p in points]
    assert halides[0]["Br"] == halides[2]["Cl"] == 0
    # Chlorine and bromine carry one charge, so that the mixture has no more levels than the pure ones.
    assert points[1]["tie"]["members"] > 1000
    assert points[1]["tie"]["taken"] == 4
    np.testing.assert_allclose(points[1]["ewald_eV"], points[0]["ewald_eV"][0], atol=1e-9)


def test_what_does_not_fit_is_said_and_the_rest_is_done(lyc_file):
    result = enumerate_orderings(lyc_file, axes=["Cl:Br:x=0,0.1,3"])
    assert [p.label for p in result.points] == ["x=0", "x=3"]
    assert len(result.refused) == 1
    with pytest.raises(CompositionError):
        enumerate_orderings(lyc_file, axes=["Cl:Br:x=0.1"])


def test_samples_repeat_with_their_seed_and_cover_the_space(lyc_file):
    first = enumerate_orderings(lyc_file, sample_draws=2000, seed=4).to_dict()
    assert first["codes"] == enumerate_orderings(lyc_file, sample_draws=2000, seed=4).to_dict()["codes"]
    assert sum(first["times_drawn"]) == 2000
    assert len(first["codes"]) == first["distinct"] == 30
    expected = 2000 / 30
    chi2 = sum((n - expected) ** 2 / expected for n in first["times_drawn"])
    assert chi2 < 58  # 29 degrees of freedom: 0.1 %


def test_a_search_finds_what_the_list_finds(lyc_file):
    listed = enumerate_orderings(lyc_file, supercell="1x1x2", ewald_top=5)
    found = enumerate_orderings(lyc_file, supercell="1x1x2", search_lowest=5, search_budget=3_000_000, seed=1)
    np.testing.assert_allclose(found.to_dict()["ewald_eV"], listed.to_dict()["ewald_eV"], atol=1e-7)
    assert found.points[0].chosen.evidence.converged


def test_a_search_of_a_mixture_gives_several_orderings_of_a_pattern(lyc_file):
    found = enumerate_orderings(lyc_file, axes=["Cl:Br:x=3"], search_lowest=40, search_budget=500_000, seed=1).to_dict()
    assert found["evidence"]["equal_charges_change_places"]
    assert len(found["codes"]) == len({*found["codes"]}) == 40


def test_structures_are_written_with_where_they_come_from(lyc_file, tmp_path):
    result = enumerate_orderings(lyc_file, ewald_top=3)
    (path,) = result.write(tmp_path / "lowest.extxyz")
    frames = ase.io.read(path, ":")
    assert len(frames) == 3
    for rank, frame in enumerate(frames):
        assert frame.info["rank"] == rank
        assert frame.info["degeneracy"] == 12
        assert frame.info["ewald_eV"] == pytest.approx(result.to_dict()["ewald_eV"][rank])
        assert frame.info["source"] == lyc_file.name
        assert len(frame) == 30
    files = result.write(tmp_path / "lowest.cif")
    assert len(files) == 3
    assert all(len(ase.io.read(file)) == 30 for file in files)


def test_too_many_to_list_is_refused_with_the_way_out(lyc_file):
    with pytest.raises(CompositionError, match="too many") as caught:
        enumerate_orderings(lyc_file, supercell="2x2x2", ewald_top=5)
    assert "--search" in caught.value.fix
    with pytest.raises(CompositionError, match="too many"):
        enumerate_orderings(lyc_file, supercell="1x1x2", ewald_top=5, max_listed=1000)


def test_only_one_wish_at_a_time(lyc_file):
    with pytest.raises(CompositionError, match="either"):
        enumerate_orderings(lyc_file, ewald_top=1, sample_draws=1)


def test_all_supercells(lyb_file):
    series = count_supercells(lyb_file, 2).to_dict()
    assert [e["supercells"] for e in series["by_index"]] == [1, 5]
    assert series["raw"] == sum(e["raw"] for e in series["by_index"])
    assert all(e["non_superperiodic"] <= e["distinct"] for e in series["by_index"])
    listed = enumerate_orderings(lyb_file, max_index=2, ewald_top=100_000)
    assert sum(p.counted.count.distinct for p in listed.points) == series["distinct"]
    other = sum(int(np.sum(~p.chosen.superperiodic)) for p in listed.points)
    assert other == series["non_superperiodic"]


def test_all_supercells_of_the_known_counts(shared):
    known = json.loads((shared / "known_counts.json").read_text())["all_HNF_index_2"]["cases"]
    for case in known:
        if case["cif"] not in {"lyb_h.cif", "lyb_orbit.cif"}:
            continue
        # The table holds lyb_orbit with one total for both lithium orbits (28 = 8 over 2 decorations a supercell).
        coupling = "coupled" if case["cif"] == "lyb_orbit.cif" else "per-orbit"
        series = count_supercells(shared / case["cif"], 2, coupling=coupling).to_dict()["by_index"][1]
        assert (series["supercells"], series["raw"], series["distinct"], series["non_superperiodic"]) == (
            case["supercells"], case["raw"], case["distinct"], case["non_superperiodic"],
        )  # fmt: skip


def split_sites(occupancy):
    """Two Li sites 1 Å apart around each of two places, and an anion."""
    x = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0], [0.6, 0.5, 0], [0.3, 0, 0.5], [0.8, 0.5, 0.5]])
    species = [{"Li": occupancy}] * 4 + [{"Cl": 1.0}] * 2
    return crystal_from_sites("split", 10 * np.eye(3), x, species)


def test_split_sites_are_not_both_occupied():
    (counted,) = counted_spaces(split_sites(0.5), "1x1x1", {"Li": 1, "Cl": -1}, coupling="coupled")
    assert counted.space.has_exclusions
    assert counted.allowed.raw < counted.count.raw
    assert len(list_ordering_table(counted.space)) == counted.allowed.distinct
    (free,) = counted_spaces(split_sites(0.5), "1x1x1", {"Li": 1, "Cl": -1}, coupling="coupled", min_distance_A=None)
    assert free.allowed == free.count == counted.count


def test_a_composition_without_allowed_orderings_is_passed_over_or_refused():
    # Four Li on two pairs of split sites cannot be: with -2 on the anion that is the nearest neutral composition.
    with pytest.raises(CompositionError, match=r"keeps like ions at least 1\.5 Å apart") as caught:
        counted_spaces(split_sites(1.0 - 1e-2), "1x1x1", {"Li": 1, "Cl": -2})
    assert "counts exist at 1 Å" in caught.value.fix  # sites at exactly that distance are not closer

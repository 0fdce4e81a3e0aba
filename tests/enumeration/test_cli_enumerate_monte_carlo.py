from __future__ import annotations

import json

import pytest

from superionic.cli import main


def enumerate_verb(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["enumerate", *map(str, arguments)])
    return ended.value.code


def test_json_is_all_there_is(lyc_file, capsys, tmp_path):
    out = tmp_path / "thermal.extxyz"
    options = ["--temperature-K", "900", "--dielectric", "8", "--sweeps", "1000", "--seed", "2", "--json"]
    assert enumerate_verb(lyc_file, "--monte-carlo", "25", *options, "--out", out) == 0
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert values["method"] == "monte-carlo"
    evidence = values["evidence"]
    assert (evidence["temperature_K"], evidence["dielectric"], evidence["sweeps"]) == (900.0, 8.0, 1000)
    assert sum(values["times_drawn"]) == evidence["independent_draws"] == 25
    assert len(values["ewald_eV"]) == len(values["degeneracies"]) == len(values["codes"]) == len(values["times_drawn"])
    said = {"converged", "flags", "acceptance", "exchange_rates", "autocorrelation_sweeps", "heat_capacity_kB"}
    assert said <= set(evidence)
    parameter = evidence["order_parameters"][0]
    assert set(parameter) == {
        "sites_a", "species_a", "sites_b", "species_b", "distance_A", "warren_cowley", "error"
    }  # fmt: skip
    assert out.read_text().count("monte-carlo") == len(values["codes"])


def test_a_person_sees_the_order(lyc_file, capsys):
    assert enumerate_verb(lyc_file, "--monte-carlo", "10", "--sweeps", "100") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Monte Carlo at 800 K on point charges, relative permittivity 10" in text
    assert "Warren-Cowley" in text
    assert "caution: Fewer than 50 independent samples" in text


@pytest.mark.parametrize("other", [["--sample", "3"], ["--search", "3"], ["--ewald-top", "3"], ["--count"]])
def test_one_wish_at_a_time(lyc_file, capsys, other):
    assert enumerate_verb(lyc_file, "--monte-carlo", "10", *other) == 2
    printed = capsys.readouterr()
    assert "fix:" in printed.err
    assert "one of" in printed.err
    assert printed.out == ""

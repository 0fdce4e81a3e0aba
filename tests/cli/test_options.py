"""Option groups: fields of a dataclass become options of a verb, and the verb gets the dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from superionic.cli.options import JsonOption, grouped, parse_charges, parse_temperatures, parse_whole_numbers
from superionic.errors import AnalysisError, CampaignFileError


@dataclass(frozen=True)
class Bath:
    """A bath."""

    heading: ClassVar[str] = "The bath"

    temperature_K: Annotated[float, typer.Option("--temperature-K", min=0.0, help="How warm.")] = 300.0
    salt: Annotated[list[str] | None, typer.Option(help="What is in it; repeatable.")] = None


@grouped
def bathe(
    crystal: Annotated[Path, typer.Argument(help="What is bathed.")], bath: Bath, as_json: JsonOption = False
) -> None:
    """Bathe a crystal."""
    typer.echo(f"{crystal} {bath} {as_json}")


def invoke(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(bathe)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"}).output


def test_a_verb_gets_its_groups_with_what_was_given_and_defaults():
    assert invoke("a.cif").strip() == f"a.cif {Bath()} False"
    expected = f"a.cif {Bath(750.0, ['LiCl', 'KCl'])} True"
    assert invoke("a.cif", "--salt", "LiCl", "--temperature-K", "750", "--json", "--salt", "KCl").strip() == expected
    assert "a.cif" not in invoke("a.cif", "--temperature-K", "-3")


def test_help_has_the_group_under_its_heading():
    lines = invoke("--help").splitlines()
    heading = next(number for number, line in enumerate(lines) if "The bath" in line)
    assert any("--temperature-K" in line and "300.0" in line for line in lines[heading:])
    assert not any("--temperature-K" in line for line in lines[:heading])
    assert any("--json" in line for line in lines[:heading])


def test_two_options_of_one_name_are_refused():
    def twice(bath: Bath, salt: str = "NaCl") -> None:
        del bath, salt

    with pytest.raises(TypeError, match="two options of the same name"):
        grouped(twice)


def test_text_is_read_or_refused_with_the_option_that_it_was_given_to():
    assert parse_charges("Li=1, Y=3;Cl=-1") == {"Li": 1.0, "Y": 3.0, "Cl": -1.0}
    assert parse_temperatures("600, 700 800", "--report-K") == [600.0, 700.0, 800.0]
    assert parse_whole_numbers("8,16", "--sizes") == [8, 16]
    with pytest.raises(CampaignFileError) as refused:
        parse_charges("Li:1")
    assert refused.value.where == "--charges"
    for text in ("cold", "0", "-5", "nan", ""):
        with pytest.raises(AnalysisError) as refused:
            parse_temperatures(text, "--report-K")
        assert refused.value.where == "--report-K"
    with pytest.raises(CampaignFileError, match="whole numbers"):
        parse_whole_numbers("8;16", "--sizes")

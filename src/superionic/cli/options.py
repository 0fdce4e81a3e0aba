"""Options and arguments shared by several verbs, and the parsing of their text.

A verb may also take a group of options: a frozen dataclass whose fields are options, and whose ``heading`` stands over
them in ``--help``. :func:`grouped` turns the fields into options of the verb and passes the verb the dataclass.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer

if TYPE_CHECKING:
    from superionic.campaign.initialise import CrystalOptions
    from superionic.campaign.run import Campaign
    from superionic.execution.sites.site_file import Site
    from superionic.labels.frame_values import LabelKeys

CampaignArgument = Annotated[Path, typer.Argument(help="Campaign file (YAML), or the folder that holds campaign.yaml.")]
CrystalArgument = Annotated[
    Path, typer.Argument(help="Crystal with partial occupancies: CIF, POSCAR, extxyz, pymatgen JSON.")
]
RunFolderOption = Annotated[
    Path | None,
    typer.Option("--run-folder", help="Folder of the results.", show_default="runs/NAME beside the campaign file"),
]
UntilOption = Annotated[str | None, typer.Option(help="Last stage to run, e.g. hull.", show_default="all")]
RetryFailedOption = Annotated[bool, typer.Option("--retry-failed", help="Try failed calculations again.")]
SiteOption = Annotated[
    Path | None, typer.Option("--site", help="Site file (YAML) of a cluster, if tasks are not to run on this machine.")
]
BlockOption = Annotated[
    str | None,
    typer.Option(help="Data block of a CIF that holds several crystals.", show_default="the first with atoms"),
]
ChargesOption = Annotated[
    str | None,
    typer.Option(
        help="Oxidation states, e.g. 'Li=1,Y=3,Cl=-1'.", show_default="from the crystal's file, or guessed and shown"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn the fields of each option group that a verb takes into options of the verb.

    Raises
    ------
    TypeError
        If two options have the same name.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        group = hints[name]
        if not (isinstance(group, type) and is_dataclass(group)):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=group))
            continue
        groups[name] = group
        parameters += _parameters_of(group)
    names = [parameter.name for parameter in parameters]
    if len(set(names)) < len(names):
        raise TypeError(f"{verb.__name__} takes two options of the same name: {', '.join(names)}")

    @functools.wraps(verb)
    def with_groups(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        verb(**values)

    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_groups


@functools.cache
def _parameters_of(group: Any) -> tuple[inspect.Parameter, ...]:
    """Return the fields of an option group as parameters of a verb."""
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_under(getattr(group, "heading", None), hints[field.name]),
        )
        for field in fields(group)
    )


def _under(heading: str | None, annotation: Any) -> Any:
    """Return the annotation of an option, placed under a heading of ``--help``."""
    if heading is None or get_origin(annotation) is not Annotated:
        return annotation
    kind, option = get_args(annotation)
    option = copy(option)
    option.rich_help_panel = heading
    return Annotated[kind, option]


@dataclass(frozen=True)
class StatedCrystal:
    """What the user states about a crystal, in place of guesses."""

    mobile_ion: Annotated[str | None, typer.Option(help="Mobile ion, e.g. Li.", show_default="guessed")] = None
    charges: ChargesOption = None
    block: BlockOption = None
    supercell: Annotated[
        str | None,
        typer.Option(help="Supercell of the orderings, e.g. 2x2x1.", show_default="the smallest that fits"),
    ] = None
    max_deviation: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Largest difference of an occupancy from the refined one.")
    ] = 0.1
    min_distance: Annotated[float, typer.Option(min=0.1, help="Smallest distance of like ions in Å.")] = 1.5

    def options(self) -> CrystalOptions:
        """Return the options in the form that drafts of campaigns take."""
        from superionic.campaign.initialise import CrystalOptions

        charges = parse_charges(self.charges)
        return CrystalOptions(
            self.mobile_ion, charges, self.block, self.supercell, self.max_deviation, self.min_distance
        )


@dataclass(frozen=True)
class LabelKeyOptions:
    """The keys of energies, forces and stresses in a file of labels."""

    heading: ClassVar[str] = "Keys in extended XYZ"

    energy_key: Annotated[
        str | None,
        typer.Option(help="Key of the energy.", show_default="REF_ or DFT_ keys where there are any, else plain"),
    ] = None
    forces_key: Annotated[str | None, typer.Option(help="Column of the forces.")] = None
    stress_key: Annotated[str | None, typer.Option(help="Key of the stress (eV/Å³, positive under tension).")] = None
    virial_key: Annotated[
        str | None, typer.Option(help="Key of the virial (eV, of the cell: -volume times the stress).")
    ] = None

    def keys(self) -> LabelKeys:
        """Return the keys in the form that the readers of labels take."""
        from superionic.labels.frame_values import LabelKeys

        return LabelKeys(self.energy_key, self.forces_key, self.stress_key, self.virial_key)


def open_campaign(path: Path, run_folder: Path | None) -> Campaign:
    """Load the campaign from its file, or from the folder that holds it."""
    from superionic.campaign.run import Campaign

    file = path / "campaign.yaml"
    return Campaign.load(file if file.is_file() else path, run_folder=run_folder)


def read_site(path: Path | None) -> Site | None:
    """Read the site file that ``--site`` names, if it names one."""
    if path is None:
        return None
    from superionic.campaign.site import load_site

    return load_site(path)


def parse_charges(text: str | None) -> dict[str, float] | None:
    """Parse oxidation states such as ``Li=1,Y=3,Cl=-1``."""
    from superionic.errors import CampaignFileError

    if text is None:
        return None
    charges: dict[str, float] = {}
    for part in text.replace(";", ",").split(","):
        element, _, charge = part.partition("=")
        try:
            charges[element.strip()] = float(charge)
        except ValueError:
            raise CampaignFileError(
                f"{part.strip()!r} is not an element with a charge",
                where="--charges",
                fix="write e.g. 'Li=1,Y=3,Cl=-1'",
            ) from None
    return charges


def parse_budget_h(text: str | None) -> float | None:
    """Read a wall time such as ``8h``, ``30min`` or ``2d``, in hours."""
    from superionic.errors import CampaignFileError

    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(min|h|d)", text.strip())
    if match is None:
        raise CampaignFileError(
            f"{text[:40]!r} is not a time", where="--budget", fix="write a number and its unit: 30min, 8h or 2d"
        )
    return float(match[1]) * {"min": 1.0 / 60.0, "h": 1.0, "d": 24.0}[match[2]]


def parse_dispersion(text: str) -> dict[str, str]:
    """Read a dispersion term such as ``d3bj`` or, with the functional whose parameters it takes, ``d3bj:PBE``."""
    from superionic.errors import CampaignFileError
    from superionic.potentials.dispersion import FUNCTIONALS, METHODS

    method, _, functional = text.partition(":")
    if method not in METHODS or (functional and functional not in FUNCTIONALS):
        raise CampaignFileError(
            f"{text!r} is no dispersion term.",
            where="--dispersion",
            fix=f"Write {METHODS[0]}, or {METHODS[0]}:FUNCTIONAL with one of {', '.join(FUNCTIONALS)}.",
        )
    return {"method": method, **({"functional": functional} if functional else {})}


def parse_words(text: str | None) -> tuple[str, ...]:
    """Parse words such as ``Li,Na``, separated by commas or spaces."""
    return () if text is None else tuple(text.replace(",", " ").split())


def parse_temperatures(text: str, option: str) -> list[float]:
    """Parse temperatures such as ``600,700,800``, in K."""
    from superionic.errors import AnalysisError

    try:
        temperatures = [float(word) for word in parse_words(text)]
    except ValueError:
        temperatures = []
    if not temperatures or any(not value > 0.0 for value in temperatures):
        raise AnalysisError(
            f"{text!r} is not a list of temperatures in K.", where=option, fix=f"Write e.g. {option} 600,700,800."
        )
    return temperatures


def parse_whole_numbers(text: str | None, option: str) -> list[int] | None:
    """Parse whole numbers such as ``8,16,32``."""
    from superionic.errors import CampaignFileError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise CampaignFileError(
            f"{text!r} is not a list of whole numbers", where=option, fix="write e.g. 8,16,32"
        ) from None

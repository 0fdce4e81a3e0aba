"""Checks that look at more than one value of the campaign file.

They read the plain, completed mapping and not the models, so that they also run where other values are wrong and all
mistakes can be reported at once. They skip what has the wrong type: the validation of the models reports that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from superionic.errors import CampaignFileError
from superionic.registry import find, models
from superionic.settings.base import (
    FINE_TUNED,
    LEAST_NUMBER,
    MOST_NUMBER,
    STUDENT,
    Problem,
    did_you_mean,
    is_sensible,
    parse_formula,
    plain_number,
)
from superionic.settings.distil import distil_problems
from superionic.settings.learn import learn_problems
from superionic.settings.potentials import potential_problems
from superionic.settings.stages import NEEDS
from superionic.settings.train import replay_problems

MAX_GRID_POINTS: Final = 10_000
MAX_SPACES: Final = 10_000
"""Crystals × points of the grid × supercells."""
MAX_SEGMENTS: Final = 100_000
MAX_FRAMES: Final = 1_000_000
"""Segments of a run, and frames of a segment."""
FEWEST_BLOCKS: Final = 9
"""Into so many blocks of the first lag of a window a run is divided, at least, when it is analysed."""
_ANY_SIZE: Final = frozenset({("seed",)})
STAND_IN: Final = "potential:"
LABEL_ENGINES: Final = ("gpaw", "vasp", "tblite", "finished")
MADE_BY: Final = {FINE_TUNED: "train", STUDENT: "distil"}
"""Potentials that a campaign makes itself, and the sections that make them."""


def cross_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Find the mistakes that show only where values are seen together.

    Parameters
    ----------
    raw
        A completed campaign file (see :func:`superionic.campaign.schema_presets.complete`) as plain values; values of
        a wrong type are skipped.

    Returns
    -------
    list of Problem
        In the order of the schema.
    """
    return [
        *_sizes(raw, ()),
        *_charges(raw),
        *_names(raw),
        *_occupancies(raw),
        *_axes(raw),
        *_constraints(raw),
        *_spaces(raw),
        *potential_problems(_mapping(raw.get("potentials"))),
        *_potentials(raw),
        *_stages(raw),
        *_training(raw),
        *learn_problems(raw),
        *distil_problems(raw),
        *_ensembles(raw),
        *_durations(raw),
        *_window(raw),
    ]


def _sizes(value: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """Find the numbers that are no length, time, energy or count of anything."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _sizes(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _sizes(item, (*path, index))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and path not in _ANY_SIZE:
        # What is not a number has a message of its own.
        if is_sensible(value) or (isinstance(value, float) and math.isnan(value)):
            return
        bound = f"above {MOST_NUMBER:g}" if abs(value) > 1 else f"nearer to 0 than {LEAST_NUMBER:g}"
        yield Problem(path, f"no setting has a size {bound}", "check the exponent, and the unit in the name")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sections(value: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the entries of a list that are mappings, with their positions."""
    if not isinstance(value, (list, tuple)):
        return []
    return [(index, entry) for index, entry in enumerate(value) if isinstance(entry, Mapping)]


def _formula_counts(value: Any) -> dict[str, float]:
    try:
        return parse_formula(value) if isinstance(value, str) else {}
    except ValueError:
        return {}


def _charges(raw: Mapping[str, Any]) -> Iterator[Problem]:
    states = raw.get("oxidation_states")
    if not isinstance(states, Mapping) or not states:
        return
    mobile = raw.get("mobile_ion")
    if isinstance(mobile, str):
        if mobile not in states:
            hint = f"add e.g. {mobile}: 1"
            yield Problem(("oxidation_states",), f"the mobile ion {mobile} has no oxidation state", hint)
        elif plain_number(states[mobile]) == 0.0:
            yield Problem(("oxidation_states", mobile), f"the mobile ion {mobile} must have a charge; it is 0")
    charges = [charge for charge in map(plain_number, states.values()) if charge is not None]
    if len(charges) == len(states) > 1 and (min(charges) > 0 or max(charges) < 0):
        sign = "positive" if min(charges) > 0 else "negative"
        yield Problem(("oxidation_states",), f"all charges are {sign}, so no composition can be neutral")
    for index, axis in _sections(raw.get("composition_axes")):
        steps = [((), axis), *((("along", i), entry) for i, entry in _sections(axis.get("along")))]
        for place, entry in steps:
            for key in ("replace", "by"):
                element = entry.get(key)
                if isinstance(element, str) and element not in states:
                    path = ("composition_axes", index, *place, key)
                    yield Problem(path, f"{element} has no oxidation state", "add it to `oxidation_states`")


def _names(raw: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for section in ("crystals", "references"):
        for index, entry in _sections(raw.get(section)):
            name = entry.get("name")
            if not isinstance(name, str):
                continue
            # Names become parts of file names, and some file systems ignore the case.
            if name.lower() in seen:
                yield Problem((section, index, "name"), f"the name '{name}' is also that of {seen[name.lower()]}")
            else:
                seen[name.lower()] = f"{section}[{index}]"


def _axes(raw: Mapping[str, Any]) -> Iterator[Problem]:
    taken: dict[str, int] = {}
    for index, axis in _sections(raw.get("composition_axes")):
        path = ("composition_axes", index)
        by = axis.get("by")
        if isinstance(by, str):
            if by in taken:
                message = f"'{by}' is also brought in by composition_axes[{taken[by]}]"
                yield Problem((*path, "by"), message, "give each axis an element of its own")
            taken.setdefault(by, index)
        counts = _formula_counts(axis.get("formula_unit"))
        values = axis.get("values")
        numbers = [plain_number(value) for value in values] if isinstance(values, (list, tuple)) else []
        largest = max((number for number in numbers if number is not None), default=None)
        yield from _replacement(path, axis, counts, largest, 1.0)
        for place, entry in _sections(axis.get("along")):
            ratio = plain_number(entry.get("ratio", 1.0))
            yield from _replacement((*path, "along", place), entry, counts, largest, ratio)


def _replacement(
    path: tuple[str | int, ...],
    entry: Mapping[str, Any],
    counts: Mapping[str, float],
    largest: float | None,
    ratio: float | None,
) -> Iterator[Problem]:
    """Check one replacement: two different elements, and no more atoms than the formula unit has."""
    replace, by = entry.get("replace"), entry.get("by")
    if isinstance(replace, str) and replace == by:
        yield Problem((*path, "by"), f"{replace} is replaced by itself")
    if not isinstance(replace, str) or not counts:
        return
    room = counts.get(replace, 0.0) + (counts.get(by, 0.0) if isinstance(by, str) else 0.0)
    if room == 0.0:
        place = "formula_unit" if path[-2:-1] != ("along",) else "replace"
        yield Problem((*path, place), f"the formula unit has no {replace} to replace")
    elif largest is not None and ratio is not None and largest * ratio > room * (1 + 1e-9):
        place = "values" if path[-2:-1] != ("along",) else "ratio"
        message = f"replaces {largest * ratio:g} {replace}, but the formula unit has {room:g}"
        yield Problem((*path, place), message)


def _constraints(raw: Mapping[str, Any]) -> Iterator[Problem]:
    axes = {
        axis["by"]: axis.get("values")
        for _, axis in _sections(raw.get("composition_axes"))
        if isinstance(axis.get("by"), str)
    }
    rules = _sections(raw.get("composition_constraints"))
    sound = bool(rules)
    for index, rule in rules:
        path = ("composition_constraints", index)
        low, high = plain_number(rule.get("minimum")), plain_number(rule.get("maximum"))
        if rule.get("minimum") is None and rule.get("maximum") is None:
            sound = False
            yield Problem(path, "the constraint has neither a `minimum` nor a `maximum`")
        if low is not None and high is not None and low > high:
            sound = False
            yield Problem((*path, "minimum"), f"the minimum {low:g} is above the maximum {high:g}")
        for name, weight in _mapping(rule.get("weights")).items():
            sound = sound and plain_number(weight) is not None
            if name not in axes:
                sound = False
                message = f"no composition axis brings in '{name}'"
                yield Problem((*path, "weights", name), message, did_you_mean(str(name), axes), at_key=True)
    grids = [[plain_number(value) for value in values] for values in axes.values() if isinstance(values, (list, tuple))]
    size = 1
    for grid in grids:
        size *= len(grid)
        sound = sound and None not in grid
    if size > MAX_GRID_POINTS:
        yield Problem(("composition_axes",), f"the grid has {size} points; no more than {MAX_GRID_POINTS} are taken")
    elif (
        sound
        and len(grids) == len(axes)
        and not any(
            _meets(dict(zip(axes, point, strict=True)), [rule for _, rule in rules])
            for point in itertools.product(*grids)
        )
    ):
        yield Problem(("composition_constraints",), "no point of the composition grid meets the constraints")


def _spaces(raw: Mapping[str, Any]) -> Iterator[Problem]:
    crystals = raw.get("crystals")
    cells = sum(
        1 + (len(more) if isinstance(more := entry.get("further_supercells"), (list, tuple)) else 0)
        for _, entry in _sections(crystals)
    )
    points = math.prod(
        max(1, len(values))
        for _, axis in _sections(raw.get("composition_axes"))
        if isinstance(values := axis.get("values"), (list, tuple))
    )
    if points <= MAX_GRID_POINTS and cells * points > MAX_SPACES:
        message = f"supercells and compositions make {cells * points:,} pairs; no more than {MAX_SPACES:,} are taken"
        yield Problem(("crystals",), message, "divide them among several campaigns")


def _meets(point: Mapping[str, float | None], rules: list[Mapping[str, Any]]) -> bool:
    for rule in rules:
        total = sum(float(weight) * (point[name] or 0.0) for name, weight in _mapping(rule.get("weights")).items())
        slack = 1e-9 * (1.0 + abs(total))
        low, high = plain_number(rule.get("minimum")), plain_number(rule.get("maximum"))
        if (low is not None and total < low - slack) or (high is not None and total > high + slack):
            return False
    return True


def _kept_names(names: list[str]) -> Iterator[Problem]:
    for kept, made in ((FINE_TUNED, "trains"), (STUDENT, "distils")):
        if kept in names:
            message = f"the name '{kept}' is kept for the potential that the campaign {made}"
            yield Problem(("potentials", kept), message, "choose another name", at_key=True)


def _ranking_potentials(rank: Mapping[str, Any], names: list[str]) -> Iterator[Problem]:
    """Check the names of the potentials that screen before the ranking and compare after it."""
    by = rank.get("prescreen")
    if isinstance(by, str) and by not in ("none", "ewald", *names):
        hint = did_you_mean(by, ["none", "ewald", *names]) or f"write none, ewald, or one of: {', '.join(names)}"
        yield Problem(("rank", "prescreen"), f"'{by}' is neither a potential nor ewald", hint)
    others = rank.get("compare_with")
    for index, name in enumerate(others if isinstance(others, (list, tuple)) else ()):
        if isinstance(name, str) and name not in names:
            hint = did_you_mean(name, names) or f"choose one of: {', '.join(names)}"
            yield Problem(("rank", "compare_with", index), f"there is no potential '{name}'", hint)
        elif isinstance(name, str) and name == rank.get("potential"):
            yield Problem(("rank", "compare_with", index), f"'{name}' is the potential that ranks", "leave it out")


def _potentials(raw: Mapping[str, Any]) -> Iterator[Problem]:
    potentials = raw.get("potentials")
    if not isinstance(potentials, Mapping):
        return
    names = [name for name in potentials if isinstance(name, str)]
    yield from _kept_names(names)
    rank = _mapping(raw.get("rank"))
    if raw.get("rank") is not None and rank.get("potential") is None and len(names) > 1:
        yield Problem(("rank",), "there are several potentials", "name one of them as `rank.potential`")
    ordering = _mapping(_mapping(raw.get("enumerate")).get("monte_carlo")).get("potential")
    if isinstance(ordering, str) and ordering not in potentials:
        hint = did_you_mean(ordering, names) or f"choose one of: {', '.join(names)}"
        yield Problem(("enumerate", "monte_carlo", "potential"), f"there is no potential '{ordering}'", hint)
    yield from _ranking_potentials(rank, names)
    for stage in ("rank", "sample", "transport"):
        name = _mapping(raw.get(stage)).get("potential")
        if not isinstance(name, str):
            continue
        if name in MADE_BY and stage == "transport":
            section = MADE_BY[name]
            if raw.get(section) is None:
                message = f"'{name}' needs a `{section}` section, which this campaign leaves out"
                yield Problem((stage, "potential"), message, f"add `{section}`, or name one of: {', '.join(names)}")
        elif name not in potentials:
            choices = [*names, *MADE_BY] if stage == "transport" else names
            hint = did_you_mean(name, choices) or f"choose one of: {', '.join(choices)}"
            yield Problem((stage, "potential"), f"there is no potential '{name}'", hint)
    yield from _labels(_mapping(raw.get("label")), names, raw)


def _dispersion_of_labels(label: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Refuse to add dispersion to labels that have it, or twice by way of the potential that learns them."""
    path, engine = ("label", "dispersion"), label.get("engine")
    incar = _mapping(_mapping(label.get("vasp")).get("incar"))
    has = next((tag for tag in ("IVDW", "LVDW", "LUSE_VDW") if incar.get(tag)), None) if engine == "vasp" else None
    if has is not None:
        yield Problem(path, f"VASP adds dispersion itself, by {has} in `label.vasp.incar`", "leave out one of the two")
    if engine == "tblite":
        yield Problem(path, "tight binding by tblite has dispersion already", "leave it out")
    if label.get("functional") == "LDA" and engine in ("gpaw", "vasp"):
        yield Problem(path, "D3 has no parameters for LDA", "choose PBE, PBEsol, SCAN or r2SCAN, or leave it out")
    potentials = _mapping(raw.get("potentials"))
    if isinstance(engine, str) and engine.startswith(STAND_IN):
        name = engine.removeprefix(STAND_IN)
        if _mapping(potentials.get(name)).get("dispersion") is not None:
            yield Problem(path, f"the labels of the potential '{name}' have dispersion already", "leave it out")
    sampler = _sampler(raw)
    if raw.get("train") is not None and _mapping(potentials.get(sampler)).get("dispersion") is not None:
        message = f"the potential '{sampler}' of `sample` has dispersion as a term; what is trained would have it twice"
        yield Problem(path, message, "leave it out here, and the term stays; or there, and the potential learns it")


def _labels(label: Mapping[str, Any], names: list[str], raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Check what makes the labels."""
    engine, finished = label.get("engine"), _mapping(label.get("finished"))
    if isinstance(engine, str) and engine not in LABEL_ENGINES:
        name = engine.removeprefix(STAND_IN)
        if not engine.startswith(STAND_IN):
            hint = did_you_mean(engine, [*LABEL_ENGINES, *(STAND_IN + name for name in names)])
            message = f"'{engine}' is not an engine for labels"
            yield Problem(
                ("label", "engine"), message, hint or f"write {', '.join(LABEL_ENGINES)}, or potential:<name>"
            )
        elif name not in names:
            hint = did_you_mean(name, names) or f"choose one of: {', '.join(names)}"
            yield Problem(("label", "engine"), f"there is no potential '{name}'", hint)
    if engine == "vasp" and label.get("kpoint_offset") == "offset":
        message = "VASP takes Γ-centred k-points here"
        yield Problem(("label", "kpoint_offset"), message, "add `kpoint_offset: gamma`, and a spacing of 0.2 or so")
    if label.get("dispersion") is not None:
        yield from _dispersion_of_labels(label, raw)
    if engine == "finished" and not finished.get("files"):
        yield Problem(("label", "engine"), "no finished labels are named", "name files or folders in `finished.files`")
    stated = [name for name in ("code", "version", "functional") if finished.get(name) is not None]
    if stated and len(stated) < 3:
        message = "a stated provenance needs `code`, `version` and `functional`"
        yield Problem(("label", "finished", stated[0]), message)


def _stages(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for stage, needed in NEEDS:
        if isinstance(raw.get(stage), Mapping) and raw.get(needed) is None:
            yield Problem(
                (stage,), f"`{stage}` needs `{needed}`, which this campaign leaves out", f"add `{needed}: {{}}`"
            )
    if _mapping(raw.get("hull")).get("repeat_with_fine_tuned") is True and raw.get("train") is None:
        yield Problem(
            ("hull", "repeat_with_fine_tuned"), "this needs a `train` section, which this campaign leaves out"
        )
    rounds = _mapping(raw.get("sample")).get("temperatures_K")
    climbs = _mapping(raw.get("learn")).get("strategy") != "one-shot"
    if isinstance(rounds, (list, tuple)) and len(rounds) > 1 and raw.get("train") is None and climbs:
        message = "several rounds of sampling need a `train` section, which this campaign leaves out"
        yield Problem(("sample", "temperatures_K"), message)


def _training(raw: Mapping[str, Any]) -> Iterator[Problem]:
    train = raw.get("train")
    if not isinstance(train, Mapping):
        return
    from superionic.training.base import trainer_names

    trainer, name = train.get("trainer"), _mapping(raw.get("sample")).get("potential")
    entry = _mapping(_mapping(raw.get("potentials")).get(name)) if isinstance(name, str) else {}
    engine = entry.get("engine")
    if (own := find(trainer)) is not None and own.from_labels:  # any may sample
        yield from (*_trainer_options(train, own.name), *replay_problems(raw, train, own.name))
    elif isinstance(engine, str) and engine not in trainer_names():
        message = f"superionic cannot train the potential '{name}' of `sample`, which is of {engine}"
        hint = f"sample with a potential of one of: {', '.join(trainer_names())}; or leave out `train`"
        yield Problem(("train", "trainer"), message, hint)
    elif isinstance(trainer, str) and isinstance(engine, str) and engine != trainer:
        message = f"the trainer '{trainer}' cannot train the potential '{name}' of `sample`, which is of {engine}"
        yield Problem(("train", "trainer"), message, "sample with a potential of that engine, or leave out `train`")
    elif isinstance(engine, str):
        yield from (*_trainer_options(train, engine), *replay_problems(raw, train, engine))
    validation, test = (plain_number(train.get(key, 0.1)) for key in ("validation_fraction", "test_fraction"))
    if validation is not None and test is not None and validation + test >= 1.0:
        message = f"validation ({validation:g}) and test ({test:g}) fractions leave nothing to train on"
        yield Problem(("train", "validation_fraction"), message)
    if test == 0.0 and raw.get("validate") is not None:
        yield Problem(("train", "test_fraction"), "`validate` needs labels that training has not seen")
    weights = [train.get(key, 1.0) for key in ("energy_weight", "force_weight", "stress_weight")]
    if all(plain_number(weight) == 0.0 for weight in weights):
        yield Problem(("train", "energy_weight"), "at least one of the weights of the loss must be above 0")


def _trainer_options(train: Mapping[str, Any], engine: str) -> Iterator[Problem]:
    """Let the trainer judge its options; what is of a wrong type is reported elsewhere."""
    from superionic.training.base import options_of

    names = ("epochs", "batch_size", "learning_rate", "freeze", "initial")
    shared = {key: train[key] for key in names if isinstance(train.get(key), (int, float, str))}
    further = train.get("options")
    try:
        options_of(engine, shared, further if isinstance(further, Mapping) else None)
    except CampaignFileError as error:
        key = str(error.where or "").rpartition(".")[2]
        place = ("train", "options", key) if isinstance(further, Mapping) and key in further else ("train", key)
        yield Problem(place if key in train or len(place) == 3 else ("train",), error.message, error.fix or "")
    except TypeError:
        return


def _ensembles(raw: Mapping[str, Any]) -> Iterator[Problem]:
    transport = _mapping(raw.get("transport"))
    if transport.get("barostat") == "berendsen" and transport.get("cell_motion", "anisotropic") != "isotropic":
        message = "Berendsen's barostat changes only the size of the cell"
        yield Problem(("transport", "barostat"), message, "add `cell_motion: isotropic`, or take the barostat mtk")
    for stage in ("sample", "transport"):
        section = _mapping(raw.get(stage))
        if section.get("md_engine") != "lammps":
            continue
        name, engine = _driver(raw, stage)
        if (model := find(engine)) is not None and not model.in_lammps:
            message = (
                f"LAMMPS cannot run the potential '{name}' of engine {engine}: they live in different environments"
            )
            able = " or ".join(each.name for each in models().values() if each.in_lammps)
            fix = f"take md_engine: ase, or drive the run by the student or by a potential of engine {able}"
            yield Problem((stage, "md_engine"), message, fix)
        sampler = _sampler(raw) if name == FINE_TUNED else name
        term = _mapping(_mapping(raw.get("potentials")).get(sampler)).get("dispersion")
        if name != STUDENT and term is not None:
            message = f"LAMMPS does not evaluate the dispersion term of the potential '{sampler}'"
            fix = "take md_engine: ase, or drive the run by a student, which has learned it"
            yield Problem((stage, "md_engine"), message, fix)


def _sampler(raw: Mapping[str, Any]) -> str:
    """Name the potential that samples, and that training begins with."""
    potentials = _mapping(raw.get("potentials"))
    name = _mapping(raw.get("sample")).get("potential") or _mapping(raw.get("rank")).get("potential")
    return str(name or next(iter(potentials), ""))


def _driver(raw: Mapping[str, Any], stage: str) -> tuple[str, str | None]:
    """Name the potential that drives the dynamics of a stage, and its engine where that is known."""
    name = _mapping(raw.get(stage)).get("potential")
    if stage == "transport" and name is None:
        made = [
            maker for maker, section in ((STUDENT, "distil"), (FINE_TUNED, "train")) if raw.get(section) is not None
        ]
        name = made[0] if made else None
    if name == STUDENT:
        return STUDENT, "nep"
    shown = name
    trainer = find(_mapping(raw.get("train")).get("trainer"))
    if name == FINE_TUNED and trainer is not None and trainer.from_labels:
        return FINE_TUNED, trainer.name
    if name == FINE_TUNED:
        name = _mapping(raw.get("sample")).get("potential")
    name = name or _mapping(raw.get("rank")).get("potential")
    potentials = _mapping(raw.get("potentials"))
    if not isinstance(name, str):
        name = next(iter(potentials), None)
    engine = _mapping(potentials.get(str(name))).get("engine")
    return str(shown or name), engine if isinstance(engine, str) else None


def _occupancies(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for index, crystal in _sections(raw.get("crystals")):
        for sublattice, species in _mapping(crystal.get("occupancies")).items():
            amounts = [plain_number(amount) for amount in _mapping(species).values()]
            total = sum(amount for amount in amounts if amount is not None)
            if total > 1 + 1e-9:
                path = ("crystals", index, "occupancies", sublattice)
                yield Problem(path, f"the occupancies add up to {total:g}, which is more than 1")


def _durations(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for stage, save, segment in (("sample", 10.0, 5.0), ("transport", 10.0, 50.0)):
        section = raw.get(stage)
        if not isinstance(section, Mapping):
            continue
        step = plain_number(section.get("timestep_fs", 1.0))
        every = plain_number(section.get("save_every_fs", save))
        length = plain_number(section.get("segment_ps", segment))
        production = plain_number(section.get("production_ps"))
        if step is None or every is None or step <= 0 or every <= 0:
            continue
        if not _is_multiple(every, step):
            message = f"{every:g} fs is not a whole number of time steps of {step:g} fs"
            yield Problem((stage, "save_every_fs"), message)
        if length is not None and length > 0 and not _is_multiple(1000.0 * length, every):
            message = f"{length:g} ps is not a whole number of save intervals of {every:g} fs"
            yield Problem((stage, "segment_ps"), message)
        if production is None:
            continue
        yield from _lengths((stage,), section, length, every)
        yield from _lengths((stage, "long_runs"), _mapping(section.get("long_runs")), length, every)
        frames = 1000.0 * production / every
        if frames < 1:
            yield Problem((stage, "production_ps"), f"the run is shorter than one save interval ({every:g} fs)")
        asked = section.get("snapshots", 30) if stage == "sample" else None
        budgets = map(plain_number, asked if isinstance(asked, (list, tuple)) else [asked])
        snapshots = max((n for n in budgets if n is not None), default=None)
        if snapshots is not None and snapshots > frames * (1 + 1e-9) >= 1:
            message = f"{snapshots:g} snapshots are asked of a run that saves {int(frames + 1e-9)} frames"
            yield Problem((stage, "snapshots"), message, "take fewer, run longer, or save more often")


def _window(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """See that the shortest run holds the window of lags that is asked for."""
    window = _mapping(raw.get("analyse")).get("window_ps")
    production = plain_number(_mapping(raw.get("transport")).get("production_ps"))
    if not isinstance(window, (list, tuple)) or len(window) != 2 or production is None:
        return
    first, last = (plain_number(value) for value in window)
    if first is None or last is None or not 0.0 < first < last:
        return
    if last > production or first > production / FEWEST_BLOCKS:
        message = f"lags of {first:g} to {last:g} ps do not fit into runs of {production:g} ps"
        hint = f"let the window end at {production:g} and begin at {production / FEWEST_BLOCKS:.3g} or earlier"
        yield Problem(("analyse", "window_ps"), message, hint)


def _lengths(
    place: tuple[str, ...], section: Mapping[str, Any], segment_ps: float | None, every_fs: float
) -> Iterator[Problem]:
    """See that runs have no more segments, and segments no more frames, than can be dealt with."""
    if segment_ps is None or segment_ps <= 0:
        return
    if len(place) == 1 and 1000.0 * segment_ps / every_fs > MAX_FRAMES:
        message = f"a segment of {segment_ps:g} ps saves {1000.0 * segment_ps / every_fs:.3g} frames"
        hint = f"no more than {MAX_FRAMES:,} fit in memory: take shorter segments, or save less often"
        yield Problem((*place, "segment_ps"), message, hint)
    for name, value in section.items():
        length = plain_number(value) if str(name).endswith("_ps") and name != "segment_ps" else None
        if length is not None and length / segment_ps > MAX_SEGMENTS:
            message = f"{length:g} ps in segments of {segment_ps:g} ps are {length / segment_ps:.3g} segments"
            hint = f"no more than {MAX_SEGMENTS:,} are made: take longer segments"
            yield Problem((*place, name), message, hint)


def _is_multiple(value: float, unit: float) -> bool:
    ratio = value / unit
    return ratio > 0.5 and abs(ratio - round(ratio)) < 1e-6 * max(1.0, ratio)

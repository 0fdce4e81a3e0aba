"""A superionic to which a stage was added: the folder beside this file, and one line in STAGES.

Its argument is a campaign file, which it checks, runs in this process and reports.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
LINE = '    Stage("spacing", is_optional=True, calculation="distance"),\n'


def add_the_stage() -> None:
    """Let the package have the folder, and its list of stages the line."""
    import superionic.settings
    import superionic.stages

    superionic.stages.__path__.append(str(HERE))
    file = Path(superionic.settings.__file__).parent / "stages.py"
    source = file.read_text(encoding="utf-8")
    before = '    Stage("select"'
    assert source.count(before) == 1
    listed = ModuleType("superionic.settings.stages")
    sys.modules[listed.__name__] = listed
    exec(compile(source.replace(before, LINE + before), str(file), "exec"), listed.__dict__)


def main(file: Path) -> None:
    """Print what check, run, status, the results, the report's sections and both schemas say, as JSON."""
    from ase.build import bulk

    from superionic import Campaign
    from superionic.campaign.file.reference import reference_markdown
    from superionic.campaign.file.schema import json_schema
    from superionic.report.contents import report_sections
    from superionic.results.document import from_json, to_json
    from superionic.results.document import json_schema as results_schema

    spec = spec_from_file_location("conftest", HERE.parent / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    conftest = module_from_spec(spec)
    spec.loader.exec_module(conftest)
    campaign = Campaign.load(file)
    plan = campaign.check()
    waiting = campaign.status()
    results = campaign.run(executor=conftest.InThisProcess(), write_report=False)
    read = from_json(to_json(results))
    assert read == results
    from superionic.stages.spacing import shortest_A
    from superionic.stages.spacing.result import SpacingResult

    (measured,) = read.further_result(SpacingResult).orderings
    shown = {section.key: section for section in report_sections(read, {}, ())}
    print(
        json.dumps(
            {
                "plan": [line.stage for line in plan.lines],
                "waiting": [stage.state for stage in waiting.stages if stage.stage == "spacing"],
                "status": {stage.stage: [stage.state, stage.done] for stage in campaign.status().stages},
                "workflow": shown["done"].blocks[1].rows,
                "rows": shown["spacing"].blocks[0].rows,
                "shortest_A": measured.shortest_A,
                "shortest_in_bcc_A": shortest_A(bulk("Li", "bcc", a=4.0), "Li"),
                "explained": campaign.explain(measured.key[:12]).record.stage,
                "section": json_schema()["properties"]["spacing"]["anyOf"][0],
                "reference": reference_markdown(),
                "variants": results_schema()["properties"]["further"]["items"],
            }
        )
    )


if __name__ == "__main__":
    add_the_stage()
    main(Path(sys.argv[1]))

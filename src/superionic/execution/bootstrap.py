"""Start a worker in any Python environment: ``python bootstrap.py PACKAGE_FOLDER``.

An engine environment holds the engine's pins and nothing of ours. This file makes the one package ``superionic``
importable there from the folder that the core uses, and no other package of the core's environment, so that both
sides always run the same code and the engine keeps its own versions of everything else.
"""

import importlib.util
import sys
from pathlib import Path


def _provide_superionic(package_folder: str) -> None:
    folder = Path(package_folder)
    # The folder of this very file heads sys.path; its modules must not shadow top-level ones.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    spec = importlib.util.spec_from_file_location(
        "superionic", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"superionic cannot be found in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["superionic"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _provide_superionic(sys.argv[1])
    from superionic.execution.worker import serve

    serve()

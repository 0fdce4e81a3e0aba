from __future__ import annotations

from superionic.execution.energy import joules_between, metered, read_counters
from superionic.execution.ledger import Ledger


def machine(root, **microjoules):
    """Counters as Linux shows them: a package with its cores and memory, and another package."""
    names = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
    }
    for zone, name in names.items():
        (root / zone).mkdir(parents=True, exist_ok=True)
        (root / zone / "name").write_text(name + "\n")
        (root / zone / "max_energy_range_uj").write_text("1000000000\n")
        (root / zone / "energy_uj").write_text(f"{microjoules.get(name.replace('-', '_'), 0)}\n")
    return root


def test_packages_and_memory_count_once_and_cores_are_part_of_packages(tmp_path):
    before = read_counters(machine(tmp_path, package_0=5_000_000, core=4_000_000, dram=1_000_000, package_1=0))
    after = read_counters(machine(tmp_path, package_0=8_000_000, core=6_000_000, dram=1_500_000, package_1=250_000))
    assert joules_between(before, after) == 3.0 + 0.5 + 0.25


def test_a_counter_that_returned_to_zero_goes_on(tmp_path):
    before = read_counters(machine(tmp_path, package_0=999_000_000))
    after = read_counters(machine(tmp_path, package_0=2_000_000))
    assert joules_between(before, after) == 3.0


def test_the_energy_of_a_run_is_in_its_history(tmp_path):
    root = machine(tmp_path / "powercap", package_0=1_000_000)
    with Ledger(tmp_path / "history.jsonl") as ledger:
        assert ledger.energy_J is None
        for end in (41_000_000, 43_000_000):
            with metered(ledger.used_energy, root=root):
                machine(root, package_0=end)
    assert Ledger(tmp_path / "history.jsonl").energy_J == 42.0


def test_a_machine_without_counters_says_so(tmp_path):
    assert "no energy counters" in read_counters(tmp_path / "nothing").reason
    with metered(lambda joules: 1 / 0, root=tmp_path / "nothing"):
        pass

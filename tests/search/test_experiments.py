"""Every spec under experiments/ plans without its data, and says at its top what it claims, costs and is run by."""

import re
from pathlib import Path

import pytest

from amc_platform.search.estimate import cost_of, estimate
from amc_platform.search.plan import Plan, make_plan

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
SPECS = sorted(path.relative_to(EXPERIMENTS) for path in EXPERIMENTS.rglob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without tables, checkpoints and results."""
    monkeypatch.chdir(tmp_path)


def plan(name: str) -> Plan:
    return make_plan(EXPERIMENTS / name, outline=True)


def last(name: str) -> list[str]:
    return [job.identity for job in plan(name).rows[-1].jobs]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_it_plans_without_data(spec: Path) -> None:
    made = plan(str(spec))
    assert made.experiment.name == str(spec.with_suffix(""))
    estimates = estimate(made)
    assert len(estimates) + made.unproposed > 0
    assert all(one.memory_gib > 0 for one in estimates)
    if spec.parts[0] == "paper":
        # Eight A40s of 48 GB hold it, and the cost at its top is what the plan says.
        assert all(one.memory_gib < 44 for one in estimates)
        hours = cost_of(made).device_hours
        said = re.search(r"(\d+) GPU-hours", (EXPERIMENTS / spec).read_text(encoding="utf-8"))
        assert hours is not None
        assert said is None or float(said[1]) == pytest.approx(hours, abs=0.5)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_it_says_what_it_is_for(spec: Path) -> None:
    text = (EXPERIMENTS / spec).read_text(encoding="utf-8")
    if "Not run by itself" in text:
        return
    heads = re.findall(r"^# (\w+):", text, flags=re.MULTILINE)
    needed = ("Claim", "Cost", "Command")
    assert tuple(head for head in heads if head in needed) == needed
    assert f"amc run experiments/{spec}" in text


def test_tables_share_their_trainings() -> None:
    assert last("scenes/table3a.yaml") == last("scenes/table3b.yaml") == last("scenes/effect.yaml")
    ones = ("table1", "table1_referit", "table2", "table3a", "table3b", "table4", "table5")
    assert len({tuple(last(f"paper/{name}.yaml")) for name in ones}) == 1
    folders = {
        plan(f"paper/{name}.yaml").rows[-1].jobs[0].evaluation("test")
        for name in ("table1", "table1_referit", "table2")
    }
    assert len(folders) == 3

"""What the README shows is accepted by the project as it is."""

import re
import shutil
from pathlib import Path

import typer.main

from amc_platform.cli.main import app
from amc_platform.spec.loading import expand_trials

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_its_verbs_exist() -> None:
    shown = set(re.findall(r"\bamc (\w+)(?= experiments| scenes|`)", README))
    assert shown
    assert shown <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_its_experiment_has_the_six_runs_it_promises(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    shutil.copytree(ROOT / "experiments" / "scenes", scenes)
    (spec,) = blocks("yaml")
    path = scenes / "margins.yaml"
    path.write_text(spec, encoding="utf-8")
    trials = expand_trials(path, ())
    assert len(trials) == 6
    assert {trial.experiment.objective.amc.delta_1 for trial in trials} == {0.0, 0.1, 0.3}  # type: ignore[union-attr]


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []

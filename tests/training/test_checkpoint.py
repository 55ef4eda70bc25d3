"""States on disk: written aside, exact, checked when they are read, and nothing of a dead writer left."""

import copy
import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from damage import flipped, torn
from tiny import tiny_model

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_platform.storage import Storage
from amc_platform.training import snapshot
from amc_platform.training.checkpoint import (
    Checkpoints,
    intact,
    load_state,
    newest_intact,
    remove_states,
    sweep,
)
from amc_platform.training.optimizer import make_optimizer

FIRST, SECOND = "step-00000002.pt", "step-00000004.pt"


def trained(steps: int = 1) -> tuple[Albef, torch.optim.Optimizer]:
    """A network whose optimiser has taken some steps, and has moments."""
    model = tiny_model()
    optimizer = make_optimizer(model, 0.1, 0.01)
    for step in range(steps):
        torch.manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
        optimizer.step()
    model.image_queue.fill_(0.5)
    model.queue_ptr_img.fill_(3)
    return model, optimizer


def saved(folder: Path) -> tuple[Albef, torch.optim.Optimizer]:
    """States after 2 and 4 steps, of identity `me`."""
    model, optimizer = trained()
    checkpoints = Checkpoints(folder, "me", 2, Storage(folder, 0, print))
    for step in (2, 4):
        assert checkpoints.save(step, model, optimizer, {}) > 0
    checkpoints.wait()
    checkpoints.close()
    return model, optimizer


def test_a_state_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path)
    path = newest_intact(tmp_path, print)
    assert path is not None
    assert path == tmp_path / SECOND
    assert intact(path)["workers"] == 2
    other, moments = trained(steps=3)
    assert load_state(path, other, moments, "me") == (4, {})
    wanted = model.state_dict()
    assert [name for name, value in other.state_dict().items() if not torch.equal(value, wanted[name])] == []
    ours, theirs = moments.state_dict(), optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    for number, state in theirs["state"].items():
        assert state.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(ours["state"][number][name], value) for name, value in state.items())


def test_what_is_written_is_the_state_at_its_step(tmp_path: Path) -> None:
    model, optimizer = trained()
    wanted = copy.deepcopy(model.state_dict())
    checkpoints = Checkpoints(tmp_path, "me", 1, Storage(tmp_path, 0, print))
    checkpoints.save(2, model, optimizer, {})
    # Training goes on while the file is written.
    for parameter in model.parameters():
        parameter.data.zero_()
    checkpoints.wait()
    checkpoints.close()
    load_state(tmp_path / FIRST, model, optimizer, "me")
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def without_facts(path: Path) -> None:
    path.with_suffix(".json").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (torn, "torn: 5000 bytes of"),
        (flipped, "its checksum is another"),
        (without_facts, "says its checksum"),
    ],
)
def test_a_damaged_state_is_passed_over_saying_so(tmp_path: Path, damage: Any, said: str) -> None:
    saved(tmp_path)
    damage(tmp_path / SECOND)
    told: list[str] = []
    assert newest_intact(tmp_path, told.append) == tmp_path / FIRST
    (line,) = told
    assert said in line
    assert line.startswith(str(tmp_path / SECOND))
    assert line.endswith("the one before it is used")


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path)
    checkpoints = Checkpoints(tmp_path, "me", 1, Storage(tmp_path, 0, print))
    checkpoints.save(6, model, optimizer, {})
    checkpoints.close()
    names = ["step-00000004.json", SECOND, "step-00000006.json", "step-00000006.pt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    remove_states(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_training_or_network_is_refused(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path)
    with pytest.raises(InputError, match="of training me, not of you; remove it"):
        load_state(tmp_path / SECOND, model, optimizer, "you")
    wider = tiny_model(embedding_size=12)
    with pytest.raises(InputError, match=r"does not fit this network \(.*size mismatch"):
        load_state(tmp_path / SECOND, wider, make_optimizer(wider, 0.1, 0.0), "me")


def test_leftovers_of_dead_writers_are_swept(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / ".step-00000006.pt.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / "step-00000006.json").write_text(json.dumps({}))
    assert sweep(tmp_path) == [".step-00000006.pt.0123abcd.tmp", "step-00000006.json"]
    assert newest_intact(tmp_path, print) == tmp_path / SECOND
    assert sweep(tmp_path) == []


def test_a_full_disk_is_said_and_costs_only_the_state_it_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = saved(tmp_path)
    weights = copy.deepcopy(model.state_dict())
    checkpoints = Checkpoints(tmp_path, "me", 1, Storage(tmp_path, 0, print))

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshot.os, "fsync", full)
    checkpoints.save(6, model, optimizer, {})
    with pytest.raises(InputError, match=r"step-00000006.pt: no space left on the device"):
        checkpoints.wait()
    checkpoints.close()
    assert newest_intact(tmp_path, print) == tmp_path / SECOND
    assert sweep(tmp_path) == []
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_real_full_device_raises_its_own_error() -> None:
    with (
        pytest.raises(OSError, match="No space left"),
        snapshot.HashedFile(Path("/dev/full")) as file,
    ):
        file.save({"weights": torch.zeros(100_000)})

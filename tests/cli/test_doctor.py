"""`amc doctor` and `amc export` on real files, and published files in the other verbs."""

import json
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from tiny import tiny_config, tiny_model
from typer.testing import CliRunner, Result

from amc_models.albef import Albef
from amc_models.errors import InputError
from amc_models.published import read_state
from amc_models.weights import load_checkpoint, save_checkpoint
from amc_platform.cli import doctor, explain, export

# The verbs without `amc` itself, whose own options are tested in a process of its own.
app = typer.Typer()
app.command("doctor")(doctor.doctor)
app.command("explain")(explain.explain)
app.command("export")(export.export)


def amc(*arguments: object) -> Result:
    """Run the verb in this process; what `main` says of an InputError is tested with `main`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def network() -> Albef:
    """Heads and heatmap layer as they follow from a published file's shapes; momentum copies of their own."""
    wide = {"vision_width": 64, "vision_heads": 1, "text_width": 64, "text_heads": 1, "gradcam_layer": 2}
    network = tiny_model(**wide).float()
    network.text_proj_m.bias.data += 1
    return network


@pytest.fixture
def published(tmp_path: Path, network: Albef) -> Path:
    save_checkpoint(network, tmp_path / "ours")
    done = amc("export", tmp_path / "ours", "--out", tmp_path / "ALBEF.pth")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'ALBEF.pth'}: written in the layout of albef\n")
    return tmp_path / "ALBEF.pth"


def test_export_and_loading_keep_every_number(published: Path, network: Albef, tmp_path: Path) -> None:
    wanted = network.state_dict()
    for path in (published, tmp_path / "AMC.pth"):
        if path != published:
            assert amc("export", published, "--layout", "amc", "--out", path).exit_code == 0
        found = load_checkpoint(path).state_dict()
        assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []
    names = [set(read_state(path)) for path in (published, tmp_path / "AMC.pth")]
    assert names[0] - names[1] == {"queue_ptr"}
    assert names[1] - names[0] == {"queue_ptr_img", "queue_ptr_txt"}
    assert amc("export", published, "--layout", "bert", "--out", tmp_path / "x").exit_code == 2


def test_a_good_file_is_fine(published: Path) -> None:
    done = amc("doctor", published)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == (
        f"{published}: a network for images of 16 px, 1 image blocks, 1 text and 2 fusion layers, 13 words, queues of 8"
    )
    assert lines[1].split() == ["loaded", "205"]
    assert "  renamed          1  queue_ptr: is queue_ptr_img and queue_ptr_txt here" in lines
    assert lines[-1] == "fine: every key is accounted for"


def test_another_image_size_is_shown(published: Path) -> None:
    done = amc("doctor", published, "--image-size", "32")
    assert done.exit_code == 0, done.output
    names = "visual_encoder.pos_embed, visual_encoder_m.pos_embed"
    assert f"  interpolated     2  {names}: from 4 x 4 to 8 x 8 patches" in done.stdout.splitlines()
    refused = amc("doctor", published, "--image-size", "30")
    assert isinstance(refused.exception, InputError)


def test_json_tells_of_every_key(published: Path) -> None:
    told = json.loads(amc("doctor", published, "--json").stdout)
    state = read_state(published)
    assert told["kind"] == "checkpoint"
    assert told["problem"] == ""
    assert told["config"]["vision_heads"] == 1
    assert [key["key"] for key in told["keys"]] == list(state)
    (renamed,) = [key for key in told["keys"] if key["fate"] == "renamed"]
    assert renamed["key"] == "queue_ptr"


def test_what_is_wrong_is_exit_code_1_with_the_remedy(published: Path) -> None:
    # The tensors are the file, mapped, so they are copied before it is written over.
    state = {key: tensor.clone() for key, tensor in read_state(published).items()}
    torch.save({"model": {**state, "head.weight": torch.zeros(3), "temp": torch.zeros(2)}}, published)
    done = amc("doctor", published)
    assert done.exit_code == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        "wrong: 2 of 213 keys cannot be explained: temp (unfit: float32 [2], not float32 []), head"
    )
    assert last.endswith("; give an unchanged checkpoint, or the config of its network")
    told = amc("doctor", published, "--json")
    assert told.exit_code == 1
    unexplained = [key for key in json.loads(told.stdout)["keys"] if not key["explained"]]
    assert [(key["key"], key["fate"]) for key in unexplained] == [
        ("temp", "unfit"),
        ("head.weight", "unknown"),
    ]


def test_folders_of_ours_and_specs(tmp_path: Path, repository: Path) -> None:
    save_checkpoint(tiny_model(), tmp_path / "ours", momentum=False)
    done = amc("doctor", tmp_path / "ours")
    assert done.exit_code == 0, done.output
    assert "  missing          2  queue_ptr_img, queue_ptr_txt: starts at 0" in done.stdout.splitlines()
    spec = repository / "experiments" / "scenes" / "quickstart.yaml"
    assert amc("doctor", spec).stdout.splitlines()[-1] == "fine: every field is known and of use"
    assert json.loads(amc("doctor", spec, "--json").stdout)["runs"] == 3
    (tmp_path / "wrong.yaml").write_text(f"extends: {spec}\nmodle: {{}}\n")
    refused = amc("doctor", tmp_path / "wrong.yaml").exception
    assert isinstance(refused, InputError)
    assert "wrong.yaml:2: modle: no such field; did you mean model?" in str(refused)


@pytest.mark.parametrize("name", ["gone.pth", "empty"])
def test_unreadable_things_are_wrong_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    assert isinstance(amc("doctor", tmp_path / name).exception, InputError)


def test_a_published_file_explains_a_picture_with_a_vocabulary(published: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.effect_noise((20, 12), 80).convert("RGB").save(picture)
    told: list[str] = []
    for checkpoint, words in (
        (tmp_path / "ours", []),
        (published, ["--vocabulary", tmp_path / "ours" / "vocab.txt"]),
    ):
        out = tmp_path / "explained"
        done = amc("explain", checkpoint, picture, "a red star", "--out", out, *words)
        assert done.exit_code == 0, done.exception
        told.append(done.stdout)
    assert told[0] == told[1]
    without = amc("explain", published, picture, "a red star", "--out", tmp_path / "none").exception
    assert isinstance(without, InputError)
    assert "--vocabulary" in str(without)


def test_tiny_sizes_need_a_config(tmp_path: Path) -> None:
    save_checkpoint(tiny_model(), tmp_path / "ours")
    amc("export", tmp_path / "ours", "--out", tmp_path / "tiny.pth")
    with pytest.raises(InputError, match="a width of 16 is no multiple of 64, so the heads are unknown"):
        load_checkpoint(tmp_path / "tiny.pth")
    assert load_checkpoint(tmp_path / "tiny.pth", tiny_config()).config == tiny_config()

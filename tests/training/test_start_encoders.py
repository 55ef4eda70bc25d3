"""A training that starts from encoders of others: what counts for its identity, and that it needs their files once."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from small_experiment import SIZES, write_experiment
from transformers import BertConfig, BertModel

from amc_models.errors import InputError
from amc_models.tokenizer import Tokenizer
from amc_models.weights import load_checkpoint
from amc_platform.data.prepare import prepare
from amc_platform.data.sources.scenes import VOCABULARY
from amc_platform.search.plan import make_plan
from amc_platform.spec import load_experiment
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.loop import run_trial
from amc_platform.training.start import start_model

NETWORK = "mobilenetv3_small_050"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec whose encoders start from `weights/`, on scenes that are drawn."""
    folder = tmp_path / "weights"
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=37,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "bert")
    Tokenizer.of_words(VOCABULARY).save(folder / "bert" / "vocab.txt")
    save_file(timm.create_model(NETWORK).state_dict(), folder / "seeing.safetensors")
    path = write_experiment(
        tmp_path,
        model={
            **SIZES,
            "stem": "patch",
            "patch_size": 16,
            "vision": {"timm": NETWORK, "weights": str(folder / "seeing.safetensors"), "out_index": 3},
            "text": {"transformers": str(folder / "bert")},
        },
        training={"steps": 2, "lr": 0.001, "lr_min": 0.001, "warmup_steps": 0, "checkpoint_every": 1},
        evaluation={"splits": ["test"], "gallery": 0},
    )
    data = load_experiment(path).data
    assert data.prepare is not None
    prepare(data.prepare, data.table, workers=1)
    return path


def test_the_start_holds_both_and_their_words(spec: Path) -> None:
    model = start_model(load_experiment(spec))
    weights = load_file(spec.parent / "weights" / "seeing.safetensors")
    state = model.state_dict()
    for encoder in ("visual_encoder", "visual_encoder_m"):
        stem = f"{encoder}.patch_embed.network"
        assert torch.equal(state[f"{stem}.conv_stem.weight"], weights["conv_stem.weight"])
    bert = load_file(spec.parent / "weights" / "bert" / "model.safetensors")
    words = state["text_encoder.bert.embeddings.word_embeddings.weight"]
    assert torch.equal(words, bert["embeddings.word_embeddings.weight"])
    assert model.tokenize(["red"])[0].tolist() == [[2, 5 + VOCABULARY.index("red")]]


def test_the_contents_of_the_files_count_for_the_identity(spec: Path) -> None:
    def identity() -> str:
        (job,) = make_plan(spec).jobs
        return job.identity

    first = identity()
    shutil.copytree(spec.parent / "weights", spec.parent / "copy")
    spec.write_text(spec.read_text().replace("/weights/", "/copy/"))
    assert identity() == first
    for name in ("seeing.safetensors", "bert/model.safetensors", "bert/vocab.txt"):
        path = spec.parent / "copy" / name
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        assert identity() != first
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "seeing.safetensors",
            rf"model\.vision\.weights: .* is not there; put the weights of timm's {NETWORK} there",
        ),
        ("bert/config.json", r"model\.text\.transformers: .*config\.json is not there"),
        ("bert/model.safetensors", r"model\.text\.transformers: .* holds no weights"),
        ("bert/vocab.txt", "bert: no vocabulary there"),
    ],
)
def test_a_missing_file_ends_the_plan_before_anything_starts(spec: Path, gone: str, message: str) -> None:
    (spec.parent / "weights" / gone).unlink()
    with pytest.raises(InputError, match=message):
        make_plan(spec)


def test_a_trial_leaves_a_checkpoint_that_needs_no_file_of_others(spec: Path) -> None:
    (job,) = make_plan(spec).jobs
    run_trial(job, WorkerGroup(0, 1, torch.device("cpu")))
    start = load_file(spec.parent / "weights" / "seeing.safetensors")
    shutil.rmtree(spec.parent / "weights")
    assert job.done
    state = load_checkpoint(job.model).state_dict()
    stem = "visual_encoder.patch_embed.network"
    assert not torch.equal(state[f"{stem}.conv_stem.weight"], start["conv_stem.weight"])
    assert torch.equal(state[f"{stem}.bn1.running_var"], start["bn1.running_var"])

"""Where a training starts: our folder, or a published file with its vocabulary; both count for the identity."""

from pathlib import Path

import pytest
import torch
from small_experiment import SIZES, write_experiment

from amc_models.albef import Albef
from amc_models.config import AlbefConfig
from amc_models.errors import InputError
from amc_models.published import export_published
from amc_models.tokenizer import Tokenizer
from amc_platform.data.sources.scenes import VOCABULARY
from amc_platform.search.plan import make_plan
from amc_platform.spec import load_experiment
from amc_platform.training.start import start_model

LINEAR = {**SIZES, "stem": "patch"}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec that starts from `weights.pth`, with the words in `words/`."""
    torch.manual_seed(7)
    sizes = {key: value for key, value in LINEAR.items() if key != "preset"}
    export_published(Albef(AlbefConfig.preset("small", **sizes)), tmp_path / "weights.pth")
    (tmp_path / "words").mkdir()
    Tokenizer.of_words(VOCABULARY).save(tmp_path / "words" / "vocab.txt")
    return write_experiment(
        tmp_path,
        model={**LINEAR, "image_size": 32},
        start_from="weights.pth",
        vocabulary=str(tmp_path / "words"),
        evaluation={"splits": ["test"]},
    )


def test_starts_from_a_published_file(spec: Path) -> None:
    model = start_model(load_experiment(spec))
    torch.manual_seed(7)
    sizes = {key: value for key, value in LINEAR.items() if key != "preset"}
    wanted = Albef(AlbefConfig.preset("small", **sizes))
    assert torch.equal(model.text_proj.weight, wanted.text_proj.weight)
    assert model.config.image_size == 32
    assert model.visual_encoder.pos_embed is not None
    assert model.visual_encoder.pos_embed.shape[1] == 17
    assert model.tokenize(["red"])[0].tolist() == [[2, 5 + VOCABULARY.index("red")]]


def test_a_vocabulary_of_another_size_is_refused(spec: Path) -> None:
    path = spec.parent / "words" / "vocab.txt"
    path.write_text(path.read_text() + "more\n")
    with pytest.raises(InputError, match=r"vocabulary: 38 entries, but the network has 37"):
        start_model(load_experiment(spec))


def test_the_contents_of_file_and_vocabulary_count_for_the_identity(spec: Path) -> None:
    def identity() -> str:
        (job,) = make_plan(spec).jobs
        return job.identity

    before = identity()
    words, weights = spec.parent / "words" / "vocab.txt", spec.parent / "weights.pth"
    original = words.read_text()
    words.write_text(original.replace("red", "rde"))
    assert identity() != before
    words.write_text(original)
    assert identity() == before
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert identity() != before
    weights.unlink()
    with pytest.raises(
        InputError, match=r"start_from: .*weights.pth is not there; name a checkpoint's folder or a"
    ):
        identity()
    (spec.parent / "weights.pth").touch()
    words.unlink()
    with pytest.raises(InputError, match=r"words: no vocabulary there; give a vocab.txt"):
        identity()

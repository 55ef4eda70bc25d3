"""[CLS] and words, no [SEP]; captions cleaned as published."""

import json
from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_models.tokenizer import Tokenizer, clean_caption


def test_cls_words_and_padding_without_sep() -> None:
    tokenizer = Tokenizer.of_words(["a", "red", "star"])
    tokens = tokenizer.batch(["A red star", "star moon"], max_length=4)
    assert tokens.input_ids.tolist() == [[2, 5, 6, 7], [2, 7, 1, 0]]
    assert tokens.attention_mask.tolist() == [[True] * 4, [True, True, True, False]]


def test_word_pieces() -> None:
    tokenizer = Tokenizer.of_words(["red", "##dish"])
    assert tokenizer.batch(["reddish"], max_length=9).input_ids.tolist() == [[2, 5, 6]]


def test_training_cuts_and_evaluation_refuses() -> None:
    tokenizer = Tokenizer.of_words(["a"])
    assert tokenizer.batch(["a a a a"], max_length=3).input_ids.tolist() == [[2, 5, 5]]
    with pytest.raises(InputError, match="text of 5 tokens, the network takes 3"):
        tokenizer.batch(["a a a a"], max_length=3, truncate=False)


def test_vocabulary_round_trip_and_errors(tmp_path: Path) -> None:
    tokenizer = Tokenizer.of_words(["a", "é"])
    tokenizer.save(tmp_path / "vocab.txt")
    assert Tokenizer.load(tmp_path).vocabulary == tokenizer.vocabulary
    with pytest.raises(InputError, match="no vocabulary there"):
        Tokenizer.load(tmp_path / "other.txt")
    with pytest.raises(InputError, match="needs"):
        Tokenizer(["a", "b"])


def test_captions_are_cleaned_as_published(shared_dir: Path) -> None:
    cases = json.loads((shared_dir / "golden" / "eval_cases.json").read_text())["pre_caption"]
    assert len(cases) > 10
    for case in cases:
        assert clean_caption(case["text"], case["max_words"]) == case["out"], case

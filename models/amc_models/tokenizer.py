"""BERT's uncased WordPiece, in the form ALBEF uses: [CLS] and the tokens, without [SEP]."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer as WordPieceTokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor

from amc_models.errors import InputError
from amc_models.vocabulary import read_vocabulary

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def clean_caption(caption: str, max_words: int | None = None) -> str:
    """The published `pre_caption`: lower case, punctuation out, '-' and '/' to spaces, at most `max_words` words."""
    caption = re.sub(r"[,.'!?\"()*#:;~]", "", caption.lower())
    caption = caption.replace("-", " ").replace("/", " ").replace("<person>", "person")
    caption = re.sub(r"\s{2,}", " ", caption).rstrip("\n").strip(" ")
    words = caption.split(" ")
    return caption if max_words is None or len(words) <= max_words else " ".join(words[:max_words])


class TokenBatch(NamedTuple):
    """Token ids padded to the longest text."""

    input_ids: Int[Tensor, "texts length"]
    attention_mask: Bool[Tensor, "texts length"]


class Tokenizer:
    """WordPiece over a given vocabulary; id 0 is padding.

    A text that spells a special token, such as "[MASK]", is read as text: `[`, `mask`, `]`. Published captions are
    lower case before they are split, so there it never was anything else.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
        if missing or vocabulary[0] != "[PAD]":
            raise InputError(
                f"vocabulary: needs [PAD] first and {', '.join(missing) or 'all special tokens'}"
            )
        self.vocabulary = tuple(vocabulary)
        self.ids = {token: index for index, token in enumerate(vocabulary)}
        self._pieces = WordPieceTokenizer(WordPiece(vocab=self.ids, unk_token="[UNK]"))
        self._pieces.normalizer = BertNormalizer(lowercase=True)
        self._pieces.pre_tokenizer = BertPreTokenizer()

    @classmethod
    def of_words(cls, words: Sequence[str]) -> "Tokenizer":
        """A vocabulary of the special tokens and whole words."""
        return cls([*SPECIAL_TOKENS, *words])

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """From a vocabulary file (`vocab.txt`, `tokenizer.json`), or a folder that holds one."""
        return cls(read_vocabulary(path))

    def save(self, path: str | Path) -> None:
        """Write `vocab.txt`."""
        Path(path).write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")

    def batch(
        self, texts: Sequence[str], *, max_length: int, truncate: bool = True, pad: bool = False
    ) -> TokenBatch:
        """[CLS] and tokens of each text, padded to the longest; cut to `max_length` ids or refused beyond it.

        `pad`: to `max_length` whatever the longest is.
        """
        rows = [
            [self.ids["[CLS]"], *e.ids]
            for e in self._pieces.encode_batch(list(texts), add_special_tokens=False)
        ]
        if truncate:
            rows = [row[:max_length] for row in rows]
        length = max((len(row) for row in rows), default=1)
        if length > max_length:
            longest = max(texts, key=len)
            raise InputError(
                f"text of {length} tokens, the network takes {max_length}: {longest[:80]!r}; shorten it"
            )
        length = max_length if pad else length
        input_ids = torch.zeros(len(rows), length, dtype=torch.long)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return TokenBatch(input_ids, torch.arange(length) < lengths[:, None])

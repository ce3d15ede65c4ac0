"""Texts as numbers: characters, or subwords learned from the training text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

TOKENS = ("char", "subword")
DEFAULT_VOCABULARY = 512
# Every byte is a token of its own.
_BYTES = 256


class Characters:
    """Every character is a token; those not in the vocabulary share one.

    Args:
        characters: the vocabulary, each once; the token of a character is its
            place, and the unknown one comes after the last.

    Example:
        >>> tokens = Characters("ab")
        >>> tokens.encode("abc").tolist(), tokens.size
        ([0, 1, 2], 3)
    """

    def __init__(self, characters: Iterable[str]):
        self._characters = list(characters)
        self.size = len(self._characters) + 1
        codes = _codes("".join(self._characters))
        self._order = np.argsort(codes)
        self._codes = codes[self._order]

    @classmethod
    def of(cls, text: str) -> Characters:
        """Returns the characters of a text, in the order of their codes.

        Args:
            text: the training text.
        """
        return cls(map(chr, np.unique(_codes(text)).tolist()))

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of a text, `(characters,)` int32.

        Args:
            text: any.
        """
        codes = _codes(text)
        place = np.searchsorted(self._codes, codes)
        place = np.minimum(place, len(self._codes) - 1)
        known = self._codes[place] == codes
        found = np.where(known, self._order[place], self.size - 1)
        return found.astype(np.int32)

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens; the unknown one is U+FFFD.

        Args:
            tokens: numbers from 0 to `size - 1`.

        Example:
            >>> Characters("ab").decode([1, 0])
            'ba'
        """
        characters = [*self._characters, "\N{REPLACEMENT CHARACTER}"]
        return "".join(characters[int(token)] for token in tokens)

    def unknown(self, text: str) -> str:
        """Returns the characters of a text that are not in the vocabulary.

        Args:
            text: any.
        """
        return "".join(sorted(set(text) - set(self._characters)))

    def to_json(self) -> list[str]:
        """Returns the vocabulary as plain JSON values."""
        return list(self._characters)


class Subwords:
    """Byte pairs joined by frequency; every text has tokens.

    Args:
        values: what `to_json` returned: a file of the `tokenizers` library.

    Raises:
        ValueError: the library is not installed.

    Reference:
        Sennrich et al., Neural Machine Translation of Rare Words with Subword
        Units, 2016, arXiv:1508.07909, section 3.2; on bytes as in Radford et
        al., Language Models are Unsupervised Multitask Learners, 2019.
    """

    def __init__(self, values: dict[str, Any]):
        self._values = values
        library = _library()
        self._tokenizer = library.Tokenizer.from_str(json.dumps(values))
        self.size = self._tokenizer.get_vocab_size()

    @classmethod
    def of(cls, text: str, size: int) -> Subwords:
        """Returns the subwords that a text makes.

        Args:
            text: the training text.
            size: of the vocabulary, 256 bytes among them; a short text may
                give fewer.
        """
        library = _library()
        bytes_of = library.pre_tokenizers.ByteLevel
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = bytes_of(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=sorted(bytes_of.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator([text], trainer)
        return cls(json.loads(tokenizer.to_str()))

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of a text, `(tokens,)` int32.

        Args:
            text: any.
        """
        return np.array(self._tokenizer.encode(text).ids, np.int32)

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens.

        Args:
            tokens: numbers from 0 to `size - 1`.
        """
        return self._tokenizer.decode([int(token) for token in tokens])

    def unknown(self, text: str) -> str:
        """Returns what has no tokens: nothing."""
        return ""

    def to_json(self) -> dict[str, Any]:
        """Returns the file of the `tokenizers` library as JSON values."""
        return self._values


Tokens = Characters | Subwords


def tokens_of(text: str, kind: str, size: int | None) -> Tokens:
    """Returns the tokens of a training text.

    Args:
        text: of which the vocabulary is made.
        kind: "char" or "subword".
        size: of the vocabulary of subwords; 512 if none.

    Example:
        >>> tokens_of("banana", "char", None).to_json()
        ['a', 'b', 'n']
    """
    if kind == "char":
        return Characters.of(text)
    return Subwords.of(text, DEFAULT_VOCABULARY if size is None else size)


def read_tokens(kind: str, vocabulary: Any) -> Tokens:
    """Returns the tokens that a ticket of a language model was trained on.

    Args:
        kind: the entry "tokens" of its `config`.
        vocabulary: the entry "vocabulary".

    Returns:
        What `encode`s a text for the ticket's network and `decode`s its
        tokens.

    Example:
        >>> read_tokens("char", ["a", "b"]).encode("ba").tolist()
        [1, 0]
    """
    check_tokens(kind, None)
    made = Characters if kind == "char" else Subwords
    return made(vocabulary)


def check_tokens(kind: str, size: int | None) -> None:
    """Checks the options of tokens before a text is read.

    Args:
        kind: "char" or "subword".
        size: of the vocabulary of subwords, or None.

    Raises:
        ValueError: an unknown kind, a size that is too small or of no use, or
            the library is not installed.

    Example:
        >>> check_tokens("char", None)
    """
    if kind not in TOKENS:
        raise ValueError(
            f"`tokens` must be one of {', '.join(TOKENS)}. Received: "
            f"tokens={kind!r}. Choose one of these."
        )
    if kind == "char" and size is not None:
        raise ValueError(
            "`vocabulary_size` must be left out for tokens=char, whose "
            f"vocabulary is the text's. Received: vocabulary_size={size}. "
            "Give it with --tokens=subword."
        )
    if size is not None and size <= _BYTES:
        raise ValueError(
            f"`vocabulary_size` must be above the {_BYTES} single bytes. "
            f"Received: vocabulary_size={size}. "
            f"{DEFAULT_VOCABULARY} is the default."
        )
    if kind == "subword":
        _library()


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            "`tokens` must be char where the package tokenizers is not "
            "installed. Received: tokens=subword. Install it with "
            "pip install 'tf_lottery[text]'."
        ) from error
    return tokenizers

"""Texts as examples: windows of tokens whose targets are the next tokens."""

from __future__ import annotations

import dataclasses
import functools
import hashlib

import numpy as np

from tf_lottery import paths
from tf_lottery.data import grammar
from tf_lottery.data import split
from tf_lottery.data import tfds_text
from tf_lottery.data import tokens as tokenizing
from tf_lottery.data.facts import MAX_BYTES
from tf_lottery.data.facts import DataInfo
from tf_lottery.data.facts import DataSet
from tf_lottery.data.facts import Split
from tf_lottery.metric import PERPLEXITY

#: Names of data sets that are text, beside those of TFDS.
TEXTS = ("grammar", "text_file")
SPLITS = ("train", "validation", "test")
# Of a text without parts of its own: contiguous, the last ones.
_CARVED = 0.05
# A token and its target, both int32.
_BYTES_PER_CHARACTER = 8


@dataclasses.dataclass(frozen=True)
class TextSettings:
    """How a text becomes examples.

    Args:
        text_file: a UTF-8 file, for the data set "text_file".
        tokens: "char" or "subword".
        vocabulary_size: of subwords; 512 if none.
        sequence_length: tokens of an example, at least 1.

    Raises:
        ValueError: a value that is out of range, or fits no other.

    Example:
        >>> TextSettings(sequence_length=20).tokens
        'char'
    """

    text_file: str | None = None
    tokens: str = "char"
    vocabulary_size: int | None = None
    sequence_length: int = 50

    def __post_init__(self) -> None:
        tokenizing.check_tokens(self.tokens, self.vocabulary_size)
        if self.sequence_length < 1:
            raise ValueError(
                "`sequence_length` must be at least 1. Received: "
                f"sequence_length={self.sequence_length}. 50 is usual."
            )


@dataclasses.dataclass(frozen=True)
class _Text:
    """The three parts of a text."""

    source: str
    parts: tuple[str, str, str]
    notes: tuple[str, ...] = ()
    digest: str | None = None


def describe(
    name: str,
    settings: TextSettings,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
) -> DataInfo:
    """Returns the metadata of a text, which is read for its vocabulary.

    Args:
        name: "grammar", "text_file", or a TFDS set with a text.
        settings: how it becomes examples.
        data_dir: of TFDS.
        validation_size: sequences, of the beginning of the validation part;
            the default of 5000 is all of it.

    Raises:
        ValueError: the text cannot be read, is too short for one sequence in
            every part, or would exceed 8 GiB as tokens.
        RuntimeError: a TFDS set cannot be downloaded.

    Example:
        >>> info = describe("grammar", TextSettings())
        >>> info.input_shape, info.noun, info.metric.name
        ((50,), 'sequences', 'perplexity')
    """
    return load(
        name, settings, data_dir=data_dir, validation_size=validation_size
    ).info


def load(
    name: str,
    settings: TextSettings,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
) -> DataSet:
    """Returns a text as windows of tokens: train, validation and test.

    Of the tokens t the example i is `x = t[i L : (i + 1) L]` and its targets
    `y = t[i L + 1 : (i + 1) L + 1]`, with L the sequence length; what is left
    at the end is dropped. The vocabulary is that of the training part.

    Args:
        name: as in `describe`.
        settings: as in `describe`.
        data_dir: as in `describe`.
        validation_size: as in `describe`.

    Raises:
        ValueError: as in `describe`.
        RuntimeError: as in `describe`.

    Example:
        >>> data = load("grammar", TextSettings())
        >>> data.train.x.shape, data.train.y.dtype
        ((4499, 50), dtype('int32'))
        >>> bool((data.test.x[:, 1:] == data.test.y[:, :-1]).all())
        True
    """
    text = _read(name, settings, data_dir)
    tokens, encoded = _encode(
        text.parts, settings.tokens, settings.vocabulary_size
    )
    length = settings.sequence_length
    splits = dict(zip(SPLITS, (windows(part, length) for part in encoded)))
    for part, examples in splits.items():
        if not examples.size:
            raise ValueError(
                "`sequence_length` must leave a sequence in every part of the "
                f"text. Received: sequence_length={length}, and the {part} "
                f"part of dataset={name!r} is too short for it. Choose a "
                "smaller length or a longer text."
            )
    splits["validation"] = _first(splits["validation"], validation_size)
    info = DataInfo(
        name=name,
        source=text.source,
        input_shape=(length,),
        num_classes=tokens.size,
        train_size=splits["train"].size,
        validation_size=splits["validation"].size,
        test_size=splits["test"].size,
        scale=1.0,
        notes=text.notes + _notes(tokens, text),
        noun="sequences",
        metric=PERPLEXITY,
        tokens=settings.tokens,
        vocabulary=tokens.to_json(),
        tokens_per_character={
            part: len(found) / len(characters)
            for part, found, characters in zip(SPLITS, encoded, text.parts)
        },
        digest=text.digest,
    )
    return DataSet(info, **splits)


def windows(tokens: np.ndarray, length: int) -> Split:
    """Returns the windows of a text, side by side, and their next tokens.

    Args:
        tokens: `(n,)` integers.
        length: of a window.

    Returns:
        A `Split` of `(n - 1) // length` examples.

    Example:
        >>> split = windows(np.arange(8), 3)
        >>> split.x.tolist(), split.y.tolist()
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    count = max(0, (len(tokens) - 1) // length)
    end = count * length
    return Split(
        tokens[:end].reshape(count, length),
        tokens[1 : end + 1].reshape(count, length),
    )


# A run describes its data first, and loads them later.
@functools.lru_cache(maxsize=2)
def _encode(
    parts: tuple[str, ...], kind: str, size: int | None
) -> tuple[tokenizing.Tokens, list[np.ndarray]]:
    tokens = tokenizing.tokens_of(parts[0], kind, size)
    encoded = [tokens.encode(part) for part in parts]
    for array in encoded:
        array.setflags(write=False)
    return tokens, encoded


def _first(examples: Split, size: int) -> Split:
    if size == split.DEFAULT_VALIDATION_SIZE:
        return examples
    if size > examples.size:
        raise ValueError(
            f"`validation_size` must be at most {examples.size}, the sequences"
            f" of the validation text. Received: validation_size={size}. "
            "Leave it out for all."
        )
    return Split(examples.x[:size], examples.y[:size])


def _notes(tokens: tokenizing.Tokens, text: _Text) -> tuple[str, ...]:
    strange = tokens.unknown(text.parts[1] + text.parts[2])
    if not strange:
        return ()
    return (
        f"{len(strange)} character(s) of the validation and test text are not "
        f"in the training text, such as {strange[0]!r}: they are one unknown "
        "token",
    )


def _read(name: str, settings: TextSettings, data_dir: str | None) -> _Text:
    if name == "grammar":
        return _Text("embedded grammar", _carve(grammar.text()))
    if name == "text_file":
        return _read_file(settings.text_file or "")
    source, found = tfds_text.texts(name, data_dir)
    notes: tuple[str, ...] = ()
    parts = [found.get(part) for part in SPLITS]
    if parts[2] is None and parts[1] is not None:
        parts[1:] = [None, parts[1]]
        notes += ("no test split: the validation split serves as test",)
    whole = parts[0] or ""
    if parts[2] is None:
        notes += ("no test split: the last 5 % of train serve as test",)
        return _Text(source, _carve(whole), notes)
    if parts[1] is None:
        end = len(whole) - round(_CARVED * len(whole))
        parts[:2] = [whole[:end], whole[end:]]
        notes += ("no validation split: the last 5 % of train serve as one",)
    return _Text(source, (parts[0] or "", parts[1] or "", parts[2]), notes)


def _carve(text: str) -> tuple[str, str, str]:
    """Contiguous parts: 90 % train, 5 % validation, 5 % test."""
    carved = round(_CARVED * len(text))
    end = len(text) - 2 * carved
    return text[:end], text[end : end + carved], text[end + carved :]


def _read_file(path: str) -> _Text:
    if not paths.is_file(path):
        raise ValueError(
            "`text_file` must be a file. Received: "
            f"text_file={path!r}, which is none. Correct the path."
        )
    size = paths.size_of(path) * _BYTES_PER_CHARACTER
    if size > MAX_BYTES:
        raise ValueError(
            "`text_file` must fit into 8 GiB as tokens. Received: "
            f"text_file={path!r}, which may take {size / 2**30:.1f} GiB. Take "
            "a part of it."
        )
    with paths.open_read(path) as file:
        content = file.read()
    try:
        # Without the mark that some editors put before the text.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            "`text_file` must be UTF-8 text. Received: "
            f"text_file={path!r}, whose byte {error.start} is none. Convert "
            "the file."
        ) from error
    if not text:
        raise ValueError(
            "`text_file` must have a text. Received: "
            f"text_file={path!r}, which is empty. Give another file."
        )
    digest = hashlib.sha256(content).hexdigest()
    # Without its name: elsewhere it is the same text, and a run goes on.
    source = f"text file, SHA-256 {digest[:12]}"
    return _Text(source, _carve(text), digest=digest)

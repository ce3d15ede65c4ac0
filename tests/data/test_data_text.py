"""Texts as windows of tokens: sources, parts, and what is refused."""

import hashlib
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_lottery.data import TextSettings
from tf_lottery.data import describe
from tf_lottery.data import grammar
from tf_lottery.data import load
from tf_lottery.data import per_class
from tf_lottery.data import read_tokens
from tf_lottery.data.text import windows
from tf_lottery.metric import PERPLEXITY


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "a.txt"

    def write(text, **how):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return TextSettings(text_file=str(path), **how)

    return write


def _builder(name, splits):
    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "text": tfds.features.Text(),
                        "label": tfds.features.ClassLabel(num_classes=2),
                    }
                )
            )

        def _split_generators(self, dl_manager):
            return {k: self._examples(v) for k, v in splits.items()}

        def _examples(self, texts):
            for i, text in enumerate(texts):
                yield i, {"text": text, "label": 0}

        def _generate_examples(self):
            raise NotImplementedError

    Builder.name = name
    return Builder


SETS = {
    "text_full": {
        "train": ["ab", "cd"] * 9, "validation": ["b" * 9], "test": ["a" * 7]
    },
    "text_no_test": {"train": ["abc" * 40], "validation": ["cab" * 3]},
    "text_only_train": {"train": ["abcd" * 50]},
    "text_no_validation": {"train": ["ab" * 50], "test": ["b" * 10]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tfds.disable_progress_bar()
    path = str(tmp_path_factory.mktemp("tfds"))
    for name, splits in SETS.items():
        _builder(name, splits)(data_dir=path).download_and_prepare()
    return path


def decoded(data):
    """What the three splits say, sequence after sequence."""
    tokens = read_tokens(data.info.tokens, data.info.vocabulary)
    return [
        tokens.decode(split.x.ravel())
        for split in (data.train, data.validation, data.test)
    ]


def test_windows_lie_side_by_side_and_targets_are_the_next_tokens():
    found = windows(np.arange(10, dtype=np.int32), 3)
    assert found.x.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert found.y.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    # The last token of all has no successor.
    assert windows(np.arange(9), 3).size == 2
    assert windows(np.arange(3), 3).size == windows(np.arange(0), 3).size == 0


def test_a_file_is_divided_in_contiguous_parts(text_file):
    text = "".join(chr(97 + i % 26) for i in range(200))
    settings = text_file(text, sequence_length=3)
    data = load("text_file", text_settings=settings)
    assert decoded(data) == [text[:177], text[180:189], text[190:199]]
    info = data.info
    assert (info.input_shape, info.num_classes, info.scale) == ((3,), 27, 1.0)
    assert (info.noun, info.metric, info.is_text) == (
        "sequences", PERPLEXITY, True
    )
    assert info.digest == hashlib.sha256(text.encode()).hexdigest()
    assert info.source == f"text file, SHA-256 {info.digest[:12]}"
    assert describe("text_file", text_settings=settings) == info
    assert data.train.x.dtype == data.train.y.dtype == np.int32


def test_the_mark_before_a_text_is_none_of_it(text_file):
    settings = text_file(b"\xef\xbb\xbf" + b"ab" * 90, sequence_length=3)
    data = load("text_file", text_settings=settings)
    assert data.info.vocabulary == ["a", "b"]
    assert decoded(data)[0].startswith("aba")


def test_a_character_that_training_lacks_is_unknown_and_told(text_file):
    text = "ab" * 90 + "a\N{SNOWMAN}" * 5 + "é" * 10
    data = load("text_file", text_settings=text_file(text, sequence_length=4))
    assert data.info.vocabulary == ["a", "b"]
    assert data.info.num_classes == 3
    assert set(data.validation.y.ravel()) == {0, 2}
    assert set(data.test.x.ravel()) == {2}
    (note,) = data.info.notes
    assert note.startswith("2 character(s) of the validation and test text")
    assert decoded(data)[2] == "\N{REPLACEMENT CHARACTER}" * 8


def test_validation_can_be_its_beginning(text_file):
    settings = text_file("abcde" * 40, sequence_length=3)
    whole = load("text_file", text_settings=settings)
    assert whole.validation.size == 3
    some = load("text_file", text_settings=settings, validation_size=2)
    assert np.array_equal(some.validation.y, whole.validation.y[:2])
    with pytest.raises(ValueError, match="at most 3, .*validation_size=4"):
        describe("text_file", text_settings=settings, validation_size=4)


@pytest.mark.parametrize(
    "name, parts, notes",
    [
        # Texts are joined by newlines; TFDS shuffles them when it writes.
        ("text_full", [r"(ab|cd)(\n(ab|cd)){16}\n[ac]", "b{8}", "a{6}"], 0),
        ("text_no_test", ["(abc){37}a", "abca", "(cab){2}ca"], 2),
        ("text_only_train", ["(abcd){44}ab", "[abcd]{8}", "[abcd]{8}"], 1),
        ("text_no_validation", ["(ab){47}", "baba", "b{8}"], 1),
    ],
)
def test_texts_of_tfds(name, parts, notes, folder):
    data = load(
        name, data_dir=folder, text_settings=TextSettings(sequence_length=2)
    )
    assert data.info.source == f"TFDS {name}/1.0.0"
    for said, pattern in zip(decoded(data), parts, strict=True):
        assert re.fullmatch(pattern, said), said
    assert len(data.info.notes) == notes


def test_the_grammar_is_what_it_was():
    digest = hashlib.sha256(grammar.text().encode()).hexdigest()
    assert digest.startswith("3664edebd839f362")
    assert len(grammar.text()) == 250_000
    assert describe("grammar").num_classes == 33


def test_sentences_of_the_grammar_are_well_formed():
    for line in grammar.text().splitlines()[:-1]:
        opened = []
        for character in line:
            if character in "([{":
                opened.append(character)
            elif character in ")]}":
                assert opened.pop() + character in ("()", "[]", "{}")
        assert not opened and line.endswith(".")
    # The verb agrees with its noun.
    plain = re.findall(r"^(?:this|a|every) [a-z]+ ([a-z]+)\.$",
                       grammar.text(), re.M)
    assert plain and all(verb.endswith("s") for verb in plain)
    plain = re.findall(r"^(?:some|these|many) [a-z]+s ([a-z]+)\.$",
                       grammar.text(), re.M)
    assert plain and not any(verb.endswith("s") for verb in plain)


def test_a_plain_draw_of_sequences_where_there_are_no_classes():
    train = load("grammar").train
    x, y = per_class(train, 7, seed=3)
    assert x.shape == y.shape == (7, 50)
    assert np.array_equal(x[:, 1:], y[:, :-1])
    assert not np.array_equal(x, per_class(train, 7, seed=4)[0])


def refused(match, name="text_file", **how):
    with pytest.raises(ValueError, match=match):
        describe(name, **how)


def test_what_no_text_is_made_of_is_refused(text_file, tmp_path, monkeypatch):
    refused("`text_file` must be given for this data set", "text_file")
    settings = TextSettings(text_file=str(tmp_path / "none"))
    refused("must be a file. Received: text_file=.*no", text_settings=settings)
    settings = text_file(b"abc\xff")
    refused("must be UTF-8 text. .* byte 3 is", text_settings=settings)
    for nothing in (b"", b"\xef\xbb\xbf"):
        settings = text_file(nothing)
        refused("must have a text. .*is empty", text_settings=settings)
    settings = text_file("abc")
    refused("`sequence_length` must leave .*the train part",
            text_settings=settings)
    refused("must be left out for this data set. Received: dataset='grammar'",
            "grammar", text_settings=settings)
    monkeypatch.setattr("tf_lottery.data.text.MAX_BYTES", 23)
    refused("must fit into 8 GiB as tokens", text_settings=settings)


@pytest.mark.parametrize(
    "name", ["grammar:a", "grammar:0-4", "text_file:b", "text_full:a"]
)
def test_parts_of_a_text_are_refused(name, folder):
    refused(f"the whole of a text. Received: dataset='{name}'", name,
            data_dir=folder)


def test_too_large_a_text_of_tfds_is_refused_before_reading(
    folder, monkeypatch
):
    from tf_lottery.data import tfds_text

    tfds_text.texts.cache_clear()
    monkeypatch.setattr(tfds_text, "MAX_BYTES", 100)
    refused("8 GiB as tokens. Received: dataset='text_full'", "text_full",
            data_dir=folder)


@pytest.mark.parametrize(
    "how, match",
    [
        (dict(sequence_length=20), "`sequence_length` must be left out for im"),
        (dict(tokens="subword"), "`tokens` must be left out for images"),
    ],
)
def test_options_of_text_are_refused_for_images(how, match):
    refused(match, "digits", text_settings=TextSettings(**how))

"""Characters and subwords: vocabularies, and there and back again."""

import builtins

import numpy as np
import pytest

from tf_lottery.data import TextSettings
from tf_lottery.data import read_tokens
from tf_lottery.data.tokens import Characters
from tf_lottery.data.tokens import Subwords

TEXT = "the cat sees the cats; «the cat» sees\nthe \U0001f408. " * 20


def test_characters_are_numbered_by_their_codes():
    tokens = Characters.of("ba\U0001f408b")
    assert tokens.to_json() == ["a", "b", "\U0001f408"]
    assert tokens.size == 4
    found = tokens.encode("\U0001f408bax")
    assert found.tolist() == [2, 1, 0, 3] and found.dtype == np.int32
    assert tokens.decode(found) == "\U0001f408ba\N{REPLACEMENT CHARACTER}"
    assert tokens.unknown("axyx") == "xy"


def test_a_vocabulary_in_another_order_keeps_its_numbers():
    assert Characters("ca").encode("acb").tolist() == [1, 0, 2]


def test_subwords_are_there_and_back_again():
    pytest.importorskip("tokenizers")
    tokens = Subwords.of(TEXT, 270)
    assert tokens.size == 270
    for text in (TEXT, "never seen: ü\x00\t"):
        found = tokens.encode(text)
        assert found.dtype == np.int32 and 0 <= found.min()
        assert found.max() < tokens.size
        assert tokens.decode(found) == text
    # "the" and "cat" have become tokens: fewer than characters.
    assert len(tokens.encode(TEXT)) < 0.8 * len(TEXT)
    assert tokens.to_json() == Subwords.of(TEXT, 270).to_json()
    again = read_tokens("subword", tokens.to_json())
    assert np.array_equal(again.encode(TEXT), tokens.encode(TEXT))
    assert tokens.unknown("ü") == ""


@pytest.mark.parametrize(
    "how, match",
    [
        (dict(tokens="word"), "one of char, subword. Received: tokens='word'"),
        (dict(vocabulary_size=300), "must be left out for tokens=char"),
        (
            dict(tokens="subword", vocabulary_size=256),
            "above the 256 single bytes. Received: vocabulary_size=256",
        ),
        (dict(sequence_length=0), "at least 1. Received: sequence_length=0"),
    ],
)
def test_wrong_options_are_refused(how, match):
    with pytest.raises(ValueError, match=match):
        TextSettings(**how)


def test_without_the_library_subwords_say_what_to_install(monkeypatch):
    load = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "tokenizers":
            raise ImportError
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r"pip install 'tf_lottery\[text\]'"):
        TextSettings(tokens="subword")

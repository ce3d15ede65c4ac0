"""A text of sentences drawn from a grammar: offline, and the same for good."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

LENGTH = 250_000
# Fixed for good: another value would change the text of every run.
_SEED = 20190606
# How deep clauses and brackets are nested in each other.
_DEPTH = 3

_NOUNS = tuple(
    (noun, f"{noun}s")
    for noun in (
        "cat", "dog", "king", "farmer", "teacher", "river", "lamp", "sailor",
        "garden", "letter", "doctor", "bird", "tower", "queen", "miller",
        "road",
    )
)
_ADJECTIVES = (
    "old", "small", "green", "quiet", "tall", "clever", "broken", "young",
)
_ALONE = tuple(
    (f"{verb}s", verb)
    for verb in ("sleep", "wait", "sing", "fall", "smile", "return")
)
_WITH_OBJECT = tuple(
    (f"{verb}s", verb)
    for verb in (
        "see", "follow", "paint", "hear", "remember", "like", "help", "find",
    )
)
_WITH_CLAUSE = (("says", "say"), ("thinks", "think"), ("knows", "know"))
_ARTICLES = (("the", "a", "every", "this"), ("the", "some", "many", "these"))
_BRACKETS = ("()", "[]", "{}")


@functools.cache
def text() -> str:
    """Returns the text: one sentence a line, 250,000 characters.

    Sentences come from a probabilistic context-free grammar with what a
    language model can learn step by step: words; verbs that agree in number
    with a noun, over relative clauses of other nouns in between; clauses in
    clauses; and brackets of three kinds that close in the order in which they
    were opened. The draws are raw ones of NumPy's Philox, which never change.

    Example:
        >>> text().splitlines()[2]
        'the queens follow the teachers that wait.'
    """
    draws = iter(np.random.Philox(_SEED).random_raw(LENGTH).tolist())
    lines, size = [], 0
    while size < LENGTH:
        number = next(draws) % 2
        words = [*_subject(draws, number, 0), *_predicate(draws, number, 0)]
        lines.append(" ".join(words) + ".")
        size += len(lines[-1]) + 1
    return "\n".join(lines)[:LENGTH]


def _one_of(draws: Iterator[int], choices: Sequence) -> Any:
    # The smaller of two draws: the first words are the most frequent.
    return choices[min(next(draws) % len(choices), next(draws) % len(choices))]


def _subject(draws: Iterator[int], number: int, depth: int) -> list[str]:
    words = [_one_of(draws, _ARTICLES[number])]
    if next(draws) % 4 == 0:
        words.append(_one_of(draws, _ADJECTIVES))
    words.append(_one_of(draws, _NOUNS)[number])
    if depth < _DEPTH:
        kind = next(draws) % 10
        if kind < 2:
            words += ["that", *_predicate(draws, number, depth + 1)]
        elif kind < 4:
            other = next(draws) % 2
            words += ["that", *_subject(draws, other, depth + 1)]
            words.append(_one_of(draws, _WITH_OBJECT)[other])
        elif kind < 6:
            left, right = _one_of(draws, _BRACKETS)
            inner = _subject(draws, next(draws) % 2, depth + 1)
            inner[0], inner[-1] = left + inner[0], inner[-1] + right
            words += inner
    return words


def _predicate(draws: Iterator[int], number: int, depth: int) -> list[str]:
    kind = next(draws) % 10
    if kind < 3 or depth > _DEPTH:
        return [_one_of(draws, _ALONE)[number]]
    if kind < 8 or depth == _DEPTH:
        other = next(draws) % 2
        verb = _one_of(draws, _WITH_OBJECT)[number]
        return [verb, *_subject(draws, other, depth + 1)]
    other = next(draws) % 2
    return [
        _one_of(draws, _WITH_CLAUSE)[number], "that",
        *_subject(draws, other, depth + 1),
        *_predicate(draws, other, depth + 1),
    ]

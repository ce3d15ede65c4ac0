"""The record of how a rewind step was chosen: files and words."""

import json

import pytest

from tf_lottery import report

CHOICE = {
    "chosen": 8, "barrier": 0.05, "stable": False, "stable_below": 0.02,
    "split": "validation", "replicate": 0, "analysis": "run",
    "candidates": [
        {"step": 0, "barrier": 0.1}, {"step": 8, "barrier": 0.05},
    ],
}


def test_it_is_read_as_it_was_written(tmp_path):
    assert report.read_choice(tmp_path) is None
    report.write_choice(tmp_path, CHOICE)
    assert report.read_choice(tmp_path) == CHOICE


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null",
        json.dumps({**CHOICE, "chosen": "8"}),
        json.dumps({**CHOICE, "candidates": [{"step": 1}]}),
        json.dumps({**CHOICE, "candidates": 3}),
        json.dumps(CHOICE)[:-9],
    ],
)
def test_altered_it_is_told(tmp_path, text):
    (tmp_path / "rewind.json").write_text(text)
    with pytest.raises(ValueError, match="is truncated or altered"):
        report.read_choice(tmp_path)


def test_words_say_where_no_step_is_stable():
    told = report.choice_text(CHOICE)
    assert "no step is stable, and the last one tried is taken, step 8" in told
    assert "barrier of validation error not below 2%" in told
    assert "Tried: 0 (10.00%), 8 (5.00%)." in told
    assert told.endswith("name a later --rewind.")

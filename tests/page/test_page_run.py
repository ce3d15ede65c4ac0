"""A run directory as the report reads it."""

import pytest

from tf_lottery import page
from tf_lottery.results import load_results
from tf_lottery.sweep import run
from tf_lottery.tickets import Key


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    results = run(
        levels=2, train_steps=20, eval_every=10, replicates=2,
        branches="reinit", branch_levels="1",
        output_dir=str(tmp_path_factory.mktemp("runs")), quiet=True,
    )
    return page.Run(results.run_dir, "a", {}, load_results(results.run_dir))


def test_keys_are_by_replicate_then_level(found):
    assert found.replicates == [0, 1]
    assert found.keys() == [
        Key(replicate, "main", level)
        for replicate in (0, 1) for level in (0, 1, 2)
    ]
    assert found.keys("reinit") == [Key(0, "reinit", 1), Key(1, "reinit", 1)]
    assert found.keys("rewound") == []


def test_a_ticket_is_found_by_its_key(found):
    keys = [key for key in found.keys() if key.replicate == 1]
    kept = [found.ticket(key).mask.kept for key in keys]
    assert kept == [50_200, 40_260, 32_298]


def test_metrics_are_numbers_by_step_and_split(found):
    rows = found.metrics(Key(0, "main", 1))
    assert [row["step"] for row in rows if row["split"] == "test"] == [
        0, 10, 20,
    ]
    (last,) = (
        row for row in rows if (row["step"], row["split"]) == (20, "test")
    )
    (row,) = (
        row for row in found.rows
        if (row["replicate"], row["branch"], row["level"]) == (0, "main", 1)
    )
    assert last["accuracy"] == row["test_accuracy"]


@pytest.mark.parametrize("text", ["step,split,loss\nx,test,1\n", "step\n1,2,3"])
def test_metrics_that_are_damaged_are_said_to_be(found, text, tmp_path):
    broken = page.Run(str(tmp_path), "a", {}, found.results)
    folder = tmp_path / "replicate_0" / "main" / "level_01"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match="truncated or altered"):
        broken.metrics(Key(0, "main", 1))

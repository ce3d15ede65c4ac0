"""How often the verdict is wrong, and right, where the truth is planted."""

import numpy as np

from tf_lottery.analysis import judge

EXPERIMENTS = 4000
# Two standard errors of a rate of 5 % over so many experiments.
SLACK = 2 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)


def draw(generator, gain, over_reinit, replicates, sd=0.003, size=None):
    """Rows of one experiment with one level, of these true differences.

    Replicates share an initialisation, which moves all their networks; with
    a `size` accuracies are counts of hits.
    """
    base = generator.normal(0.95, 0.005, replicates)
    own = generator.normal(0.0, sd, (3, replicates))
    means = np.array([[0.0], [gain], [gain - over_reinit]])
    accuracies = base + means + own
    if size:
        accuracies = np.round(accuracies * size) / size
    return [
        {
            "replicate": i, "branch": branch, "level": level,
            "density": 0.2 if level else 1.0,
            "test_accuracy": accuracies[n, i], "early_stop_step": 100,
            "early_stop_censored": False,
        }
        for n, (branch, level) in enumerate(
            (("main", 0), ("main", 1), ("reinit", 1))
        )
        for i in range(replicates)
    ]


def rates(gain, over_reinit, replicates=5, count=EXPERIMENTS, **how):
    generator = np.random.default_rng(1)
    found = [
        judge(draw(generator, gain, over_reinit, replicates, **how)).primary
        for _ in range(count)
    ]
    words = [one.verdict for one in found]
    share = {word: words.count(word) / count for word in set(words)}
    share["initialisation"] = np.mean([one.shown("reinit") for one in found])
    return share


def test_a_ticket_like_its_control_rarely_wins():
    # Far above dense, so that the control alone decides; the test is exact.
    share = rates(0.03, 0.0)
    assert share["winning"] <= 0.05 + SLACK
    assert share["winning"] >= 0.03
    assert share["initialisation"] == share["winning"]


def test_coarse_accuracies_never_make_it_more_often():
    # Of 360 images, a step of 0.28 pp: about one standard deviation.
    share = rates(0.03, 0.0, 3, 2000, size=360)
    assert share["winning"] <= 0.05


def test_a_ticket_at_the_edge_of_the_margin_rarely_matches():
    share = rates(-0.002, 0.03)
    assert share["winning"] + share.get("matching", 0) <= 0.05 + SLACK
    assert share["no ticket"] <= 0.05 + SLACK
    # On the edge neither is there to be found.
    assert share["undecided"] > 0.85


def test_a_true_ticket_is_found():
    # 0.5 pp above dense, 1 pp above reinit, at sd 0.42 of a difference.
    three, eight = (rates(0.005, 0.01, n, 500) for n in (3, 8))
    assert 0.4 < three["winning"] < eight["winning"]
    assert eight["winning"] > 0.98
    assert eight.get("no ticket", 0) == 0


def test_a_true_loss_is_found():
    share = rates(-0.015, 0.005, count=500)
    assert share["no ticket"] > 0.98


def test_the_other_levels_together_are_rarely_wrong():
    # Four more levels on the edge of the margin, each 5 % by itself.
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(1000):
        rows = draw(generator, 0.0, 0.0, 5)
        dense = [row["test_accuracy"] for row in rows[:5]]
        for level in range(2, 6):
            own = generator.normal(-0.002, 0.004, 5)
            rows += [
                {
                    **rows[5 + i], "level": level, "density": 0.2 / level,
                    "test_accuracy": dense[i] + own[i],
                }
                for i in range(5)
            ]
        others = judge(rows).levels[1:]
        wrong += any(one.verdict != "undecided" for one in others)
    # "Matching" and "no ticket" are both wrong on the edge, each a family.
    assert wrong / 1000 <= 2 * 0.05 + 2 * np.sqrt(0.1 * 0.9 / 1000)

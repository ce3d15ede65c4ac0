"""Claims of appendices B and G of Frankle and Carbin (2019).

Rules are those of `tf_lottery.claims.main_body`. Of each sweep the settings
are here that its claims need.
"""

from __future__ import annotations

from tf_lottery.claims.claim import Claim
from tf_lottery.claims.figure import Figure
from tf_lottery.claims.main_body import LENET
from tf_lottery.claims.measures import Network
from tf_lottery.claims.measures import better
from tf_lottery.claims.measures import sooner

_TRIALS = {**LENET, "replicates": 3}
_TO_21 = {**_TRIALS, "levels": 7}


def _strategies() -> Figure:
    def pair(percent: float) -> tuple[Network, Network]:
        return (
            Network("lenet", percent),
            Network("continued", percent, "rewound"),
        )

    return Figure(
        "Resetting against continued training: appendix B",
        {
            "lenet": {**_TRIALS, "levels": 15},
            "continued": {
                **_TRIALS, "levels": 15, "retrain": "continue",
                "branches": ("rewound",), "branch_levels": (7, 11, 15),
            },
        },
        (
            Claim(
                "Resetting in every round gives more accurate tickets",
                "more accurate to smaller sizes",
                [better(*pair(p), low=0) for p in (8.68, 3.58)],
                note="The paper shows validation accuracy at early stop; "
                "this is test accuracy there.",
            ),
            Claim(
                "And tickets that reach their early stop sooner",
                "sooner to smaller sizes",
                [sooner(*pair(p), high=1) for p in (8.68, 3.58)],
            ),
        ),
    )


def _adam() -> Figure:
    rates = {"adam_2e-4": 2e-4, "lenet": 1.2e-3, "adam_2e-3": 2e-3}

    def ticket(name: str) -> Network:
        return Network(name, 21.1)

    return Figure(
        "Learning rates of Adam: appendix G",
        {
            name: {**_TO_21, "learning_rate": rate}
            for name, rate in rates.items()
        },
        (
            Claim(
                "At every rate the 21.1 % ticket reaches its early stop "
                "sooner than dense",
                "at all",
                [sooner(ticket(n), Network(n), high=1) for n in rates],
            ),
            Claim(
                "At every rate it is more accurate there",
                "at all",
                [better(ticket(n), Network(n), low=0) for n in rates],
            ),
            Claim(
                "Tickets are as accurate at 2e-4 to 2e-3 (within 0.3 pp)",
                "similar",
                [
                    better(ticket(n), ticket("lenet"), low=-0.003, high=0.003)
                    for n in rates
                    if n != "lenet"
                ],
            ),
            Claim(
                "And fastest at 1.2e-3 and 2e-3",
                "fastest",
                [
                    sooner(ticket(n), ticket("adam_2e-4"), high=1)
                    for n in rates
                    if n != "adam_2e-4"
                ],
            ),
        ),
    )


def _sgd() -> Figure:
    return Figure(
        "SGD of learning rate 0.8 against Adam: appendix G",
        {
            "lenet": {**_TRIALS, "levels": 15},
            "sgd": {
                **_TRIALS, "levels": 21, "optimizer": "sgd",
                "learning_rate": 0.8, "momentum": 0,
            },
        },
        (
            Claim(
                "Tickets of 21.1 % learn as fast as with Adam (at most a "
                "quarter more steps)",
                "as fast",
                [
                    sooner(
                        Network("sgd", 21.1), Network("lenet", 21.1), high=1.25
                    )
                ],
            ),
            Claim(
                "Tickets hold to below 1 % of the weights (not 0.2 pp below "
                "dense)",
                "below 1 %; 3.6 % with Adam",
                [better(Network("sgd", 0.962), Network("sgd"), low=-0.002)],
            ),
        ),
    )


def _rates() -> Figure:
    return Figure(
        "Fractions pruned in a round: appendix G",
        {
            "lenet": {**_TRIALS, "levels": 15},
            "rate_0.4": {**_TRIALS, "levels": 6, "prune_rate": 0.4},
            "rate_0.8": {**_TRIALS, "levels": 2, "prune_rate": 0.8},
        },
        (
            Claim(
                "Small tickets are more accurate by rounds of 0.2 than of "
                "0.4 and more",
                "much more accurate",
                [
                    better(
                        Network("lenet", 4.47), Network("rate_0.4", 4.75),
                        low=0,
                    ),
                    better(
                        Network("lenet", 3.58), Network("rate_0.8", 4.12),
                        low=0,
                    ),
                ],
                note="That of rounds of 0.2 is the smaller of the two.",
            ),
        ),
    )


def _initialisation() -> Figure:
    ticket, dense = Network("normal", 21.1), Network("normal")
    return Figure(
        "Gaussian initialisation: appendix G",
        {
            "lenet": _TO_21,
            "normal": {**_TO_21, "init": "random_normal"},
        },
        (
            Claim(
                "With a Gaussian initialisation the 21.1 % ticket reaches "
                "its early stop sooner than dense",
                "as with Glorot's",
                [sooner(ticket, dense, high=1)],
                note="Standard deviation 0.05, that of Keras' RandomNormal; "
                "the paper's best is about 0.1.",
            ),
            Claim(
                "And is as accurate as with Glorot's (within 0.3 pp)",
                "about equal",
                [
                    better(
                        ticket, Network("lenet", 21.1), low=-0.003, high=0.003
                    )
                ],
            ),
        ),
    )


def _sizes() -> Figure:
    large, small = Network("lenet"), Network("small")
    return Figure(
        "Sizes of the network: appendix G",
        {
            "lenet": {**_TRIALS, "levels": 14},
            "small": {**_TRIALS, "levels": 9, "model": "lenet_100_34"},
        },
        (
            Claim(
                "Of as many weights the larger network's ticket is more "
                "accurate",
                "more accurate",
                [
                    better(
                        Network("lenet", 6.95), Network("small", 26.3), low=0
                    )
                ],
                note="18,506 weights of LeNet-300-100 against 21,624 of "
                "LeNet-100-34.",
            ),
            Claim(
                "Whatever the size, accuracy is back at dense with 9,000 to "
                "15,000 weights",
                "9,000 to 15,000",
                [
                    better(one, dense, low=-0.002, high=0.002)
                    for one, dense in (
                        (Network("lenet", 4.47), large),
                        (Network("small", 13.5), small),
                    )
                ],
                note="11,892 and 11,112 weights.",
            ),
        ),
    )


APPENDIX = {
    "lenet_strategies": _strategies(),
    "lenet_adam": _adam(),
    "lenet_sgd": _sgd(),
    "lenet_rates": _rates(),
    "lenet_init": _initialisation(),
    "lenet_sizes": _sizes(),
}

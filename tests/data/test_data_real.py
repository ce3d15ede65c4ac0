"""MNIST and CIFAR-10 through TFDS, where they are on this machine."""

import os

import numpy as np
import pytest

from tf_lottery.data import load


# Real data, read whole: for time.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "channel_mean", "sizes"),
    [
        ("mnist", (28, 28, 1), [0.1307], (55_000, 5000, 10_000)),
        (
            "cifar10",
            (32, 32, 3),
            [0.4914, 0.4822, 0.4465],
            (45_000, 5000, 10_000),
        ),
    ],
)
def test_real_sets(name, shape, channel_mean, sizes):
    folder = os.environ.get("TFDS_DATA_DIR", "")
    if not os.path.isdir(os.path.join(folder, name)):
        pytest.skip(f"TFDS_DATA_DIR holds no {name}")
    data = load(name)
    assert data.info.input_shape == shape
    assert (data.train.size, data.validation.size, data.test.size) == sizes
    mean = data.train.x.mean(axis=(0, 1, 2)) * data.info.scale
    # Published means of the whole training set; a JPEG mirror of CIFAR-10
    # is off by 0.005, leaving out a random tenth by less.
    assert mean == pytest.approx(channel_mean, abs=0.01)
    assert np.bincount(data.test.y).sum() == 10_000

"""Tickets that are not trained, through the command."""

import csv
import shutil
import sys

import numpy as np

import tf_lottery as tfl
from tf_lottery import data

FLAGS = (
    "--target_sparsity=0.8,0.95", "--train_steps=60it", "--eval_every=20it",
    "--jit=off", "--seed=7",
)


def rows_of(folder):
    (run,) = folder.iterdir()
    with open(run / "results.csv", newline="") as file:
        return run, list(csv.DictReader(file))


def test_scores_are_trained_after_a_control(command, tmp_path):
    """A control's mask is in place when what trains scores is made."""
    flags = [
        "--method=edge_popup", *FLAGS, f"--output_dir={tmp_path}",
        "--train_steps=20it", "--replicates=2", "--branches=reinit",
        "--scope=uniform", "--rescale=sqrt",
    ]
    assert command(*flags).status == 0
    run, _ = rows_of(tmp_path)
    before = (run / "results.csv").read_text()
    shutil.rmtree(run / "replicate_0/reinit/level_02")
    shutil.rmtree(run / "replicate_1/main/level_01")
    done = command(*flags)
    assert done.status == 0, done.err

    def columns(text):
        return [
            [v for k, v in row.items() if "seconds" not in k]
            for row in csv.DictReader(text.splitlines())
        ]
    assert columns((run / "results.csv").read_text()) == columns(before)


def test_controls_of_strong_tickets_have_their_factors(command, tmp_path):
    done = command(
        "--method=edge_popup", *FLAGS, "--target_sparsity=0.75",
        "--scope=uniform", "--rescale=dwr", "--train_steps=20it",
        "--branches=rewound,shuffle_mask,reinit", f"--output_dir={tmp_path}",
    )
    assert done.status == 0, done.err
    assert "no weight was trained" in done.out
    assert "explains" not in done.out and "is called winning" in done.out
    run, _ = rows_of(tmp_path)
    start, rewound, shuffled, reinit = (
        tfl.Ticket.load(run / f"replicate_0/{name}/ticket").rewind
        for name in (
            "main/level_01", "rewound/level_01", "shuffle_mask/level_01",
            "reinit/level_01",
        )
    )
    dense = tfl.Ticket.load(run / "replicate_0/main/level_00/ticket").rewind
    for path in (p for p in dense if p.endswith("/kernel")):
        assert np.array_equal(rewound[path], start[path])
        kept = shuffled[path] != 0
        assert np.array_equal(shuffled[path][kept], 4 * dense[path][kept])
        size = np.abs(reinit[path]).max() / np.abs(dense[path]).max()
        assert 3 < size < 5


def test_normalisation_follows_a_supermask(tmp_path):
    """Its moving statistics are of the masked network, not of another."""
    (tmp_path / "my_net.py").write_text(
        "import keras\n"
        "def net(input_shape, num_classes):\n"
        "    x = inputs = keras.Input(input_shape)\n"
        "    x = keras.layers.Dense(64)(keras.layers.Flatten()(x))\n"
        "    x = keras.layers.BatchNormalization(name='norm')(x)\n"
        "    x = keras.layers.Dense(num_classes)(keras.layers.ReLU()(x))\n"
        "    return keras.Model(inputs, x)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        results = tfl.run(
            model="my_net:net", method="supermask", target_sparsity=(0.5,),
            train_steps=20, quiet=True, output_dir=str(tmp_path / "runs"),
            jit="off",
        )
    finally:
        sys.path.remove(str(tmp_path))
    ticket = tfl.Ticket.load(
        f"{results.run_dir}/replicate_0/main/level_01/ticket"
    )
    network = ticket.build_model(weights="trained")
    x = data.load("digits").train.x[:1000].astype("float32")
    x *= ticket.config["input_scale"]
    dense = network.layers[2]
    outputs = np.asarray(dense(x.reshape(len(x), -1)))
    norm = network.get_layer("norm")
    assert np.allclose(norm.moving_mean, outputs.mean(0), atol=0.02)
    assert np.allclose(norm.moving_variance, outputs.var(0), rtol=0.1)
    assert results.rows[1]["train_steps"] == 0
    assert results.rows[1]["early_stop_censored"] is False

"""GradualPruning against the TensorFlow Model Optimization toolkit."""

import importlib.util
import json
import textwrap

import pytest

# A process of its own: importing the toolkit warns, and switches tf.keras to
# the old Keras for all that comes after.
SCRIPT = """
    import json, sys
    import keras
    import numpy as np
    import tf_lottery as tfl
    from tf_lottery import schedules
    import tensorflow_model_optimization as tfmot
    import tf_keras

    theirs = tfmot.sparsity.keras
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 6)).astype("float32")
    y = rng.integers(0, 3, 48)
    # 7 and 12 are due; an epoch ends after 6, 12 and 18.
    decay = dict(initial_sparsity=0.1, final_sparsity=0.8, begin_step=2,
                 end_step=17, frequency=5)
    late = dict(initial_sparsity=0.0, final_sparsity=0.9, begin_step=0,
                end_step=18, frequency=6)
    constant = dict(target_sparsity=0.7, begin_step=3, frequency=4)
    pairs = {
        "decay": (schedules.PolynomialDecay(**decay),
                  theirs.PolynomialDecay(**decay)),
        "late": (schedules.PolynomialDecay(**late),
                 theirs.PolynomialDecay(**late)),
        "constant": (schedules.ConstantSparsity(**constant),
                     theirs.ConstantSparsity(**constant)),
    }

    def layers(kind):
        return [kind.Input((6,)), kind.layers.Dense(8, activation="relu"),
                kind.layers.Dense(3)]

    start = keras.Sequential(layers(keras)).get_weights()

    def ours(schedule):
        model = tfl.mask_model(keras.Sequential(layers(keras)))
        for layer, i in zip(model.layers, (0, 2)):
            raw = layer.raw_kernel()
            raw.assign(start[i])
            layer.bias.assign(start[i + 1])
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_"
                      "crossentropy", jit_compile=False)
        counts = []

        class Count(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                mask = tfl.get_mask(self.model)
                counts.append(list(mask.kept_by_path.values()))

        model.fit(x, y, 8, 3, 0, shuffle=False, callbacks=[
            tfl.callbacks.GradualPruning(schedule), Count()])
        masks = tfl.get_mask(model).values()
        return counts, [mask.tolist() for mask in masks]

    def wrapper(schedule):
        model = tf_keras.Sequential(layers(tf_keras))
        model.set_weights(start)
        model = theirs.prune_low_magnitude(model, schedule)
        model.compile(tf_keras.optimizers.SGD(0.1), "sparse_categorical_"
                      "crossentropy")
        counts = []

        class Count(tf_keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                counts.append([int(mask.numpy().sum())
                               for layer in self.model.layers
                               for _, mask, _ in layer.pruning_vars])

        model.fit(x, y, 8, 3, 0, shuffle=False, callbacks=[
            theirs.UpdatePruningStep(), Count()])
        return counts

    def curve(schedule):
        found = [schedule(step) for step in range(25)]
        return [[bool(due), float(s)] for due, s in found]

    result = {}
    for name, (own, other) in pairs.items():
        result[name] = dict(curves=[curve(own), curve(other)],
                            own=ours(own), other=ours(other),
                            wrapper=wrapper(other))
    print(json.dumps(result))
"""
CURVES = ["decay", "late", "constant"]


@pytest.fixture(scope="module")
def compared(python, tmp_path_factory):
    for name in ("tensorflow_model_optimization", "tf_keras"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    script = tmp_path_factory.mktemp("tfmot") / "compare.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = python(script)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_its_schedules_are_the_same_curves(compared, name):
    own, other = compared[name]["curves"]
    assert [due for due, _ in own] == [due for due, _ in other]
    # Theirs are float32.
    assert [s for _, s in own] == pytest.approx([s for _, s in other], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_its_schedules_prune_alike(compared, name):
    assert compared[name]["own"] == compared[name]["other"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_its_wrapper_has_the_same_sparsity_at_every_epoch_end(compared, name):
    counts, _ = compared[name]["own"]
    theirs = compared[name]["wrapper"]
    assert len(counts) == len(theirs) == 3
    assert counts[0] != counts[2] or name == "constant"
    for own, other in zip(counts, theirs):
        assert all(abs(a - b) <= 1 for a, b in zip(own, other))

"""What no task is made of, and what its functions must not do."""

import itertools

import keras
import numpy as np
import pytest

import tf_lottery as tfl


def build(seed):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden))


def train(model, **how):
    return {"test_cost": 1.0}


def task(train=train, **changes):
    values = dict(
        name="toy", build=build, train=train,
        metric=tfl.Metric("cost", higher_is_better=False), train_steps=4,
    )
    return tfl.Task(**{**values, **changes})


@pytest.fixture
def run(tmp_path):
    def run(*arguments, build=build, **changes):
        values = dict(
            levels=2, quiet=True, report=False, output_dir=str(tmp_path),
        )
        made = task(*arguments, build=build)
        return tfl.run(task=made, **{**values, **changes})

    return run


@pytest.mark.parametrize(
    "returned, message",
    [
        (None, r"a number 'test_cost'\. Received: None at level 0"),
        (0.5, r"a dict with a number 'test_cost'\. Received: 0.5 at level 0"),
        ({"test_cost": "0.5"}, "a number 'test_cost'"),
        ({"test_cost": float("inf")}, "finite number .* Received: inf at lev"),
        ({"test_cost": 1, "val_cost": "x"}, "'val_cost' must be a number wh"),
        ({"test_cost": 1, "train_steps": np.inf}, "_steps' must be a whole"),
        ({"test_cost": 1, "train_steps": -3}, "'train_steps' must be a whole"),
        ({"test_cost": 1, "train_examples": 1.5}, "_examples' must be a whol"),
        ({"test_cost": 1, "early_stop_step": 2}, "must not return 'early_sto"),
        (
            {"test_cost": 1, "evaluations": [{"step": 1.5, "split": "test"}]},
            "`evaluations` must",
        ),
        ({"cost": 1.0}, "a number 'test_cost'"),
        ({"test_cost": "low"}, "a number 'test_cost'"),
        ({"test_cost": float("nan")}, "Received: nan at level 0"),
        ({"test_cost": 1, "evaluations": [{"step": 1}]}, "`evaluations` must"),
        (
            {"test_cost": 1, "evaluations": [
                {"step": 1, "split": "test", "cost": "x"},
            ]},
            "`evaluations` must",
        ),
    ],
)
def test_what_a_training_function_must_return(run, returned, message):
    with pytest.raises(RuntimeError, match=message):
        run(lambda model, **how: returned)


def test_what_is_compared_by_ratio_is_positive(tmp_path):
    cost = tfl.Metric("cost", higher_is_better=False, ratio=True)
    with pytest.raises(RuntimeError, match="above 0, .* Received: 0.0 at lev"):
        tfl.run(
            task=task(lambda model, **how: {"test_cost": 0.0}, metric=cost),
            quiet=True, output_dir=str(tmp_path),
        )


def test_a_training_function_may_not_prune(run):
    def train(model, *, level, **how):
        mask = tfl.get_mask(model)
        tfl.prune(model, 0.5)
        assert tfl.get_mask(model) != mask
        return {"test_cost": 1.0}

    with pytest.raises(RuntimeError, match="must leave the mask as it is"):
        run(train)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"name": ""}, ValueError, "`name` must be a text"),
        ({"name": 3}, ValueError, "`name` must be a text"),
        ({"name": "x" * 101}, ValueError, "`name` must be at most 100"),
        ({"name": "a\nb"}, ValueError, "`name` must be at most .* printable"),
        ({"build": lambda: 1}, TypeError, r"`build` must be .* \(seed\)"),
        (
            {"train": lambda model, level: {}}, TypeError,
            r"`train` must be a function of \(model, level, seed, start_step\)",
        ),
        ({"build": None}, TypeError, "`build` must be a function"),
        ({"train": 1}, TypeError, "`train` must be a function"),
        ({"metric": "cost"}, TypeError, "`metric` must be a tf_lottery.Met"),
        ({"train_steps": 0}, ValueError, "`train_steps` must be an integer"),
        ({"train_steps": 1.5}, ValueError, "`train_steps` must be an integer"),
        ({"train_steps": True}, ValueError, "`train_steps` must be an integ"),
        ({"unit": 3}, TypeError, "`unit` must be a word"),
        ({"settings": {"a": build}}, ValueError, "`settings` must be plain"),
        ({"settings": {"a": float("nan")}}, ValueError, "`settings` must be"),
    ],
)
def test_what_is_no_task_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        task(**changes)


def test_a_task_is_asked_for(tmp_path):
    with pytest.raises(TypeError, match="`task` must be a tf_lottery.Task"):
        tfl.run(task=tfl.Task, output_dir=str(tmp_path))
    with pytest.raises(TypeError, match=r"`config` must .* run\(task=task\)"):
        tfl.run(task(), output_dir=str(tmp_path))


def test_a_training_that_takes_no_rewind_step_is_refused_before(run):
    def train(model, *, level, seed, start_step):
        raise AssertionError("trained")

    with pytest.raises(TypeError, match="of .*, at_rewind_step.*Received"):
        run(train, rewind="2it")


def weights_of(numbers):
    def build_anew(seed):
        model = build(seed)
        model.layers[1].kernel.assign(np.full((4, 5), next(numbers)))
        for weight in model.weights[2:]:
            weight.assign(np.ones(weight.shape))
        return model

    return build_anew


def test_weights_that_no_seed_gives_are_refused(run):
    with pytest.raises(ValueError, match="same weights for the same seed"):
        run(build=weights_of(itertools.count()))


def test_weights_that_are_the_same_for_every_seed(run, capsys):
    how = dict(build=weights_of(itertools.repeat(1)), quiet=False, levels=1)
    with pytest.raises(ValueError, match="without random_mask, which need"):
        run(branches="shuffle_mask,random_mask", **how)
    assert "start alike" not in capsys.readouterr().err
    run(branches="shuffle_mask", replicates=2, **how)
    assert "All replicates start alike, as `build`" in capsys.readouterr().err


def test_what_is_no_model_is_refused(tmp_path):
    for made in (None, keras.Sequential([keras.layers.Dense(1)])):
        with pytest.raises(TypeError, match="`build` must return a built"):
            tfl.run(
                task=task(build=lambda seed: made), levels=0, quiet=True,
                output_dir=str(tmp_path),
            )


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(2)

    def call(self, inputs):
        return self.out(inputs)


def test_export_of_what_tickets_do_not_describe_is_refused_at_once(run):
    def build(seed):
        model = Net()
        model(np.zeros((1, 4), "float32"))
        return model

    def train(model, **how):
        raise AssertionError("trained")

    with pytest.raises(ValueError, match="`export` must .* a Net.* apply_to"):
        run(train, build=build, export="last")


def test_a_name_is_as_long_as_a_folder_may_be():
    """A character may take several bytes there."""
    with pytest.raises(ValueError, match="must be at most 100 bytes of pr"):
        task(name="\u6f22" * 34)
    assert task(name="\u6f22" * 33) and task(name="a" * 100)

"""Weights on a path: by hand and by enumeration."""

import itertools

import keras
import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.graph import check_paths
from tf_lottery.graph import effective_mask
from tf_lottery.layers import named_variables

layers = keras.layers


def dense(units, name, **kwargs):
    return layers.Dense(units, name=name, **kwargs)


def mlp(*sizes, activation="tanh"):
    """Layers a, b, c ... of these sizes."""
    x = y = keras.Input((sizes[0],))
    for n, name in zip(sizes[1:], "abcdefgh"):
        y = dense(n, name, activation=activation)(y)
    return keras.Model(x, y)


def check(model, shown, **masks):
    """The report on masks by layer; the effective ones must be `shown`."""
    ones = {
        path: np.ones(v.shape, bool)
        for path, v in named_variables(model).items()
        if path.endswith(("kernel", "embeddings"))
    }
    mask = Mask(
        {**ones, **{f"{k}/kernel": np.array(m) for k, m in masks.items()}}
    )
    report = check_paths(model, mask)
    for name, expected in shown.items():
        found = report.mask[f"{name}/kernel"].astype(int)
        assert found.reshape(np.shape(expected)).tolist() == expected, name
    return report


class TestMlp:
    def test_all(self):
        report = check(mlp(2, 2, 1), {"a": [[1, 1], [1, 1]], "b": [[1], [1]]})
        assert not (report.is_cut or report.empty or report.dead_units)
        assert str(report) == "effective density 100 % of 100 %"

    def test_a_unit_without_inputs_and_one_without_outputs(self):
        report = check(
            mlp(2, 3, 2),
            {"a": [[1, 0, 0], [0, 0, 0]], "b": [[1, 1], [0, 0], [0, 0]]},
            a=[[1, 0, 1], [0, 0, 0]],
            b=[[1, 1], [1, 1], [0, 0]],
        )
        assert report.dead_units == {"a": 2} and not report.is_cut
        assert (report.density, report.effective_density) == (0.5, 0.25)
        assert str(report) == (
            "2 dead units in a; effective density 25 % of 50 %"
        )

    def test_an_empty_layer_cuts(self):
        report = check(
            mlp(2, 2, 1), {"a": [[0, 0]] * 2, "b": [[0], [0]]}, b=[[0], [0]]
        )
        assert report.is_cut and report.cut_by == report.empty == ("b/kernel",)
        assert report.dead_units == {"a": 2, "b": 1}
        assert str(report) == (
            "an output does not depend on the input: cut by b/kernel; "
            "b/kernel is empty; 2 dead units in a, 1 dead unit in b; "
            "effective density 0 % of 66.7 %"
        )

    def test_every_empty_layer_in_a_row_cuts(self):
        report = check(
            mlp(2, 2, 2, 1), {}, a=[[0, 0]] * 2, c=[[0], [0]]
        )
        assert report.cut_by == ("a/kernel", "c/kernel")

    def test_layers_that_do_not_meet_cut(self):
        """Neither is empty."""
        report = check(mlp(1, 2, 1), {}, a=[[1, 0]], b=[[0], [1]])
        assert report.is_cut and not report.empty
        assert report.cut_by == ("b/kernel",)
        assert report.effective_density == 0

    def test_a_dead_output_is_no_cut(self):
        report = check(
            mlp(1, 2, 2), {"a": [[1, 0]]}, b=[[1, 0], [0, 0]]
        )
        assert not report.is_cut and report.dead_units == {"a": 1, "b": 1}


@pytest.mark.parametrize("seed", range(25))
def test_enumeration_of_all_paths(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, rng.integers(3, 6)).tolist()
    activation = ("relu", "tanh", "softmax", "sigmoid")[seed % 4]
    model = mlp(*sizes, activation=activation)
    shapes = zip("abcdefgh", sizes, sizes[1:])
    masks = {k: rng.random(s) < 0.45 for k, *s in shapes}
    used = {k: np.zeros(m.shape, int) for k, m in masks.items()}
    for path in itertools.product(*map(range, sizes)):
        steps = list(zip(masks, path, path[1:]))
        if all(masks[k][i, j] for k, i, j in steps):
            for k, i, j in steps:
                used[k][i, j] = 1
    report = check(model, {k: m.tolist() for k, m in used.items()}, **masks)
    last = used[max(used)]
    assert report.is_cut is not bool(last.any())


class TestJoins:
    def residual(self):
        x = keras.Input((2,))
        y = dense(2, "in")(x)
        h = layers.add([dense(2, "skipped")(y), y])
        return keras.Model(x, dense(1, "out")(h))

    def test_an_empty_layer_beside_a_skip_does_not_cut(self):
        report = check(
            self.residual(), {"in": [[1, 1]] * 2, "skipped": [[0, 0]] * 2},
            skipped=[[0, 0]] * 2,
        )
        assert not report.is_cut and report.cut_by == ()
        assert report.empty == ("skipped/kernel",)
        assert report.dead_units == {"skipped": 2}

    def test_only_what_cuts_by_itself_is_named(self):
        report = check(
            self.residual(), {}, skipped=[[0, 0]] * 2, out=[[0], [0]]
        )
        assert report.cut_by == ("out/kernel",)
        assert report.empty == ("skipped/kernel", "out/kernel")

    def test_concatenation(self):
        x = keras.Input((1,))
        y = layers.concatenate([dense(1, "a")(x), dense(2, "b")(x)])
        model = keras.Model(x, dense(1, "out")(y))
        report = check(
            model, {"a": [[0]], "b": [[0, 1]], "out": [[0], [0], [1]]},
            out=[[0], [0], [1]],
        )
        assert report.dead_units == {"a": 1, "b": 1}

    def test_a_product_has_a_path_through_either(self):
        x = keras.Input((1,))
        model = keras.Model(x, dense(1, "a")(x) * dense(1, "b")(x) * 2.0)
        check(model, {"a": [[0]], "b": [[1]]}, a=[[0]])

    def test_operations_keep_entries_apart(self):
        x = keras.Input((2,))
        y = dense(3, "a")(x) + dense(3, "b")(x) / 2.0
        y = keras.ops.concatenate([y[:, 1:], y[:, :1]], axis=1)
        model = keras.Model(x, dense(1, "out")(keras.ops.relu(y)))
        rows = [[0, 0, 1]] * 2
        report = check(
            model, {"a": rows, "b": rows}, out=[[0], [1], [0]],
        )
        assert report.dead_units == {"a": 2, "b": 2}

    def test_a_shared_layer(self):
        """On a path in one of its calls."""
        x = keras.Input((2,))
        shared = dense(2, "shared", activation="relu")
        model = keras.Model(x, dense(1, "out")(shared(shared(x))))
        # Out reads unit 1; in the second call that reads unit 0, which in the
        # first reads input 0; the second call's own input 1 is not used.
        report = check(
            model, {"shared": [[1, 1], [0, 0]]},
            shared=[[1, 1], [0, 0]], out=[[0], [1]],
        )
        # Each unit is in use in one of the calls.
        assert report.dead_units == {}
        check(
            model, {"shared": [[0, 0], [0, 1]]},
            shared=[[1, 0], [1, 1]], out=[[0], [1]],
        )

    def test_a_nested_model(self):
        inner = mlp(2, 2, 2)
        x = keras.Input((2,))
        model = keras.Model(x, dense(1, "out")(inner(inner(x))))
        paths = [p for p in named_variables(model) if p.endswith("kernel")]
        masks = ([[1, 0], [1, 0]], [[1, 0], [1, 1]], [[1], [0]])
        found = effective_mask(model, Mask(dict(zip(paths, masks))))
        assert [m.astype(int).tolist() for m in found.values()] == [
            [[1, 0], [1, 0]], [[1, 0], [0, 0]], [[1], [0]]
        ]

    def test_several_outputs(self):
        x = keras.Input((1,))
        model = keras.Model(x, [dense(1, "a")(x), dense(1, "b")(x)])
        report = check(model, {"a": [[1]], "b": [[0]]}, b=[[0]])
        assert report.is_cut and report.cut_by == ("b/kernel",)


class TestConvolutions:
    def model(self, pool=layers.MaxPooling2D):
        x = keras.Input((4, 4, 1))
        y = layers.Conv2D(2, 3, padding="same", activation="relu",
                          name="conv")(x)
        y = layers.Dropout(0.5)(pool(2)(layers.BatchNormalization()(y)))
        y = dense(1, "out", activation="softmax")(layers.Flatten()(y))
        return keras.Model(x, y)

    @pytest.mark.parametrize(
        "pool", [layers.MaxPooling2D, layers.AveragePooling2D]
    )
    def test_all_places_of_a_pool_are_used(self, pool):
        """The last place of both channels, three of four pools unread."""
        out = np.zeros((2, 2, 2, 1))
        out[1, 1, 0] = 1
        conv = np.ones((3, 3, 1, 2))
        used = conv * [1, 0]
        report = check(
            self.model(pool),
            {"conv": used.tolist(), "out": out.reshape(8, 1).tolist()},
            conv=conv.astype(bool), out=out.reshape(8, 1).astype(bool),
        )
        assert report.dead_units == {"conv": 1}

    def test_a_kernel_that_meets_the_border_only(self):
        """At the one place that is read its first row lies outside."""
        x = keras.Input((3, 3, 1))
        y = layers.Conv2D(1, 3, padding="same", name="conv")(x)
        model = keras.Model(x, dense(1, "out")(layers.Flatten()(y)))
        out = [[1]] + [[0]] * 8
        check(
            model, {"conv": [[0, 0, 0], [0, 1, 1], [0, 1, 1]], "out": out},
            out=np.array(out, bool),
        )

    def test_channels_do_not_mix_in_normalisation(self):
        x = keras.Input((4, 2))
        y = layers.Conv1D(2, 1, name="conv")(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.GlobalMaxPooling1D()(y)
        model = keras.Model(x, dense(1, "out")(y))
        check(
            model, {"conv": [[1, 0], [1, 0]], "out": [[1], [0]]},
            out=[[1], [0]],
        )


class TestOthers:
    def test_what_is_not_looked_into_passes_everything_on(self):
        x = keras.Input((5, 4))
        y = layers.LSTM(3, name="lstm")(x)
        y = layers.LayerNormalization()(y)
        model = keras.Model(x, dense(2, "out")(y))
        mask = get_mask(mask_model(model))
        lstm = [k for k in mask if "lstm" in k]
        some = {k: m.copy() for k, m in mask.items()}
        for m in some.values():
            m[0] = False
        report = check_paths(model, Mask(some))
        for path in lstm:
            assert np.array_equal(report.mask[path], some[path])
        assert report.dead_units == {}
        some["out/kernel"][:] = False
        report = check_paths(model, Mask(some))
        assert report.is_cut and report.mask.kept == 0

    def test_a_look_up(self):
        x = keras.Input((3,), dtype="int32")
        y = layers.Embedding(4, 2, name="table")(x)
        model = keras.Model(x, dense(1, "out")(layers.Flatten()(y)))
        table = np.array([[1, 0], [1, 1], [0, 0], [1, 1]], bool)
        # Of three places, each of two features: the first feature, once.
        out = np.array([[0], [0], [1], [0], [0], [0]], bool)
        mask = Mask({"table/embeddings": table, "out/kernel": out})
        report = check_paths(model, mask)
        assert np.array_equal(
            report.mask["table/embeddings"], table & [True, False]
        )
        assert report.dead_units == {"table": 1}

    def test_open_sizes(self):
        x = keras.Input((None, 2))
        y = layers.Conv1D(2, 3, padding="same", name="conv")(x)
        model = keras.Model(x, layers.GlobalMaxPooling1D()(y))
        mask = Mask.ones({"conv/kernel": (3, 2, 2)})
        with pytest.raises(ValueError, match="^`input_shape` must be given"):
            check_paths(model, mask)
        assert check_paths(model, mask, input_shape=(5, 2)).mask == mask
        # At one place only the middle of the kernel meets the input.
        one = check_paths(model, mask, input_shape=(1, 2)).mask["conv/kernel"]
        assert one.any(axis=(1, 2)).tolist() == [False, True, False]

    def test_kernels_that_are_not_pruned_count_as_whole(self):
        model = mask_model(mlp(2, 2, 1), exclude="b/*")
        set_mask(model, {"a/kernel": [[1, 0], [0, 0]]})
        report = check_paths(model)
        assert list(report.mask) == ["a/kernel"]
        assert report.mask.kept == 1 and report.dead_units == {"a": 1}

    def test_refused(self):
        class Own(keras.Model):
            def call(self, x):
                return x

        with pytest.raises(ValueError, match="^`model` must be Sequential"):
            check_paths(Own(), Mask.ones({"a": (1,)}))
        with pytest.raises(ValueError, match="^`mask` must be given"):
            check_paths(mlp(2, 1))
        with pytest.raises(ValueError, match="unknown: z/kernel"):
            check_paths(mlp(2, 1), Mask.ones({"z/kernel": (2, 1)}))
        with pytest.raises(ValueError, match="other shape: a/kernel"):
            check_paths(mlp(2, 1), Mask.ones({"a/kernel": (2, 2)}))

    def test_sequential_and_long_lists(self):
        model = keras.Sequential([keras.Input((1,))])
        for i in range(5):
            model.add(dense(2, f"d{i}"))
        mask = {
            path: np.zeros(v.shape, bool)
            for path, v in named_variables(model).items()
            if path.endswith("kernel")
        }
        report = check_paths(model, Mask(mask))
        assert len(report.empty) == len(report.cut_by) == 5
        name = model.name
        assert f"{name}/d2/kernel and 2 more are empty; 2 dead" in str(report)

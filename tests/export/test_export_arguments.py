"""What an export cannot do is refused before anything is written."""

import keras
import numpy as np
import pytest

from tf_lottery.export import export
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import strip_masks

X = np.random.default_rng(0).normal(size=(50, 20)).astype("float32")


def network():
    x = keras.Input((20,))
    return keras.Model(x, keras.layers.Dense(5)(x))


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"formats": ["onnx"]}, "formats"),
        ({"formats": "tflite"}, "formats"),
        ({"formats": []}, "formats"),
        ({"form": "int4"}, "form"),
        ({"form": "int8"}, "samples"),
        ({"form": "float16", "formats": ["keras"]}, "form"),
        ({"formats": None}, "formats"),
        ({"batch": 0}, "batch"),
        ({"batch": "1"}, "batch"),
        ({"batch": 2.5}, "batch"),
        ({"rounds": -1}, "rounds"),
        ({"rounds": 0.5}, "rounds"),
        ({"samples": X[:, :3]}, "samples"),
        ({"samples": X.tolist()}, "samples"),
        ({"source": "runs/ticket"}, "source"),
        ({"output_dir": "gs://bucket/x"}, "output_dir"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, arguments, name):
    arguments = {
        "source": network(), "output_dir": tmp_path / "x", **arguments
    }
    kind = TypeError if name == "source" else ValueError
    with pytest.raises(kind, match=f"^`{name}` must") as caught:
        export(**arguments)
    text = str(caught.value)
    assert len(text) < 400 and "\n" not in text
    assert not (tmp_path / "x").exists()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def call(self, x):
        return self.inner(x)


class Own(keras.Model):
    def __init__(self):
        x = keras.Input((20,))
        super().__init__(x, keras.layers.Dense(5)(x))

    def more(self):
        return 1


@pytest.mark.parametrize(
    "make, message",
    [
        (Subclassed, "^`model` must be functional, or Sequential"),
        (Own, "^`source` must be a model without masks.*defines more"),
    ],
)
def test_masks_that_cannot_be_left_out_stay(tmp_path, make, message):
    model = make()
    model(X)
    mask_model(model, in_place=True)
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "x", ["saved_model"])
    assert is_masked(model) and not (tmp_path / "x").exists()
    if make is Own:
        strip_masks(model, in_place=True)
        assert export(model, tmp_path, ["saved_model"]).entries


def test_numbers_that_may_be_given_are_not_guessed(tmp_path):
    x = keras.Input((4,), dtype="int32")
    y = keras.layers.Flatten()(keras.layers.Embedding(7, 3)(x))
    model = keras.Model(x, keras.layers.Dense(2)(y))
    with pytest.raises(ValueError, match="^`samples` must be real inputs"):
        export(model, tmp_path / "x", ["keras"])
    assert not (tmp_path / "x").exists()
    tokens = np.arange(28).reshape(7, 4) % 7
    report = export(model, tmp_path, ["keras", "saved_model"], samples=tokens)
    assert all(entry["error"] == 0 for entry in report.entries)
    x = keras.Input((None, 3))
    y = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(2, 4)(x))
    with pytest.raises(ValueError, match="^`samples` must .* of open sizes"):
        export(keras.Model(x, y), tmp_path / "x", ["keras"])
    x = keras.Input((3,))
    roots = keras.Model(x, keras.ops.sqrt(x))
    with pytest.raises(ValueError, match="^`samples` must .* gives nothing f"):
        export(roots, tmp_path / "x", ["keras"])
    assert not (tmp_path / "x").exists()
    assert export(roots, tmp_path, ["keras"], samples=np.ones((2, 3))).entries

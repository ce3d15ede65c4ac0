"""Architectures made to run code, read files, or fill the memory."""

import base64
import json
import marshal
import os

import keras
import numpy as np
import pytest

from tf_lottery import Mask, Ticket
from tf_lottery.tickets.architecture import build_architecture


def network():
    return keras.Sequential(
        [keras.Input((4,), name="in"), keras.layers.Dense(3, name="one")],
        name="net",
    )


CALLED = []


def called(*args, **kwargs):
    CALLED.append(args)


def put(class_name, config, module, **more):
    """A layer at the end of the architecture."""
    return lambda config_: config_["config"]["layers"].append(
        {"class_name": class_name, "config": config, "module": module,
         "registered_name": None, **more}
    )


def function(name, module):
    return {"class_name": "function", "config": name, "module": module,
            "registered_name": name}


CODE = base64.b64encode(marshal.dumps(called.__code__)).decode()
LAMBDA = {"class_name": "__lambda__",
          "config": {"code": CODE, "defaults": None, "closure": None}}
FILE = {"fname": "x", "origin": "file:///etc/passwd", "cache_dir": "."}
ATTACKS = {
    "lambda": put("Lambda", {"name": "l", "function": LAMBDA}, "keras.layers"),
    "old lambda": put("Lambda", {"name": "l", "function": [CODE, None, None],
                                 "function_type": "lambda"}, "keras.layers"),
    "no module": put("Lambda", {"function": [CODE, None, None]}, None),
    "get_file": put("Lambda", {
        "name": "l", "function": function("get_file", "keras.utils"),
        "arguments": FILE}, "keras.layers"),
    "load_model": put("Lambda", {
        "name": "l", "function": {
            "class_name": "load_model", "config": {},
            "module": "keras.models", "registered_name": None},
        "arguments": {"filepath": "x.keras"}}, "keras.layers"),
    "a function": put("load_model", {"filepath": "x"}, "keras.models"),
    "system": put("Lambda", {"function": function("system", "os")},
                  "keras.layers"),
    "Popen": put("Popen", {"args": ["touch", "x"]}, "subprocess"),
    "inside Keras": put("get_file", FILE, "keras.src.utils.file_utils"),
    # Keras finds a function by its module, whatever name is registered.
    "registered name": put("Dense", {"units": 3, "name": "d", "activation": {
        **function("makedirs", "keras.src.utils.file_utils"),
        "registered_name": "tf_lottery>MaskedDense"}}, "keras.layers"),
    "own module": put("called", {}, __name__),
    "SavedModel": put("TFSMLayer", {"filepath": "/tmp/x"}, "keras.layers"),
    "torch": put("TorchModuleWrapper", {"module": "x"}, "keras.layers"),
    "vocabulary": put("StringLookup", {"vocabulary": "/etc/passwd"},
                      "keras.layers"),
    "typespec": put("__typespec__", ["x"], "os", spec_name="system"),
    "class is a list": put(["Dense"], {}, "keras.layers"),
    "text type": put("Dense", {"units": {"class_name": "__numpy__", "config": {
        "value": ["a"], "dtype": "S1000000000"}}}, "keras.layers"),
    "wide": put("Dense", {"name": "w", "units": 2**33}, "keras.layers"),
    "many": lambda c: c["config"]["layers"].extend(
        {"class_name": "Dense", "module": "keras.layers",
         "config": {"name": f"d{i}", "units": 500}, "registered_name": None}
        for i in range(9)
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_architecture_runs_no_code(refused, tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    config = json.loads(network().to_json())
    ATTACKS[attack](config)
    text = json.dumps(config)
    state = {"one/kernel": np.ones((4, 3), "f"), "one/bias": np.ones(3, "f")}
    mask = Mask({"one/kernel": np.ones((4, 3))})
    Ticket(mask, state, state, architecture=text).save("t")
    ticket = Ticket.load("t")
    # Even where the process lets Keras read code.
    keras.config.enable_unsafe_deserialization()
    try:
        message = refused(ticket.build_model)
    finally:
        from keras.src.backend.common import global_state

        global_state.set_global_attribute("safe_mode_saving", None)
    assert message.startswith("`architecture` must describe a model of Keras'")
    assert not CALLED and os.listdir(tmp_path) == ["t"]
    if attack in ("wide", "many"):
        assert "larger than its ticket" in message
    elif attack != "class is a list":
        # Refused here, before any version of Keras reads it.
        reason = message.split("Received: ")[1]
        assert reason.startswith(
            ("class '", "function '", "an array of", "a vocabulary in a file")
        )


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "7", "[" * 10**6, '{"class_name": 5}',
             '{"class_name": "Dense", "module": "keras.layers", '
             '"config": {"units": 2}}']
)
def test_text_that_is_no_architecture_is_refused(refused, text):
    refused(lambda: build_architecture(text, 10))


@keras.saving.register_keras_serializable("hostile_test")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return self.double(x)

    @staticmethod
    def double(x):
        return 2 * x


@keras.saving.register_keras_serializable("hostile_test")
def halved(x):
    return x / 2


def test_models_of_many_kinds_are_built():
    x = inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(
        2, 3, activation=keras.activations.relu,
        kernel_regularizer=keras.regularizers.L2(0.1),
    )(x)
    x = keras.layers.Lambda(halved)(keras.ops.tanh(x[:, 1:] * 2 + 1))
    x = keras.layers.Dropout(0.5)(Doubled()(x))
    x = keras.layers.Reshape((-1, 2))(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(
        2, kernel_initializer=keras.initializers.Orthogonal(seed=1),
        dtype="mixed_float16",
    )])
    model = keras.Model(inputs, inner(x))
    model.compile("adam", "mse")
    built = build_architecture(model.to_json(), model.count_params())
    assert [v.shape for v in built.variables] == [
        v.shape for v in model.variables if "optimizer" not in v.path
    ]
    assert not built.compiled

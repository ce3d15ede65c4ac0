"""The table of layers and optimizers in BUILD_NOTES.md is what is measured."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import MASKED_LAYERS
from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import neutral_slots
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import walk

NOTES = pathlib.Path(__file__).resolve().parents[2] / "BUILD_NOTES.md"
START, END = "<!-- layers x optimizers -->\n", "<!-- end -->"

# Column: class of keras.optimizers, learning rate, arguments.
COLUMNS = {
    "SGD": ("SGD", 0.05, {}),
    "momentum": ("SGD", 0.05, {"momentum": 0.9, "nesterov": True}),
    "RMSprop": ("RMSprop", 0.01, {"momentum": 0.9, "centered": True}),
    "Adam": ("Adam", 0.05, {"amsgrad": True}),
    "AdamW": ("AdamW", 0.05, {"weight_decay": 0.1}),
    "Adamax": ("Adamax", 0.05, {}),
    "Nadam": ("Nadam", 0.05, {}),
    "Lion": ("Lion", 0.01, {}),
    "Lamb": ("Lamb", 0.05, {}),
    "Adadelta": ("Adadelta", 0.5, {}),
    "Adagrad": ("Adagrad", 0.1, {}),
    "Ftrl": ("Ftrl", 0.1, {"l2_shrinkage_regularization_strength": 0.1}),
    "Adafactor": ("Adafactor", 0.1, {}),
    "Muon": ("Muon", 0.05, {}),
    "ScheduleFree": ("ScheduleFreeAdamW", 0.05, {}),
    "EMA": ("Adam", 0.05, {"use_ema": True, "ema_overwrite_frequency": 2}),
    "accumulated": ("Adam", 0.05, {"gradient_accumulation_steps": 2}),
    "LossScale": ("LossScaleOptimizer", 0.05, {}),
    "Multi": ("MultiOptimizer", 0.05, {}),
}


def make(column):
    kind, rate, arguments = COLUMNS[column]
    cls = getattr(keras.optimizers, kind)
    if column == "LossScale":
        return cls(keras.optimizers.Adam(rate), initial_scale=1.0)
    if column == "Multi":
        others = {".*bias.*": keras.optimizers.SGD(rate)}
        default = keras.optimizers.Adagrad(rate)
        return cls(keras.optimizers.OptimizerMap(default, others))
    return cls(rate, **arguments)


def gradients(model, inputs):
    with tf.GradientTape() as tape:
        loss = keras.ops.mean((model(inputs, training=True) - 1.0) ** 2)
    found = tape.gradient(loss, model.trainable_variables)
    # What an embedding gives is sparse, and no optimizer takes all of it.
    return [tf.convert_to_tensor(gradient) for gradient in found]


def exactness(model, mask, optimizer):
    """The letter of a cell: how much of what is pruned is neutral now."""
    slots = neutral_slots(optimizer)
    weights = state = True
    effective = [
        np.asarray(getattr(layer, name))
        for layer in walk(model)
        if isinstance(layer, MaskedKernel)
        for name in layer.kernel_names
    ]
    kernels = masked_kernels(model).items()
    for (path, (raw, _)), kernel in zip(kernels, effective, strict=True):
        pruned = ~mask[path]
        if not np.isfinite(kernel).all() or kernel[pruned].any():
            return "x"
        weights &= not np.asarray(raw)[pruned].any()
        for slot, neutral in slots.get(id(raw), ()):
            value = np.asarray(slot)
            state &= bool((value[pruned] == np.float32(neutral)).all())
    return "e" if not weights else "r" if state else "w"


def cell(model, mask, column, start, grads):
    """Two steps without a mask, which then comes, and two steps with it."""
    optimizer = make(column)
    set_mask(model, {k: np.ones(m.shape, bool) for k, m in mask.items()})
    set_state(model, start)
    optimizer.build(model.trainable_variables)
    for _ in range(2):
        optimizer.apply(grads[0], model.trainable_variables)
    set_mask(model, mask, optimizer)
    before = get_state(model)
    letters = {exactness(model, mask, optimizer)}
    assert letters == {"r"}, column
    for _ in range(2):
        optimizer.apply(grads[1], model.trainable_variables)
        letters.add(exactness(model, mask, optimizer))
    after = get_state(model)
    for path, keep in mask.items():
        if not (after[path] != before[path])[keep].any():
            letters.add("x")
    return max(letters, key="rwex".index)


def pattern(shape):
    # No row or column as a whole, and no permutation: what stands on one is
    # exact even where an optimizer mixes the entries of a matrix.
    return (np.arange(np.prod(shape)) % 5 != 1).reshape(shape)


def row(case):
    model = mask_model(case.dense())
    mask = {path: pattern(m.shape) for path, m in get_mask(model).items()}
    start, inputs = get_state(model), case.inputs()
    grads = [gradients(model, inputs)]
    set_mask(model, mask)
    grads.append(gradients(model, inputs))
    cells = [cell(model, mask, c, start, grads) for c in COLUMNS]
    return f"| {case.name} | {' | '.join(cells)} |", [
        type(layer) for layer in (model, *walk(model))
    ]


@pytest.mark.slow
def test_the_notes_say_what_holds_for_every_layer_and_optimizer(cases):
    kinds = {kind for kind, _, _ in COLUMNS.values()}
    if not all(hasattr(keras.optimizers, kind) for kind in kinds):
        pytest.skip("the table is that of a newer Keras")
    right = [f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    tried = set()
    for case in cases:
        if not case.name.startswith("own "):
            line, layers = row(case)
            right.append(line)
            tried.update(layers)
    stock = {
        masked
        for masked in MASKED_LAYERS.values()
        if masked.__module__ == "tf_lottery.layers.stock"
    }
    assert stock <= tried
    table = "\n".join(right)
    assert "| x |" not in table, table
    _, _, rest = NOTES.read_text(encoding="utf-8").partition(START)
    found, end, _ = rest.partition(END)
    wrong = [line for line in right if line not in found.splitlines()]
    assert not wrong, "BUILD_NOTES.md must have\n" + "\n".join(wrong)
    assert end and found == f"{table}\n", f"BUILD_NOTES.md must have\n{table}"


def test_every_optimizer_class_of_keras_has_a_column():
    classes = {
        name
        for name, value in vars(keras.optimizers).items()
        if isinstance(value, type)
        and issubclass(value, keras.optimizers.Optimizer)
    }
    assert classes - {"Optimizer"} <= {kind for kind, _, _ in COLUMNS.values()}

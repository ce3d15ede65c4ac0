"""Pruned weights and their optimizer slots stay 0 under every optimizer."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import apply_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import reset_optimizer
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import walk
from tf_lottery.masks import Mask

optimizers = keras.optimizers
any_backend = pytest.mark.any_backend
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 16)
# Not Keras' own, so that a default written down here would be seen.
START = 0.25
FILLED = {"initial_accumulator_value": START}

# Case: class of keras.optimizers, learning rate, arguments.
PLAIN = {
    "sgd": ("SGD", 0.1, {}),
    "momentum": ("SGD", 0.1, {"momentum": 0.9}),
    "nesterov": ("SGD", 0.1, {"momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", 0.05, {}),
    "amsgrad": ("Adam", 0.05, {"amsgrad": True}),
    "adamw": ("AdamW", 0.05, {"weight_decay": 0.1}),
    "adamax": ("Adamax", 0.05, {}),
    "nadam": ("Nadam", 0.05, {}),
    "rmsprop": ("RMSprop", 0.01, {}),
    "rmsprop_momentum": ("RMSprop", 0.01, {"momentum": 0.9}),
    "rmsprop_centered": (
        "RMSprop", 0.01, {"momentum": 0.9, "centered": True}
    ),
    "lion": ("Lion", 0.01, {}),
    "lamb": ("Lamb", 0.05, {}),
    "adadelta": ("Adadelta", 0.5, {}),
    "adagrad": ("Adagrad", 0.1, FILLED),
    "ftrl": ("Ftrl", 0.1, FILLED),
    "ftrl_l1_l2": (
        "Ftrl", 0.1,
        {
            **FILLED, "beta": 0.1, "l1_regularization_strength": 0.0005,
            "l2_regularization_strength": 0.1,
        },
    ),
    "ftrl_shrinkage": (
        "Ftrl", 0.1, {**FILLED, "l2_shrinkage_regularization_strength": 0.1}
    ),
    "adafactor": ("Adafactor", 0.1, {}),
    "adafactor_absolute": ("Adafactor", 0.1, {"relative_step": False}),
    "muon": ("Muon", 0.05, {}),
    "muon_excluding": ("Muon", 0.05, {"exclude_layers": ["first"]}),
    "schedule_free": ("ScheduleFreeAdamW", 0.05, {}),
    "schedule_free_warmup": ("ScheduleFreeAdamW", 0.05, {"warmup_steps": 3}),
}
# The declared range of Keras versions begins before some of the classes.
PLAIN = {k: v for k, v in PLAIN.items() if hasattr(optimizers, v[0])}

OPTIONS = {
    "decay": {"weight_decay": 0.05},
    "clipnorm": {"clipnorm": 0.2},
    "clipvalue": {"clipvalue": 0.02},
    "global_clipnorm": {"global_clipnorm": 0.3},
    "average": {"use_ema": True, "ema_momentum": 0.8},
    "overwrite": {
        "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2
    },
    "accumulation": {"gradient_accumulation_steps": 2},
    "scale": {"loss_scale_factor": 8.0},
    "schedule": {"schedule": True},
}
BUNDLES = {
    "clipnorm+average+scale": ("clipnorm", "average", "scale"),
    "decay+global_clipnorm+overwrite+accumulation+schedule": (
        "decay", "global_clipnorm", "overwrite", "accumulation", "schedule",
    ),
}


def plain(name, *options):
    kind, rate, arguments = PLAIN[name]
    arguments = dict(arguments)
    for option in options:
        arguments.update(OPTIONS[option])
    if arguments.pop("schedule", False):
        rate = optimizers.schedules.ExponentialDecay(rate, 2, 0.7)
    return getattr(optimizers, kind)(rate, **arguments)


def scaled(name, *options):
    # Two growths within a few steps.
    return optimizers.LossScaleOptimizer(
        plain(name, *options), initial_scale=16.0, dynamic_growth_steps=2
    )


def several(one, other, *options):
    return optimizers.MultiOptimizer(
        optimizers.OptimizerMap(
            plain(one, *options), {".*second.*": plain(other, *options)}
        )
    )


CASES = {name: (plain, name) for name in PLAIN}
CASES |= {
    f"{name}+{option}": (plain, name, option)
    for name in ("momentum", "adam")
    for option in OPTIONS
}
CASES |= {
    f"{name}+{bundle}": (plain, name, *options)
    for name in PLAIN
    for bundle, options in BUNDLES.items()
}
_MANY = ("decay", "clipvalue", "overwrite", "accumulation")
CASES |= {
    f"scaled {'+'.join(arguments)}": (scaled, *arguments)
    for arguments in (
        ("momentum",), ("adagrad",), ("nadam", "schedule"), ("adafactor",),
        ("muon",), ("schedule_free",), ("adam", *_MANY), ("ftrl", *_MANY),
    )
    if arguments[0] in PLAIN
}
if hasattr(optimizers, "MultiOptimizer"):
    CASES |= {
        f"several {'+'.join(arguments)}": (several, *arguments)
        for arguments in (
            ("momentum", "adam"),
            ("adagrad", "nadam", "schedule"),
            ("schedule_free", "ftrl", *_MANY),
            ("muon", "adafactor"),
        )
    }
    CASES["scaled several"] = (
        lambda: optimizers.LossScaleOptimizer(several("adagrad", "momentum")),
    )

# For time: what another case computes with one option more.
PLAINER = {
    "sgd", "nesterov", "amsgrad", "rmsprop", "rmsprop_momentum", "ftrl",
    "ftrl_shrinkage", "adafactor", "muon_excluding", "schedule_free",
    "scaled nadam+schedule", "scaled adafactor", "scaled muon",
}


def in_order(name):
    many = name.count("+") > 1
    slow = many or name in PLAINER or name[:9] == "momentum+"
    # Where every step is compiled, bundles would take minutes.
    marks = [pytest.mark.slow] * slow + [any_backend] * (not many)
    return pytest.param(name, marks=marks)


each_case = pytest.mark.parametrize("name", [in_order(n) for n in CASES])


def make(name):
    function, *arguments = CASES[name]
    return function(*arguments)


def make_dense(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="second"),
        ],
        name="net",
    )


@pytest.fixture(scope="module")
def shared():
    model = mask_model(make_dense())
    return model, get_state(model)


@pytest.fixture
def model(shared):
    """A masked model, the same one with its first weights and no mask."""
    model, state = shared
    set_mask(model, ones(model), optimizer=optimizers.SGD())
    set_state(model, state)
    return model


def ones(model):
    return {path: np.ones(m.shape, bool) for path, m in get_mask(model).items()}


def random_mask(model, seed=3):
    rng = np.random.default_rng(seed)
    return {
        path: rng.random(m.shape) < 0.5 for path, m in get_mask(model).items()
    }


def compile_model(model, optimizer, run_eagerly=True, **kwargs):
    # A step on JAX is faster with its compilation than without.
    run_eagerly = run_eagerly and keras.backend.backend() != "jax"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=run_eagerly, **kwargs)


def train(model, steps):
    for _ in range(steps):
        model.train_on_batch(X, Y)


def parts(optimizer):
    inside = [getattr(optimizer, "inner_optimizer", None)]
    inside = inside if inside[0] else getattr(optimizer, "optimizers", [])
    return [optimizer, *(p for part in inside for p in parts(part))]


def variables(optimizer):
    # Keras forgets some that an optimizer inside another one makes.
    hidden = [
        value
        for part in parts(optimizer)
        for value in vars(part).values()
        if isinstance(value, keras.Variable)
    ]
    return [*optimizer.variables, *hidden]


def slots(optimizer, raw):
    """Per-weight slots of `raw` by their kind, with their neutral value."""
    name = raw.path.replace("/", "_") + "_"
    return {
        v.path.rpartition(name)[2]: (
            v, START if v.path.endswith(f"{name}accumulator") else 0.0
        )
        for v in optimizer.variables
        if name in v.path and v.shape == raw.shape
    }


def not_exact(model, mask):
    """Kinds of pruned entries that are not at their neutral value."""
    assert get_mask(model) == Mask(mask)
    found = set()
    for layer in walk(model):
        for name in getattr(layer, "kernel_names", ()):
            raw = layer.raw_kernel(name)
            pruned = ~mask[raw.path]
            assert pruned.any()
            effective = np.asarray(getattr(layer, name))
            assert np.isfinite(effective).all()
            assert not effective[pruned].any()
            entries = {"weight": (raw, 0.0), **slots(model.optimizer, raw)}
            for kind, (variable, neutral) in entries.items():
                value = np.asarray(variable)
                assert np.isfinite(value).all(), variable.path
                if (value[pruned] != np.float32(neutral)).any():
                    found.add(kind)
    return found


def mixed(name):
    """What an optimizer that mixes a kernel's entries leaves behind.

    Adafactor's second moment is a product of sums over rows and columns, anew
    in each step; Muon's update of a matrix is orthogonalised, and with the
    weights go their moving averages.
    """
    left = set()
    for part in parts(make(name)):
        if isinstance(part, optimizers.Adafactor):
            left.add("velocity")
        if isinstance(part, getattr(optimizers, "Muon", ())):
            left |= {"weight", "average"} if part.use_ema else {"weight"}
    return left


@any_backend
def test_every_optimizer_class_of_keras_has_a_case():
    known = {
        value
        for value in vars(optimizers).values()
        if isinstance(value, type) and issubclass(value, optimizers.Optimizer)
    }
    tried = {type(part) for name in CASES for part in parts(make(name))}
    assert tried == known - {optimizers.Optimizer}


@each_case
def test_pruned_weights_stay_zero(name, model):
    compile_model(model, make(name))
    # An odd number, so that accumulated gradients wait in their slots.
    train(model, 3)
    mask = random_mask(model)
    kernels = {path: raw for path, (raw, _) in masked_kernels(model).items()}
    before = {
        path: {
            kind: np.array(np.asarray(v))
            for kind, (v, _) in slots(model.optimizer, raw).items()
        }
        for path, raw in kernels.items()
    }
    set_mask(model, mask)
    assert not not_exact(model, mask)
    for path, raw in kernels.items():
        now = slots(model.optimizer, raw)
        assert now.keys() == before[path].keys()
        for kind, (slot, _) in now.items():
            keep, old = mask[path], before[path][kind]
            assert np.array_equal(np.asarray(slot)[keep], old[keep])
            assert old[~keep].any(), slot.path
    weights = get_state(model)
    updates = 0
    for _ in range(4):
        train(model, 1)
        left = not_exact(model, mask)
        assert left <= mixed(name)
        # Between two updates nothing can go wrong.
        updates += left == mixed(name)
    assert updates >= 2
    for path, keep in mask.items():
        moved = get_state(model)[path] != weights[path]
        # L1 holds some at 0.
        assert moved[keep].mean() > 0.5


@pytest.mark.parametrize("name", [in_order(name) for name in PLAIN])
def test_a_mask_from_the_start_keeps_slots_neutral(name, model):
    mask = random_mask(model)
    set_mask(model, mask)
    compile_model(model, make(name))
    for _ in range(2):
        train(model, 1)
        assert not_exact(model, mask) == mixed(name)


@pytest.mark.parametrize(
    "name",
    [
        in_order(name)
        for name in (
            "adam", "nesterov", "ftrl", "momentum+overwrite",
            "adam+accumulation", "scaled adagrad", "adamw", "rmsprop_centered",
        )
    ],
)
def test_pruned_weights_stay_zero_in_compiled_steps(name, model):
    compile_model(model, make(name), run_eagerly=False)
    train(model, 1)
    mask = random_mask(model)
    # The step that has been compiled goes on with it.
    set_mask(model, mask)
    before = get_state(model)
    for _ in range(4):
        train(model, 1)
        assert not not_exact(model, mask)
    for path, keep in mask.items():
        assert (get_state(model)[path] != before[path])[keep].all()


@each_case
def test_a_reset_optimizer_is_a_new_one(name, model):
    set_mask(model, random_mask(model))
    compile_model(model, make(name))
    train(model, 3)
    # Muon leaves some behind, which set_state would not put back.
    apply_masks(model)
    state = get_state(model)
    old, new = model.optimizer, make(name)
    reset_optimizer(old, model)
    new.build(model.trainable_variables)
    check_equal(old, new)
    train(model, 3)
    found = get_state(model)
    set_state(model, state)
    new = make(name)
    compile_model(model, new)
    train(model, 3)
    check_equal(old, new)
    for path, value in get_state(model).items():
        assert np.array_equal(found[path], value), path
        assert not np.array_equal(state[path], value), path


def check_equal(one, other):
    pairs = list(zip(variables(one), variables(other), strict=True))
    assert len(pairs) > 2
    for a, b in pairs:
        assert np.array_equal(np.asarray(a), np.asarray(b)), a.path

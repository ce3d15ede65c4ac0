"""Process-wide Keras and random state, set for a build and put back."""

from __future__ import annotations

import collections
import contextlib
import random
from typing import Iterator

import keras
import numpy as np
# Keras and TensorFlow have no public way to read and restore these.
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

_NAME_COUNTERS = "object_name_uids"
_NAME_SCOPES = "name_scope_stack"
_SEED_ATTRIBUTES = ("global_random_seed", "global_seed_generator")
# TensorFlow's global seed, and the generator of its operation seeds.
_TF_ATTRIBUTES = ("_seed", "_rng")


@contextlib.contextmanager
def clean_names() -> Iterator[None]:
    """Starts layer names and scopes afresh, then restores the caller's.

    Keras numbers them per process: a second `Dense` would be "dense_1", and
    the weights of two builds of one model would have different paths.

    Yields:
        None.

    Example:
        >>> with clean_names():
        ...     keras.layers.Dense(1).name
        'dense'
    """
    counters = global_state.get_global_attribute(_NAME_COUNTERS)
    scopes = global_state.get_global_attribute(_NAME_SCOPES)
    global_state.set_global_attribute(
        _NAME_COUNTERS, collections.defaultdict(int)
    )
    # A call that failed inside a layer leaves that layer's scope behind.
    global_state.set_global_attribute(_NAME_SCOPES, [])
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAME_COUNTERS, counters)
        global_state.set_global_attribute(_NAME_SCOPES, scopes)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds every global generator, then restores the caller's state.

    An initialiser without a seed draws one from Python's `random` when it is
    constructed, so layers of any model, also of a user, become a function of
    `seed`; NumPy's, TensorFlow's and Keras' generators are seeded as well for
    models that draw their weights some other way.

    Args:
        seed: an integer in `[0, 2**32)`.

    Yields:
        None.

    Example:
        >>> with seeded(3):
        ...     first = random.random()
        >>> with seeded(3):
        ...     first == random.random()
        True
    """
    eager = context.context()
    saved_python = random.getstate()
    saved_numpy = np.random.get_state()
    saved_keras = {
        name: global_state.get_global_attribute(name)
        for name in _SEED_ATTRIBUTES
    }
    saved_tf = {
        name: vars(eager)[name]
        for name in _TF_ATTRIBUTES
        if name in vars(eager)
    }
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(saved_python)
        np.random.set_state(saved_numpy)
        for name, value in saved_keras.items():
            global_state.set_global_attribute(name, value)
        vars(eager).update(saved_tf)

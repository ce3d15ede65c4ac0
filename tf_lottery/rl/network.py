"""The network of an agent: one body, a policy and a value."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tf_lottery.models.lenet import hidden as hidden_layer


def actor_critic(
    observation_size: int, actions: int, hidden: Sequence[int] = (128,) * 3
) -> keras.Model:
    """Returns a fully connected network with a policy and a value.

    Hidden units are ReLU, biases start at zero, and kernels are drawn from
    `GlorotNormal`, as in the library's other networks.

    Args:
        observation_size: number of inputs.
        actions: number of actions.
        hidden: widths of the layers that both heads share.

    Returns:
        A built model of two outputs, `(batch, actions)` logits and
        `(batch, 1)` values, with kernels "dense_1/kernel" and so on,
        "policy/kernel" and "value/kernel".

    Example:
        >>> policy, value = actor_critic(4, 2).output_shape
        >>> policy, value
        ((None, 2), (None, 1))

    Reference:
        Yu et al., 2020, arXiv:1906.02768, appendix: three hidden layers of
        128 for CartPole, of 256 for Acrobot and LunarLander.
    """
    inputs = keras.Input((observation_size,), name="observation")
    x = inputs
    for number, units in enumerate(hidden, start=1):
        x = hidden_layer(units, f"dense_{number}")(x)
    heads = [
        keras.layers.Dense(
            units,
            kernel_initializer=keras.initializers.GlorotNormal(),
            dtype="float32",
            name=name,
        )(x)
        for units, name in ((actions, "policy"), (1, "value"))
    ]
    return keras.Model(inputs, heads, name="actor_critic")

"""Language models: LSTM and transformer networks that predict next tokens."""

from __future__ import annotations

import keras

from tf_lottery.models.lenet import logits
from tf_lottery.models.registry import register


@register("lstm_lm", kind="text")
def lstm_lm(input_shape: tuple[int], num_classes: int) -> keras.Model:
    """Returns a small LSTM language model: embedding and two layers of 128.

    An embedding of 128, drawn uniformly up to 0.1, two LSTM layers of 128
    units and the output layer; their kernels are drawn as Keras draws them,
    recurrent ones orthogonal, and forget gates begin at a bias of 1. Of 65
    characters and the unknown one it has 279,040 weights that can be pruned.

    Args:
        input_shape: `(length,)`, tokens.
        num_classes: size of the vocabulary; width of the output, logits.

    Returns:
        A built model from `(batch, length)` tokens to `(batch, length,
        num_classes)` logits, each of the token that follows. Its kernels are
        "embedding/embeddings", "lstm_1/lstm_cell/kernel",
        "lstm_1/lstm_cell/recurrent_kernel", the same of "lstm_2", and
        "output/kernel".

    Example:
        >>> lstm_lm((50,), 66).output_shape
        (None, 50, 66)

    Reference:
        Yu et al., Playing the lottery with rewards and multiple languages,
        2020, arXiv:1906.02768, section 3.1, in small; Hochreiter and
        Schmidhuber, Long Short-Term Memory, 1997.
    """
    return _lstm("lstm_lm", 128, 0.1, input_shape, num_classes)


@register("lstm_lm_dropout", kind="text")
def lstm_lm_dropout(input_shape: tuple[int], num_classes: int) -> keras.Model:
    """Returns `lstm_lm` with dropout of a fifth between its layers.

    Args:
        input_shape: as of `lstm_lm`.
        num_classes: as of `lstm_lm`.

    Returns:
        A built model with the kernels of `lstm_lm`.

    Example:
        >>> lstm_lm_dropout((50,), 66).get_layer("dropout_1").rate
        0.2

    Reference:
        Zaremba et al., Recurrent Neural Network Regularization, 2014,
        arXiv:1409.2329, section 3.1: on connections between layers alone.
    """
    return _lstm("lstm_lm_dropout", 128, 0.1, input_shape, num_classes, 0.2)


@register("lstm_lm_650", kind="text")
def lstm_lm_650(input_shape: tuple[int], num_classes: int) -> keras.Model:
    """Returns the LSTM language model of the paper: 650 units, dropout 0.5.

    The embedding is drawn uniformly up to 0.05, all else as in `lstm_lm`; the
    paper does not say how.

    Args:
        input_shape: `(50,)` in the paper.
        num_classes: as of `lstm_lm`; whole words in the paper.

    Returns:
        A built model with the kernels of `lstm_lm`.

    Example:
        >>> lstm_lm_650((50,), 66).count_params()
        6851066

    Reference:
        Yu et al., 2020, arXiv:1906.02768, section 3.1 and appendix A.
    """
    return _lstm("lstm_lm_650", 650, 0.05, input_shape, num_classes, 0.5)


@register("transformer_lm", kind="text")
def transformer_lm(input_shape: tuple[int], num_classes: int) -> keras.Model:
    """Returns a small transformer: two blocks of width 128 and four heads.

    Token and position embeddings are added; a block is causal attention and
    a hidden layer of 512 units (GELU), each after a layer normalisation and
    with a sum around it; a layer normalisation and the output layer follow.

    Args:
        input_shape: `(length,)`, tokens.
        num_classes: size of the vocabulary; width of the output, logits.

    Returns:
        A built model from `(batch, length)` tokens to `(batch, length,
        num_classes)` logits, each of the token that follows. Its kernels are
        "embedding/embeddings", "positions/embeddings", query, key, value and
        output of "attention_1" and "attention_2", two of each
        "block_1_hidden" and "block_1_output", and "output/kernel".

    Example:
        >>> transformer_lm((50,), 66).output_shape
        (None, 50, 66)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017, arXiv:1706.03762;
        normalised before each part as in Radford et al., Language Models are
        Unsupervised Multitask Learners, 2019, section 2.3.
    """
    return _transformer("transformer_lm", input_shape, num_classes)


@register("transformer_lm_dropout", kind="text")
def transformer_lm_dropout(
    input_shape: tuple[int], num_classes: int
) -> keras.Model:
    """Returns `transformer_lm` with dropout of a tenth before each sum.

    Args:
        input_shape: as of `transformer_lm`.
        num_classes: as of `transformer_lm`.

    Returns:
        A built model with the kernels of `transformer_lm`.

    Example:
        >>> transformer_lm_dropout((50,), 66).output_shape
        (None, 50, 66)

    Reference:
        Vaswani et al., 2017, arXiv:1706.03762, section 5.4.
    """
    name = "transformer_lm_dropout"
    return _transformer(name, input_shape, num_classes, 0.1)


def _lstm(
    name: str,
    units: int,
    reach: float,
    input_shape: tuple[int],
    num_classes: int,
    dropout: float = 0.0,
) -> keras.Model:
    inputs = keras.Input(input_shape, dtype="int32", name="tokens")
    x = keras.layers.Embedding(
        num_classes,
        units,
        embeddings_initializer=keras.initializers.RandomUniform(-reach, reach),
        name="embedding",
    )(inputs)
    for index in (1, 2):
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{index}")(x)
        x = keras.layers.LSTM(
            units, return_sequences=True, name=f"lstm_{index}"
        )(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout_3")(x)
    return keras.Model(inputs, logits(num_classes)(x), name=name)


def _transformer(
    name: str,
    input_shape: tuple[int],
    num_classes: int,
    dropout: float = 0.0,
    *,
    blocks: int = 2,
    width: int = 128,
    heads: int = 4,
) -> keras.Model:
    (length,) = input_shape
    inputs = keras.Input(input_shape, dtype="int32", name="tokens")
    # Of the input, as a constant would be no part of the graph.
    places = keras.ops.cumsum(keras.ops.ones_like(inputs), axis=1) - 1
    x = keras.layers.Embedding(
        num_classes, width, embeddings_initializer=_normal(), name="embedding"
    )(inputs)
    x += keras.layers.Embedding(
        length, width, embeddings_initializer=_normal(), name="positions"
    )(places)
    for index in range(1, blocks + 1):
        y = _normalized(f"block_{index}_norm_1")(x)
        y = keras.layers.MultiHeadAttention(
            heads,
            width // heads,
            kernel_initializer=_normal(),
            name=f"attention_{index}",
        )(y, y, use_causal_mask=True)
        x += _dropped(dropout, f"dropout_{index}_1", y)
        y = _normalized(f"block_{index}_norm_2")(x)
        y = keras.layers.Dense(
            4 * width,
            activation="gelu",
            kernel_initializer=_normal(),
            name=f"block_{index}_hidden",
        )(y)
        y = keras.layers.Dense(
            width, kernel_initializer=_normal(), name=f"block_{index}_output"
        )(y)
        x += _dropped(dropout, f"dropout_{index}_2", y)
    x = _normalized("norm")(x)
    outputs = logits(num_classes, _normal())(x)
    return keras.Model(inputs, outputs, name=name)


def _normal() -> keras.initializers.Initializer:
    # A new one each: of one size, an initialiser draws the same again.
    return keras.initializers.RandomNormal(stddev=0.02)


def _normalized(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=1e-5, name=name)


def _dropped(rate: float, name: str, x: keras.KerasTensor):
    return keras.layers.Dropout(rate, name=name)(x) if rate else x

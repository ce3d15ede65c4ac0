"""What an export is asked for, checked before anything is written."""

from __future__ import annotations

import numbers
import os
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from tf_lottery.export.tflite import check_form
from tf_lottery.export.tflite import check_samples
from tf_lottery.export.tflite import in_order
from tf_lottery.export.tflite import input_of
from tf_lottery.export.verify import outputs_of
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import strip_masks
from tf_lottery.layers import why_not_copied
from tf_lottery.paths import is_remote
from tf_lottery.tickets import Ticket

FORMATS = ("keras", "saved_model", "tflite")
_RANDOM_EXAMPLES = 64


def check_arguments(
    source: Ticket | keras.Model,
    output_dir: str | os.PathLike[str],
    formats: Collection[str],
    form: str,
    batch: int | None,
    rounds: int,
) -> list[str]:
    """Returns the formats in the order of writing.

    Args:
        source: as in `tf_lottery.export.export`, as are the others.
        output_dir: folder on this machine.
        formats: some of `FORMATS`.
        form: of the weights in the TFLite file.
        batch: examples per run of it.
        rounds: of timing it.

    Raises:
        TypeError: `source` is neither a ticket nor a model.
        ValueError: another argument is none of these; or the model is neither
            functional nor Sequential, or has masks and cannot be copied.

    Example:
        >>> layers = [keras.Input((2,)), keras.layers.ReLU()]
        >>> model = keras.Sequential(layers)
        >>> check_arguments(model, "x", ["tflite", "keras"], "int8", 1, 0)
        ['keras', 'tflite']
    """
    if not isinstance(source, (Ticket, keras.Model)):
        raise TypeError(
            "`source` must be a ticket or a Keras model. Received: "
            f"source={source!r:.200}. A ticket's folder is read by "
            "tf_lottery.Ticket.load."
        )
    if (
        not isinstance(formats, Collection)
        or isinstance(formats, str)
        or not formats
        or any(name not in FORMATS for name in formats)
    ):
        raise ValueError(
            f"`formats` must be some of {', '.join(FORMATS)}. Received: "
            f"formats={formats!r}. Give a list of these."
        )
    check_form(form, batch)
    if form != "float32" and "tflite" not in formats:
        raise ValueError(
            "`form` must be float32 where no TFLite file is asked for. "
            f"Received: form={form!r}, formats={', '.join(formats)}. Add "
            "tflite, or leave it out."
        )
    if not isinstance(rounds, numbers.Integral) or rounds < 0:
        raise ValueError(
            "`rounds` must be a whole number of 0 or more. Received: "
            f"rounds={rounds!r}. 20 are usual, 0 times nothing."
        )
    if is_remote(output_dir):
        raise ValueError(
            "`output_dir` must be a folder on this machine. Received: "
            f"output_dir={os.fspath(output_dir)!r}. Copy the files from there."
        )
    if isinstance(source, keras.Model):
        input_of(source)
        # It would have to lose its own masks.
        reason = is_masked(source) and why_not_copied(source)
        if reason:
            raise ValueError(
                "`source` must be a model without masks, or one that can be "
                f"copied. Received: {reason}. Take its masks off first: "
                "strip_masks(source, in_place=True)."
            )
    return [name for name in FORMATS if name in formats]


def plain_model(
    source: Ticket | keras.Model,
) -> tuple[keras.Model, float | None]:
    """Returns the model without masks, and the density of its mask.

    Args:
        source: a ticket, or a Keras model, masked or not.

    Example:
        >>> plain_model(keras.Sequential([keras.Input((2,))]))[1] is None
        True
    """
    if isinstance(source, Ticket):
        model = source.build_model(masked=False, weights="trained")
        return model, source.mask.density
    if is_masked(source):
        return strip_masks(source), get_mask(source).density
    return source, None


def inputs_for(model: keras.Model, samples: Any, form: str) -> Any:
    """Returns the inputs on which files are compared with a model.

    Args:
        model: a functional or Sequential model.
        samples: real inputs, or None for random ones.
        form: of the weights in the TFLite file.

    Returns:
        `samples`, in the order of the model's inputs, or normally distributed
        float inputs.

    Raises:
        ValueError: `samples` are no inputs of the model, or there are none
            and random ones are no inputs of it either.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.ReLU()(x))
        >>> inputs_for(model, None, "float32").shape
        (64, 2)
    """
    if samples is not None:
        samples = in_order(model, samples)
        check_samples(model, samples)
        return samples
    if "int8" in form:
        raise ValueError(
            f"`samples` must be real inputs for the form {form}. Received:"
            " samples=None. Some hundreds of examples suffice."
        )
    inputs = keras.tree.flatten(input_of(model))
    kinds = {tensor.dtype for tensor in inputs}
    if not all("float" in kind for kind in kinds):
        raise ValueError(
            "`samples` must be real inputs for a model that does not take "
            f"floats. Received: samples=None, for inputs of {', '.join(kinds)}"
            ". Which numbers may be given is not known."
        )
    shapes = [tuple(tensor.shape) for tensor in inputs]
    if any(None in shape[1:] for shape in shapes):
        raise ValueError(
            "`samples` must be real inputs for a model of open sizes. "
            "Received: samples=None, for inputs of shape "
            f"{', '.join(map(str, shapes))}. Which sizes it can take is not "
            "known."
        )
    rng = np.random.default_rng(0)
    drawn = keras.tree.map_structure(
        lambda tensor: rng.normal(
            size=[_RANDOM_EXAMPLES, *tensor.shape[1:]]
        ).astype(tensor.dtype),
        input_of(model),
    )
    try:
        outputs_of(model, drawn)
    except ValueError as error:
        raise ValueError(
            "`samples` must be real inputs for a model that gives nothing "
            "finite for random ones. Received: samples=None. If it gives "
            "nothing for real ones either, look at its weights."
        ) from error
    return drawn

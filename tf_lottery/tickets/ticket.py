"""The ticket: a mask, the weights to start from, and how it came about."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.atomic import replace_file
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import strip_masks
from tf_lottery.masks import Mask
from tf_lottery.tickets import archive

FORMAT = 1
_JSON = "ticket.json"
_ARRAYS = ("mask.npz", "rewind.npz", "trained.npz")


@dataclasses.dataclass(frozen=True)
class Ticket:
    """A subnetwork and the weights that it is trained from.

    Args:
        mask: which weights are kept.
        rewind: `{path: array}`, the whole state that training starts from;
            at levels after 0 the kernels are 0 outside the mask.
        trained: `{path: array}`, the state after training; 0 outside the
            mask.
        level: number of pruning rounds behind it; 0 is dense.
        config: how it was found: settings and seeds, plain JSON values.
        metrics: what training returned, plain JSON values.
        architecture: `model.to_json()` of the stock model, for `build_model`.
        source: folder that it was loaded from.

    Raises:
        ValueError: the weights do not fit the mask, or a trained weight is
            not 0 where the mask prunes.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> ticket = Ticket.of(mask_model(model), rewind=get_state(model))
        >>> ticket.mask.kept, ticket.level
        (2, 0)
    """

    mask: Mask
    rewind: Mapping[str, np.ndarray]
    trained: Mapping[str, np.ndarray]
    level: int = 0
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    architecture: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name in ("rewind", "trained"):
            weights = getattr(self, name)
            self.mask.check_shapes(
                {k: np.shape(v) for k, v in weights.items() if k in self.mask},
                name,
            )
        for path, keep in self.mask.items():
            if np.any(np.asarray(self.trained[path])[~keep]):
                raise ValueError(
                    "`trained` must be 0 where the mask prunes. Received: "
                    f"nonzero weights at pruned positions of {path}. Train "
                    "the masked model, with an optimizer that keeps each "
                    "weight to itself."
                )

    @classmethod
    def of(
        cls,
        model: keras.Model,
        *,
        rewind: Mapping[str, np.ndarray],
        level: int = 0,
        config: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> Ticket:
        """Returns the ticket of a masked model that has been trained.

        Args:
            model: a masked model, holding the trained weights.
            rewind: the state that its training started from.
            level: number of pruning rounds.
            config: settings and seeds.
            metrics: what training returned.
        """
        mask = get_mask(model)
        if level > 0:
            rewind = {
                k: np.where(mask[k], v, np.zeros_like(v)) if k in mask else v
                for k, v in rewind.items()
            }
        return cls(
            mask,
            dict(rewind),
            get_state(model),
            level,
            dict(config or {}),
            dict(metrics or {}),
            strip_masks(model).to_json(),
        )

    def build_model(
        self, masked: bool = True, weights: str = "rewind"
    ) -> keras.Model:
        """Builds the ticket's network.

        Args:
            masked: with masks, ready to be trained; otherwise in stock Keras
                layers with zeros at pruned positions.
            weights: `"rewind"` or `"trained"`.

        Returns:
            A `keras.Model`, not compiled.

        Raises:
            ValueError: an unknown `weights`, or a ticket whose architecture
                was not stored.
        """
        if weights not in ("rewind", "trained"):
            raise ValueError(
                "`weights` must be 'rewind' or 'trained'. Received: "
                f"weights={weights!r}. Choose one of these."
            )
        if self.architecture is None:
            raise ValueError(
                "`architecture` must be stored to build the model. Received: "
                "architecture=None. Build the model yourself, then use "
                "set_mask."
            )
        stock = keras.models.model_from_json(self.architecture)
        names = self.config.get("exclude") or ()
        model = mask_model(stock, exclude=names)
        set_mask(model, self.mask)
        set_state(model, self.rewind if weights == "rewind" else self.trained)
        return model if masked else strip_masks(model)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the ticket into a folder; the JSON file comes last.

        Args:
            path: folder, made where missing.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = os.fspath(path)
        os.makedirs(folder, exist_ok=True)
        content = {
            "mask.npz": archive.pack_mask(self.mask),
            "rewind.npz": archive.pack_weights(
                self.rewind,
                # Level 0 is where controls find the weights outside the mask.
                self.mask if self.level else Mask.ones(self.mask.shapes),
            ),
            "trained.npz": archive.pack_weights(self.trained, self.mask),
        }
        digests = {}
        for name, arrays in content.items():
            data = archive.npz_bytes(arrays)
            digests[name] = hashlib.sha256(data).hexdigest()
            replace_file(os.path.join(folder, name), data)
        meta = {
            "format": FORMAT,
            "level": self.level,
            "kernels": [
                {
                    "path": k,
                    "shape": list(m.shape),
                    "kept": self.mask.kept_by_path[k],
                    "dtype": str(np.asarray(self.rewind[k]).dtype),
                }
                for k, m in self.mask.items()
            ],
            "state": list(self.rewind),
            "config": dict(self.config),
            "metrics": dict(self.metrics),
            "architecture": self.architecture,
            "versions": _versions(),
            "sha256": digests,
        }
        meta["sha256"][_JSON] = _digest(meta)
        text = json.dumps(meta, indent=1) + "\n"
        replace_file(os.path.join(folder, _JSON), text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> Ticket:
        """Reads a ticket and checks every file against its checksum.

        Args:
            path: folder that `save` wrote.

        Raises:
            ValueError: naming the files that are missing, truncated or
                altered.
        """
        folder = os.fspath(path)
        problems = verify_files(folder)
        if problems:
            raise ValueError(
                "`path` must be the folder of a whole ticket. Received: "
                f"path={folder!r}, with {'; '.join(problems)}. Find the "
                "ticket again, or copy it anew."
            )
        with open(os.path.join(folder, _JSON), encoding="utf-8") as file:
            meta = json.load(file)
        shapes = {k["path"]: tuple(k["shape"]) for k in meta["kernels"]}
        dtypes = {k["path"]: k["dtype"] for k in meta["kernels"]}
        mask, rewind, trained = (
            archive.read_npz(os.path.join(folder, name)) for name in _ARRAYS
        )
        mask = archive.unpack_mask(mask, shapes)
        dense = Mask.ones(shapes)
        return cls(
            mask,
            archive.unpack_weights(
                rewind,
                mask if meta["level"] else dense,
                meta["state"],
                dtypes,
            ),
            archive.unpack_weights(trained, mask, meta["state"], dtypes),
            meta["level"],
            meta["config"],
            meta["metrics"],
            meta["architecture"],
            folder,
        )

    def digest(self) -> str:
        """Returns the SHA-256 of the mask and the rewind weights."""
        rewind = archive.pack_weights(self.rewind, Mask.ones(self.mask.shapes))
        data = archive.npz_bytes({**archive.pack_mask(self.mask), **rewind})
        return hashlib.sha256(data).hexdigest()

    def verify(self) -> list[str]:
        """Checks the files that the ticket was loaded from.

        Returns:
            One line per file that is missing, truncated or altered; an empty
            list for a whole ticket.

        Raises:
            RuntimeError: the ticket was not loaded from a folder.
        """
        if self.source is None:
            raise RuntimeError(
                "`verify` must be called on a ticket that was loaded. "
                "Received: a ticket in memory. Save it and load it first."
            )
        return verify_files(self.source)


def verify_files(folder: str) -> list[str]:
    """Returns one line per missing, truncated or altered file of a ticket."""
    try:
        with open(os.path.join(folder, _JSON), encoding="utf-8") as file:
            meta = json.load(file)
        digests = meta["sha256"]
        expected = digests.pop(_JSON)
    except FileNotFoundError:
        return [f"{_JSON} missing"]
    except OSError as error:
        return [f"{_JSON} unreadable ({error.strerror})"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return [f"{_JSON} truncated or altered"]
    problems = []
    if expected != _digest(meta):
        problems.append(f"{_JSON} altered")
    if meta.get("format") != FORMAT:
        problems.append(f"{_JSON} of format {meta.get('format')!r}")
    for name in _ARRAYS:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                found = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            problems.append(f"{name} missing")
            continue
        if found != digests.get(name):
            problems.append(f"{name} truncated or altered")
    return problems


def _digest(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(
        json.dumps(meta, sort_keys=True).encode()
    ).hexdigest()


def _versions() -> dict[str, str]:
    import tf_lottery

    return {
        "tf_lottery": tf_lottery.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

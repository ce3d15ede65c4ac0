"""The ticket: a mask, the weights to start from, and how it came about."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.atomic import replace_file
from tf_lottery.layers import apply_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import named_variables
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import strip_masks
from tf_lottery.layers import walk
from tf_lottery.layers import why_not_copied
from tf_lottery.masks import Mask
from tf_lottery.masks import match_paths
from tf_lottery.tickets import archive
from tf_lottery.tickets.architecture import build_architecture
from tf_lottery.tickets.metadata import plain_values
from tf_lottery.tickets.metadata import versions
from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import one_line
from tf_lottery.tickets.reading import read_json
from tf_lottery.tickets.verify import FORMAT
from tf_lottery.tickets.verify import JSON
from tf_lottery.tickets.verify import check_types
from tf_lottery.tickets.verify import json_digest
from tf_lottery.tickets.verify import verify_files


@dataclasses.dataclass(frozen=True, eq=False)
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

    def __eq__(self, other: object) -> bool:
        """True for the same level, mask and weights."""
        if not isinstance(other, Ticket):
            return NotImplemented
        return (self.level, self.mask) == (other.level, other.mask) and all(
            archive.same_arrays(getattr(self, name), getattr(other, name))
            for name in ("rewind", "trained")
        )

    def __repr__(self) -> str:
        numbers = ", ".join(
            f"{k}={f'{v:.4g}' if isinstance(v, float) else f'{v:,}'}"
            for k, v in self.metrics.items()
            if isinstance(v, (int, float))
        )
        return (
            f"Ticket(level {self.level}, {self.mask.kept:,} of "
            f"{self.mask.size:,} weights kept"
            + (f", {numbers})" if numbers else ")")
        )

    def __post_init__(self) -> None:
        for name in ("rewind", "trained"):
            # A search goes on from these arrays after it has yielded them.
            views = {k: _read_only(v) for k, v in getattr(self, name).items()}
            object.__setattr__(self, name, views)
        odd = sorted(set(self.rewind) ^ set(self.trained))
        if odd:
            raise ValueError(
                "`trained` must have the paths of `rewind`. Received: "
                f"{', '.join(odd[:4])} in one of them only. Take both with "
                "get_state from one model."
            )
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

        Raises:
            TypeError: metrics that are no dict, or metrics or a config that
                hold what is no number, text, list or dict.
        """
        if not (metrics is None or isinstance(metrics, Mapping)):
            raise TypeError(
                "`metrics` must be a dict or None. Received: metrics="
                f"{metrics!r:.200}. Return numbers by name from `train`."
            )
        # Optimizers that mix entries, as Muon does, leave raw weights nonzero
        # where the mask prunes; the network never sees them.
        apply_masks(model)
        mask = get_mask(model)
        copied = why_not_copied(model) is None
        if level > 0:
            rewind = {
                k: np.where(mask[k], v, np.zeros_like(v)) if k in mask else v
                for k, v in rewind.items()
            }
        return cls(
            mask, dict(rewind), get_state(model), level,
            plain_values(config or {}, "config"), plain_values(metrics or {}),
            strip_masks(model).to_json() if copied else None,
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
        self._state(weights)
        if self.architecture is None:
            raise ValueError(
                "`architecture` must be stored to build the model. Received: "
                "architecture=None, as for a subclassed model. Build the "
                "model yourself, then call apply_to on it."
            )
        model = build_architecture(
            self.architecture, sum(np.size(v) for v in self.rewind.values())
        )
        self.apply_to(model, weights)
        return model if masked else strip_masks(model, in_place=True)

    def apply_to(self, model: keras.Model, weights: str = "rewind") -> None:
        """Puts the ticket's mask and weights on a model, in place.

        Args:
            model: a built model of the same architecture; one without masks
                is given them, except where the ticket has none.
            weights: `"rewind"` or `"trained"`.

        Raises:
            ValueError: an unknown `weights`, or a model that the ticket does
                not fit.
        """
        self._state(weights)
        ticket = self.for_model(model)
        if not is_masked(model):
            dense = ticket._dense_kernels(model)
            mask_model(model, exclude=dense, in_place=True)
        # First, or weights would be lost to the mask that was there.
        set_mask(model, ticket.mask)
        set_state(model, ticket._state(weights))

    def _state(self, weights: str) -> Mapping[str, np.ndarray]:
        if weights not in ("rewind", "trained"):
            raise ValueError(
                "`weights` must be 'rewind' or 'trained'. Received: "
                f"weights={weights!r}. Choose one of these."
            )
        return self.rewind if weights == "rewind" else self.trained

    def for_model(self, model: keras.Model) -> Ticket:
        """Returns the ticket under the paths of a model.

        Keras numbers the names of a model that is built again anew; the same
        architecture may so have other paths.

        Args:
            model: a built model of the ticket's architecture, masked or not.

        Raises:
            ValueError: the ticket is of another architecture, or of other
                prunable kernels than a masked model's.
        """
        variables = {
            k: tuple(v.shape) for k, v in named_variables(model).items()
        }
        shapes = {k: np.shape(v) for k, v in self.rewind.items()}
        given = match_paths(variables, shapes, "rewind")
        mask = Mask(
            {k: self.mask[v] for k, v in given.items() if v in self.mask}
        )
        if is_masked(model):
            mask.check_shapes(get_mask(model).shapes)
        return dataclasses.replace(
            self,
            mask=mask,
            rewind={k: self.rewind[v] for k, v in given.items()},
            trained={k: self.trained[v] for k, v in given.items()},
        )

    def _dense_kernels(self, model: keras.Model) -> list[str]:
        """Patterns of the model's kernels that the mask does not name."""
        kernels = {
            id(v)
            for layer in (model, *walk(model))
            for v in layer._trainable_variables
            if v.ndim > 1
        }
        return [
            glob.escape(path)
            for path, v in named_variables(model).items()
            if id(v) in kernels and path not in self.mask
        ]

    def save(self, path: str | os.PathLike) -> None:
        """Writes the ticket into a folder; the JSON file comes last.

        Args:
            path: folder, made where missing.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = os.fspath(path)
        content = {
            "mask.npz": archive.pack_mask(self.mask),
            "rewind.npz": archive.pack_weights(
                self.rewind,
                # Level 0 is where controls find the weights outside the mask.
                self.mask if self.level else Mask.ones(self.mask.shapes),
            ),
            "trained.npz": archive.pack_weights(
                {k: self.trained[k] for k in self.rewind}, self.mask
            ),
        }
        digests = {}
        for name, arrays in content.items():
            data = archive.npz_bytes(arrays)
            digests[name] = hashlib.sha256(data).hexdigest()
            replace_file(os.path.join(folder, name), data)
        meta: dict[str, Any] = {
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
            "versions": versions(),
            "sha256": digests,
        }
        meta["sha256"][JSON] = json_digest(meta)
        text = json.dumps(meta, indent=1) + "\n"
        replace_file(os.path.join(folder, JSON), text.encode())

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
        try:
            return cls._read(folder)
        # Checksums that hold say nothing of who wrote them.
        except (*MALFORMED, OSError) as error:
            reason = one_line(f"{type(error).__name__}: {error}")
            raise ValueError(
                "`path` must be the folder of a ticket. Received: "
                f"path={folder!r}, whose files do not fit together "
                f"({reason}). Find the ticket again, or copy it anew."
            ) from error

    @classmethod
    def _read(cls, folder: str) -> Ticket:
        meta = read_json(os.path.join(folder, JSON))
        check_types(meta)
        return cls(
            *archive.read_arrays(folder, meta), meta["level"], meta["config"],
            meta["metrics"], meta["architecture"], folder,
        )

    def digest(self) -> str:
        """Returns the SHA-256 of the mask and the rewind weights.

        Of their values, not of the files: compressed bytes differ from one
        version of zlib to the next.
        """
        digest = hashlib.sha256()
        kept = {f"mask of {k}": m for k, m in self.mask.items()}
        for name, value in {**kept, **self.rewind}.items():
            value = np.ascontiguousarray(value)
            head = f"{name} {value.dtype} {np.shape(value)}\n"
            digest.update(head.encode() + value.tobytes())
        return digest.hexdigest()

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


def _read_only(array: np.ndarray) -> np.ndarray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view

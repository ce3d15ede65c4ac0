"""Looks at every pruned network before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tf_lottery.graph import Flow
from tf_lottery.graph import PathReport
from tf_lottery.graph import report_of
from tf_lottery.layers import get_mask
from tf_lottery.masks import Mask


class PathGuard:
    """Reads a model's graph once, then looks at every mask of it.

    Args:
        model: masked.
        notice: called with one line if its graph cannot be read, and where
            something is cut off.
    """

    def __init__(self, model: keras.Model, notice: Callable[[str], None]):
        self._model = model
        self._notice = notice
        self._flow: Flow | None = None
        self._last: PathReport | None = None
        try:
            self._flow = Flow(model)
        except ValueError as error:
            notice(
                "effective_density stays empty in results.csv, and nothing "
                f"that is cut off is named. {error}"
            )

    def check(self, who: object, *, stop: bool) -> None:
        """Names empty kernels, dead units and cuts, in one line.

        Args:
            who: what is to be trained.
            stop: whether a network whose output does not depend on its input
                is refused: it could learn nothing.

        Raises:
            ValueError: it is one, and is refused.
        """
        report = self._report(get_mask(self._model))
        if report is None:
            return
        if report.is_cut and stop:
            raise ValueError(
                "`collapse` must be 'allow' for a network that is cut. "
                f"Received: collapse='stop', and {who}: {report}. Prune less, "
                "by another criterion or scope, or set collapse='floor'."
            )
        if report.is_cut or report.empty or report.dead_units:
            self._notice(f"{who}: {report}.")

    def watched(
        self, how: Mapping[str, Any], who: object, stop: bool
    ) -> dict[str, Any]:
        """Returns what looks at the mask after each change in a training.

        Args:
            how: arguments of a training, with a `change` or without.
            who: as in `check`.
            stop: as in `check`.

        Returns:
            `{"change": ...}` in place of the one given, or nothing. A network
            that is cut is refused at once, and named as by `check` when the
            last change has been made.
        """
        if "change" not in how:
            return {}
        return {"change": _Watched(self, how["change"], who, stop)}

    def effective_density(self, mask: Mask) -> float | None:
        """Returns the fraction of the prunable weights kept and on a path.

        Args:
            mask: of the model.

        Returns:
            None where the model's graph cannot be read.
        """
        report = self._report(mask)
        return None if report is None else report.effective_density

    def is_cut(self) -> bool:
        """Whether the model's output does not depend on its input, if known."""
        # Less than a report: a mask may change every hundred steps.
        flow, mask = self._flow, get_mask(self._model)
        return flow is not None and flow.is_cut(flow.reached(mask))

    def _report(self, mask: Mask) -> PathReport | None:
        if self._flow is None:
            return None
        # After a training it is mostly the mask of before.
        if self._last is None or self._last.kept_mask != mask:
            self._last = report_of(self._flow, mask)
        return self._last


class _Watched:
    """A change of the mask, after which the guard looks at it."""

    def __init__(self, guard: PathGuard, change: Any, who: object, stop: bool):
        self._guard = guard
        self._change = change
        self._who = who
        self._stop = stop
        self.next = change.next
        self.state = change.state
        self.restore = change.restore

    def __call__(
        self, model: keras.Model, optimizer: Any, step: int
    ) -> None:
        self._change(model, optimizer, step)
        last = self.next(step + 1) is None
        if last or (self._stop and self._guard.is_cut()):
            self._guard.check(self._who, stop=self._stop)

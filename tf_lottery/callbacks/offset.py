"""A learning-rate schedule that starts anew at step k."""

from __future__ import annotations

from typing import Any

import keras

from tf_lottery.layers import inner_optimizers


@keras.saving.register_keras_serializable("tf_lottery")
class OffsetSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of another, `offset` steps later: `f(step + offset)`.

    After rewinding to step k the optimizer's own count starts at 0, as its
    bias corrections need, while the learning rate starts as of step k.

    Args:
        schedule: the schedule f.
        offset: steps; `set` changes it, inside compiled functions too.

    Example:
        >>> schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        ...     [5], [0.1, 0.01])
        >>> later = OffsetSchedule(schedule, offset=4)
        >>> [round(float(later(step)), 3) for step in (1, 2)]
        [0.1, 0.01]
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        offset: int = 0,
    ):
        super().__init__()
        self.schedule = schedule
        self._offset = keras.Variable(
            offset, dtype="int32", trainable=False, name="offset"
        )

    def __call__(self, step):
        later = keras.ops.cast(self._offset, "int32")
        return self.schedule(keras.ops.cast(step, "int32") + later)

    def set(self, offset: int) -> None:
        """Sets the offset, in steps."""
        self._offset.assign(offset)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "offset": int(keras.ops.convert_to_numpy(self._offset)),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OffsetSchedule:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["offset"])

    @classmethod
    def install(cls, model: keras.Model) -> list[OffsetSchedule]:
        """Puts one around every schedule of a compiled model's optimizer.

        Args:
            model: compiled; its train function is compiled anew.

        Returns:
            The schedules; none where the learning rate is a number.

        Raises:
            ValueError: the backend is JAX, whose compiled step would not see
                the offset change.
        """
        found = []
        outer = model.optimizer
        for optimizer in inner_optimizers(outer) or [outer]:
            schedule = optimizer._learning_rate
            if not isinstance(
                schedule, keras.optimizers.schedules.LearningRateSchedule
            ):
                continue
            if not isinstance(schedule, cls):
                if keras.backend.backend() == "jax":
                    raise ValueError(
                        "`rewind` must be '0it', of a newly compiled model, "
                        "for a learning-rate schedule on the JAX backend. "
                        "Received: a later step, and "
                        f"{type(schedule).__name__}. Use a constant rate, or "
                        "another backend."
                    )
                schedule = optimizer.learning_rate = cls(schedule)
                model.make_train_function(force=True)
            found.append(schedule)
        return found

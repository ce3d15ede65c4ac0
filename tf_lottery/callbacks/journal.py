"""What LotteryTicket has done so far, in memory or in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.atomic import replace_file
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.paths import is_file
from tf_lottery.paths import is_folder
from tf_lottery.paths import open_read
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.reading import MALFORMED

_HISTORY = "history.json"
_REWIND = "rewind"
_COUNTS = ("level", "base", "first_epoch", "kept_weights", "steps")


class Journal:
    """The levels of a search inside `fit`: where it is, and what it found.

    With a folder every change is written at once, so that a `fit` that was
    killed can go on from the weights of its backup.

    Args:
        folder: `history.json`, `rewind/` and a ticket per level go there;
            None keeps them in memory.
        settings: of the search, plain JSON values; a folder of other settings
            is not gone on with.
    """

    def __init__(
        self, folder: str | os.PathLike | None, settings: Mapping[str, Any]
    ):
        self._folder = None if folder is None else os.fspath(folder)
        self._settings = dict(settings)
        self._tickets: list[Ticket] = []
        self._reset()

    def _reset(self):
        # Steps that the optimizer had taken when the level began.
        self.base = 0
        self.rewind_state: dict[str, np.ndarray] | None = None
        self._levels: list[dict[str, Any]] = []

    @property
    def level(self) -> int:
        """The level that is trained, or has just ended."""
        return len(self._levels) - 1

    @property
    def start(self) -> int:
        """Steps that the optimizer had taken when level 0 began."""
        return self._levels[0]["base"]

    @property
    def level_ended(self) -> bool:
        """Whether its ticket has been taken."""
        return "steps" in self._levels[-1]

    @property
    def first_epoch(self) -> int:
        """The epoch of `fit` in which it began."""
        return self._levels[-1]["first_epoch"]

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The logs of its epochs."""
        return self._levels[-1]["epochs"]

    def begin(self, model: keras.Model, step: int, epoch: int) -> None:
        """Begins level 0.

        Args:
            model: with the mask of level 0.
            step: steps that the optimizer has taken before.
            epoch: of `fit`.
        """
        self._reset()
        self._tickets = []
        self.base = step
        self.start_level(model, epoch)

    def start_level(self, model: keras.Model, epoch: int) -> None:
        """Begins the next level, of this mask, in this epoch of `fit`."""
        if self._levels:
            # Resetting the optimizer set its count to 0.
            self.base = 0
        mask = get_mask(model)
        self._levels.append(
            {
                "level": len(self._levels),
                "base": self.base,
                "first_epoch": epoch,
                "density": mask.density,
                "kept_weights": mask.kept,
                "epochs": [],
            }
        )
        self._write()

    def take_rewind(self, model: keras.Model) -> None:
        """Keeps the model's state: what every level is rewound to."""
        self.rewind_state = get_state(model)
        if self._folder:
            ticket = Ticket.of(
                model, rewind=self.rewind_state, config=self._settings
            )
            ticket.save(os.path.join(self._folder, _REWIND))

    def add_epoch(
        self, epoch: int, step: int, logs: Mapping[str, Any] | None
    ) -> None:
        """Adds the logs of an epoch.

        Args:
            epoch: of `fit`.
            step: steps that the level has trained at its end.
            logs: of the epoch.
        """
        # A metric may be a number per class.
        row = {
            k: np.asarray(v, "float64").tolist()
            for k, v in (logs or {}).items()
        }
        self.epochs.append({"epoch": epoch, **row, "steps": step})
        self._write()

    def end_level(self, model: keras.Model, step: int) -> Ticket:
        """Ends the level: takes its ticket.

        Args:
            model: with the trained weights.
            step: steps that the level has trained.
        """
        if self.rewind_state is None:
            raise ValueError(
                "`rewind` must be a step of level 0. Received: level 0 ended "
                f"after {step} steps, before it. Rewind to an earlier step, "
                "or let level 0 train longer."
            )
        metrics = self.epochs[-1] if self.epochs else {}
        # Logs from before the level's end are of another network.
        if metrics.get("steps") != step:
            metrics = {}
        ticket = Ticket.of(
            model,
            rewind=self.rewind_state,
            level=self.level,
            config=self._settings,
            metrics={**metrics, "steps": step},
        )
        del self._tickets[self.level :]
        if self._folder:
            ticket.save(self._path(self.level))
        else:
            self._tickets.append(ticket)
        self._levels[-1]["steps"] = step
        self._write()
        return ticket

    def tickets(self) -> list[Ticket]:
        """The tickets of the levels that have ended, from level 0."""
        if not self._folder:
            return list(self._tickets)
        ended = [row["level"] for row in self._levels if "steps" in row]
        return [Ticket.load(self._path(level)) for level in ended]

    def history(self) -> list[dict[str, Any]]:
        """A dict per level, from level 0."""
        return json.loads(json.dumps(self._levels))

    def resume(
        self, model: keras.Model, step: int, epoch: int, rewind: int
    ) -> bool:
        """Finds, from the folder, where a restored model stands.

        Puts a model back to its trained weights whose level has ended.

        Args:
            model: whose weights and optimizer a backup has restored, or a
                new one.
            step: steps that its optimizer has taken.
            epoch: of `fit`.
            rewind: k.

        Returns:
            False for a new search.

        Raises:
            ValueError: the folder holds another search, or a finished one.
        """
        if not self._folder:
            return False
        if not is_file(self._file()):
            if is_folder(self._path(0)):
                self._refuse("level_00 and no history.json")
            return False
        levels = self._read()
        tickets = sum("steps" in row for row in levels)
        # A new model has taken no steps beyond those of level 0's start.
        if step <= levels[0]["base"] and tickets == 0:
            return False
        level, ticket = self._find(levels, tickets, model, epoch)
        if level is None or (level == 0 and step <= levels[0]["base"]):
            self._refuse_new(levels, tickets)
        self._reset()
        self._levels = levels[: level + 1]
        row = self._levels[-1]
        self.base = row["base"]
        row["epochs"] = [e for e in row["epochs"] if e["epoch"] < epoch]
        # A backup may be older than the ticket. The last level may be left
        # one step after its end.
        if "steps" in row and step - self.base < row["steps"]:
            del row["steps"]
        if self.level_ended:
            set_state(model, ticket.trained)
        folder = os.path.join(self._folder, _REWIND)
        if (level or step - self.base >= rewind) and is_folder(folder):
            start = Ticket.load(folder).for_model(model)
            self.rewind_state = dict(start.rewind)
        return True

    def _find(self, levels, tickets, model, epoch):
        """The level that a model's mask is of, and its ticket, if any."""
        mask = get_mask(model)
        found = []
        last = None
        for row in levels[:tickets]:
            last = Ticket.load(self._path(row["level"]))
            try:
                last = last.for_model(model)
            except ValueError:
                self._refuse("the search of another model")
            if last.mask == mask:
                found.append((row, last))
        for row in levels[tickets:]:
            # Without a ticket of its own it is known by its parent's.
            subset = last is None or mask.is_subset_of(last.mask)
            if subset and mask.kept == row["kept_weights"]:
                found.append((row, None))
        # Levels that prune nothing share their mask.
        begun = [f for f in found if f[0]["first_epoch"] < epoch] or found[:1]
        for row, ticket in begun[-1:]:
            return row["level"], ticket
        return None, None

    def _read(self):
        try:
            with open_read(self._file()) as file:
                content = json.load(file)
            settings, levels = content["settings"], content["levels"]
            ended = ["steps" in row for row in levels]
            if not levels or ended != sorted(ended, reverse=True):
                raise ValueError("levels out of order")
            for number, row in enumerate(levels):
                kinds = [type(row[k]) for k in _COUNTS if k in row]
                if {*kinds, type(row["epochs"])} != {int, list} or (
                    len(kinds) < len(_COUNTS) - ("steps" not in row)
                    or row["level"] != number
                ):
                    raise ValueError("a level that is none")
                for log in row["epochs"]:
                    log["epoch"] + 0
        except MALFORMED:
            self._refuse("a history.json that cannot be read")
        if settings != self._settings:
            self._refuse(f"settings {settings}, not {self._settings}")
        return levels

    def _refuse_new(self, levels, tickets):
        if tickets > self._settings["levels"]:
            raise ValueError(
                "`output_dir` must be new. Received: "
                f"output_dir={self._folder!r}, whose search has ended. Read "
                f"its tickets with Ticket.load({self._path(tickets - 1)!r}), "
                "or choose another folder."
            )
        raise ValueError(
            "`output_dir` must be new, or that of the search to go on with. "
            f"Received: output_dir={self._folder!r}, whose search stopped in "
            f"level {len(levels) - 1}, and a model that was not restored to "
            "it. Give fit the BackupAndRestore callback that the search had, "
            "or choose another folder."
        )

    def _refuse(self, found):
        raise ValueError(
            "`output_dir` must be new, or that of the search to go on with. "
            f"Received: output_dir={self._folder!r}, with {found}. Choose "
            "another folder, or restore the backup of that search."
        )

    def _write(self):
        if self._folder:
            content = {"settings": self._settings, "levels": self._levels}
            text = json.dumps(content, indent=1) + "\n"
            replace_file(self._file(), text.encode())

    def _file(self):
        return os.path.join(self._folder, _HISTORY)

    def _path(self, level):
        return os.path.join(self._folder, f"level_{level:02d}")

"""Tickets that were found elsewhere: one of them, or those of a whole run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from tf_lottery import paths
from tf_lottery.fingerprint import fingerprint
from tf_lottery.fingerprint import identity
from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import read_json
from tf_lottery.tickets.store import Key
from tf_lottery.tickets.store import RunDirectory
from tf_lottery.tickets.ticket import Ticket
from tf_lottery.tickets.verify import JSON
from tf_lottery.tickets.verify import file_digest

# What is said of where a ticket comes from, if its configuration has it.
_TOLD = ("dataset", "model", "method", "optimizer", "seed", "replicate")


@dataclasses.dataclass(frozen=True)
class TicketSource:
    """Where tickets to be trained elsewhere come from; see `read_source`.

    Args:
        path: a ticket's folder, or a run directory.
        levels: the last level that it offers.
        run: the run directory; None for one ticket.
        digest: of its content: of a ticket its own; of a run the fingerprint
            of its configuration, so that a run may be extended.
        told: what its tickets' configurations have in common.
    """

    path: str
    levels: int
    run: RunDirectory | None
    digest: str
    told: Mapping[str, Any]

    def ticket(self, replicate: int, level: int) -> Ticket | None:
        """Returns the ticket that a level of the target is made from.

        Args:
            replicate: of the target; a run's own of that number is taken.
            level: of the target; the run's own of that number is taken. One
                ticket is at level 1.

        Returns:
            None at level 0 of one ticket, which has no dense network.

        Raises:
            ValueError: it is missing, truncated or altered.
        """
        if self.run is None:
            return Ticket.load(self.path) if level else None
        key = Key(replicate, "main", level)
        if not paths.is_file(os.path.join(self.run.ticket_path(key), JSON)):
            raise ValueError(
                "`ticket` must be a run that has every level to be "
                f"transferred. Received: ticket={self.path!r}, which has no "
                f"replicate {replicate} level {level}. Finish that run, or "
                "ask for fewer --levels or --replicates."
            )
        return self.run.load(key)

    def origin(self, replicate: int, level: int) -> dict[str, Any]:
        """Returns what the transferred ticket says of where it comes from.

        Args:
            replicate: as of `ticket`.
            level: as of `ticket`.

        Returns:
            Plain JSON values; `sha256` is of the source's ticket.json.
        """
        own: dict[str, Any] = {}
        folder = self.path
        if self.run is not None:
            own = {"replicate": replicate, "level": level}
            folder = self.run.ticket_path(Key(replicate, "main", level))
        digest = file_digest(os.path.join(folder, JSON))
        return {**self.told, **own, "sha256": digest}


def read_source(path: str) -> TicketSource:
    """Returns where tickets come from, by a path.

    Args:
        path: a ticket's folder, or a run directory with its config.json.

    Raises:
        ValueError: it is neither.
    """
    if paths.is_file(os.path.join(path, JSON)):
        ticket = Ticket.load(path)
        told = {k: ticket.config[k] for k in _TOLD if k in ticket.config}
        told["level"] = ticket.level
        return TicketSource(path, 1, None, ticket.digest(), told)
    try:
        values = read_json(os.path.join(path, "config.json"))
        levels, known = int(values["levels"]), identity(values)
        digest = fingerprint(values)
    except (*MALFORMED, OSError):
        raise ValueError(
            "`ticket` must be the folder of a ticket, or a run directory. "
            f"Received: ticket={path!r}, which has no {JSON}, and no "
            "config.json of a run. Write for example "
            "runs/NAME/replicate_0/main/level_07/ticket, or runs/NAME."
        ) from None
    told = {k: known[k] for k in _TOLD if k in known}
    run = RunDirectory(path)
    # config.json has those of the last command, which may have asked for less.
    there = [r["level"] for r in run.rows() if r["branch"] == "main"]
    return TicketSource(path, max([levels, *there]), run, digest, told)

"""Tickets: what a search yields, in memory and on disk."""

from tf_lottery.tickets.mask_file import load_mask
from tf_lottery.tickets.mask_file import read_mask
from tf_lottery.tickets.shared import SharedDirectory
from tf_lottery.tickets.store import Key
from tf_lottery.tickets.store import RunDirectory
from tf_lottery.tickets.ticket import Ticket
from tf_lottery.tickets.verify import verify_files

__all__ = [
    "Key",
    "RunDirectory",
    "SharedDirectory",
    "Ticket",
    "load_mask",
    "read_mask",
    "verify_files",
]

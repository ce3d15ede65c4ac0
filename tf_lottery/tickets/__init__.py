"""Tickets: what a search yields, in memory and on disk."""

from tf_lottery.tickets.mask_file import load_mask
from tf_lottery.tickets.mask_file import read_mask
from tf_lottery.tickets.shared import SharedDirectory
from tf_lottery.tickets.source import TicketSource
from tf_lottery.tickets.source import read_source
from tf_lottery.tickets.store import Key
from tf_lottery.tickets.store import RunDirectory
from tf_lottery.tickets.ticket import Ticket
from tf_lottery.tickets.verify import read_description
from tf_lottery.tickets.verify import verify_files

__all__ = [
    "Key",
    "RunDirectory",
    "SharedDirectory",
    "Ticket",
    "TicketSource",
    "load_mask",
    "read_description",
    "read_mask",
    "read_source",
    "verify_files",
]

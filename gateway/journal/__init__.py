"""The journal: durable, ordered, in two lanes that share nothing."""

from gateway.journal.codec import Damage
from gateway.journal.offline import JournalFiles, SetAside
from gateway.journal.sqlite import SqliteJournal

__all__ = ["Damage", "JournalFiles", "SetAside", "SqliteJournal"]

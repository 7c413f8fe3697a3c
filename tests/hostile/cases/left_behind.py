"""What must hold for everything that a job leaves behind, and how a program that fills the disk may end."""

from hostile.expect import files_at_most, files_hold_no_secret, only_plain_members
from hostile.model import COMPLETED

#: No collection of one job has a reason to be larger: files, and bytes of them.
FILES, BYTES = 5000, 256 << 20
SAFE = (files_hold_no_secret, only_plain_members)
BOUNDED = (files_at_most(FILES, BYTES), *SAFE)
#: A program that leaves oddities ends normally: it is the collector that must cope.
FINE = (COMPLETED,)
FULL = ("disk", "exit", "memory", "signal")

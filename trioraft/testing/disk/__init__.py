"""A simulated disk: files in memory behind a page cache that a crash can lose and tear.

`SimDisk` is a `FileSystem` for storage; `open_sim_writer` is a `DiskWriter` whose group commits
take virtual time. Writes are visible at once and durable only once synced. `SimDisk.crash`
decides from a seed what of the rest survives, no kinder than real disks: any subset of the
512-byte sectors, any subset of the names that were made, renamed or deleted, zeros or rubbish
where a file grew.
"""

from .disk import SimDisk
from .inode import SECTOR
from .writer import open_sim_writer

__all__ = ["SECTOR", "SimDisk", "open_sim_writer"]

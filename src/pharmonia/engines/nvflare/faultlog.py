"""A site's own log of what failed, in full: for its owner's eyes, and of bounded size whoever makes how much fail."""

import os
import threading
import traceback
from contextlib import suppress
from pathlib import Path

FAULT_LOG = "faults.log"
OLD_FAULT_LOG = "faults.log.1"  # what came before, once the log was full
MAX_LOG_BYTES = 1_000_000  # of each of the two
MAX_ENTRY_BYTES = 65_536  # of one fault; of a longer one, beginning and end
_OWNER = 0o600


class FaultLog:
    """Writes faults down in a folder; several threads may.

    Guarantees:
        only_its_owner_reads_it: Mode 0600 from the first byte on, and so is one that was there with another.
        it_does_not_fill_the_disk: Two files of `MAX_LOG_BYTES` at most.
    """

    def __init__(self, folder: Path) -> None:
        """Folder: of the site; made when something fails."""
        self._folder = folder
        self._one_at_a_time = threading.Lock()

    def write(self, about: str, error: BaseException) -> None:
        """Write an error down with its traceback; where the disk is full it is lost, and kept from nobody for that."""
        text = "".join(traceback.format_exception(error))
        fault = _shortened(f"{about}\n{text}\n".encode(errors="backslashreplace"))
        with self._one_at_a_time, suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._append(fault):
                (self._folder / FAULT_LOG).replace(self._folder / OLD_FAULT_LOG)
                self._append(fault)

    def _append(self, fault: bytes) -> bool:
        """Whether there was room for it in the log as it is."""
        descriptor = os.open(self._folder / FAULT_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _OWNER)
        with os.fdopen(descriptor, "ab") as log:
            os.fchmod(log.fileno(), _OWNER)
            has_room = os.fstat(log.fileno()).st_size + len(fault) <= MAX_LOG_BYTES
            if has_room:
                log.write(fault)
        return has_room


def _shortened(fault: bytes) -> bytes:
    if len(fault) <= MAX_ENTRY_BYTES:
        return fault
    gap = b"\n[...]\n"
    half = (MAX_ENTRY_BYTES - len(gap)) // 2
    return fault[:half] + gap + fault[-half:]

"""NVFlare's audit log, turned over: it has a line for every look at how a job stands, some 10 MB a day, and no end."""

from contextlib import suppress
from pathlib import Path
from typing import TextIO

from nvflare.fuel.sec import audit

MAX_BYTES = 20_971_520  # as `log.txt`, and as many old ones
N_KEPT = 4


class TurningFile:
    """An open log that goes on in a new file when it is full; the oldest goes."""

    def __init__(self, path: Path) -> None:
        """Path: of the newest; the others have a number behind it, higher for older."""
        self._path = path
        self._file = path.open("ab")

    def write(self, text: str) -> None:
        """Append a line, whole, to one file."""
        line = text.encode(errors="backslashreplace")
        if 0 < self._file.tell() > MAX_BYTES - len(line):
            self._turn()
        self._file.write(line)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """End it."""
        self._file.close()

    def _turn(self) -> None:
        self._file.close()
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, N_KEPT + 1))]
        with suppress(OSError):  # what cannot be moved grows on: better than an event that nobody noted
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                if newer.exists():
                    newer.replace(older)
        self._file = self._path.open("ab")


class TurningAuditor(audit.Auditor):  # type: ignore[misc] # NVFlare has no types
    """NVFlare's own, into a log that turns over."""

    audit_file: TextIO | TurningFile | None

    def __init__(self, audit_file_name: str) -> None:
        """Where NVFlare wants it."""
        super().__init__(audit_file_name)
        if self.audit_file is not None:
            self.audit_file.close()
        self.audit_file = TurningFile(Path(audit_file_name))


def turn_audit_logs_over() -> None:
    """Have this process's audit log turn over; before NVFlare opens it."""
    audit.Auditor = TurningAuditor

"""Among whom the contributions of a run were summed: on the disk, so that none is ever summed again among others.

From two sums of the same contributions, one of them without a partner, that partner's own contribution follows. A run
that is resumed makes its last contributions again, so that what was summed must outlive the process.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pharmonia.base.errors import InputError, ReplayError, StoreError
from pharmonia.run.files import cannot_write, write_whole
from pharmonia.run.ledgerfile import append_durably
from pharmonia.secagg.header import Layout

COHORTS_FILE = "cohorts.jsonl"  # of a run, at each party and at the coordinator
KEPT = 10_000  # more than the steps between two checkpoints


class Cohorts:
    """Which partners' contributions each sum was made of.

    Guarantees:
        one_cohort_per_contribution: What starts from one shared vector is summed among one set of partners, or not at
            all; whoever signs or masks asks first.
    """

    def __init__(self, path: Path) -> None:
        """Path: of the file, made when first needed."""
        self._path = path
        self._known: dict[str, tuple[str, ...]] | None = None

    def of(self, layout: Layout, model_digest: bytes) -> tuple[str, ...] | None:
        """Among whom the contributions that start from this vector were summed; None if they were not."""
        return self._read().get(_key(layout, model_digest))

    def settle(self, layout: Layout, model_digest: bytes, partners: Sequence[str]) -> None:
        """State the partners of a sum; outlives this process when it returns.

        Args:
            layout: Of the summed vectors.
            model_digest: Of the shared vector that the contributions start from.
            partners: Sorted.

        Raises:
            ReplayError: The same contributions were summed among others.
            StoreError: The file is damaged.
            InputError: The disk is full, or cannot be read or written; nothing is settled.
        """
        key, cohort = _key(layout, model_digest), tuple(partners)
        known = self._read()
        before = known.get(key)
        if before is None:
            self._append(key, cohort)
            known[key] = cohort
            if len(known) > KEPT:
                del known[next(iter(known))]
        elif before != cohort:
            raise ReplayError(
                f"these contributions were summed among {', '.join(before)}, and are not summed again among "
                f"{', '.join(cohort)}; bring the same partners back, or begin a new run"
            )

    def _append(self, key: str, cohort: tuple[str, ...]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        append_durably(self._path, _line(key, cohort))  # takes back what it could not write whole

    def _read(self) -> dict[str, tuple[str, ...]]:
        if self._known is None:
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                content = b""
            except OSError as error:
                raise InputError(f"cannot read {self._path}: {error.strerror}") from error
            *whole, rest = content.split(b"\n")  # the rest was being written when the power went: nobody acted on it
            try:
                known = dict(map(_cohort_of, whole[-KEPT:]))
            except ValueError as error:
                raise StoreError(f"{self._path} is damaged ({error}); begin a new run, with another plan") from error
            if rest or len(whole) > KEPT:
                write_whole(self._path, b"".join(_line(key, cohort) for key, cohort in known.items()))
            self._known = known
        return self._known


def _key(layout: Layout, model_digest: bytes) -> str:
    return hashlib.sha256(layout.digest + model_digest).hexdigest()


def _line(key: str, cohort: tuple[str, ...]) -> bytes:
    return json.dumps([key, list(cohort)], ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _cohort_of(line: bytes) -> tuple[str, tuple[str, ...]]:
    """What `_line` wrote.

    Raises:
        ValueError: It did not write this.
    """
    match json.loads(line):
        case [str() as key, list(partners)] if all(isinstance(partner, str) for partner in partners):
            return key, tuple(partners)
        case other:
            raise ValueError(f"{str(other)[:80]} is no sum and its partners")

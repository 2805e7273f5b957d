"""What is looked at before a run begins: one table of what will do where, and what to do about the rest.

Nothing here opens data, asks another machine or writes. A site looks at itself (`preflight_site`), the coordinator at
itself (`preflight_seat`) and, once all are connected, at what every site says of itself (`greeting_checks`).
"""

import json
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from pharmonia import __version__
from pharmonia.base import errors
from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import DiskFullError, InputError, PharmoniaError, RefusedError, StoreError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import CodeIdentity
from pharmonia.run.files import write_whole
from pharmonia.run.ledger_frames import Greeting

FILE = "preflight.json"
FORMAT = "pharmonia/preflight/v1"
MAX_SKEW_S = 60
MIN_DISK_BYTES = MIN_MEMORY_BYTES = 1 << 30
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Args:
        where: Whose machine.
        what: In words.
        error: Why it will not do, with what to do about it; None if it will.
    """

    where: str
    what: str
    error: PharmoniaError | None


@dataclass(frozen=True, slots=True)
class Preflight:
    """Everything that was looked at, in order."""

    checks: tuple[Check, ...]

    def plus(self, other: "Preflight") -> "Preflight":
        """Both, one after the other."""
        return Preflight((*self.checks, *other.checks))

    def require(self) -> None:
        """Raises the first thing that will not do.

        Raises:
            PharmoniaError: Of the kind that it is.
        """
        for check in self.checks:
            if check.error is not None:
                raise check.error


def look(where: str, what: str, do: Callable[[], None]) -> Check:
    """The check that passes if nothing of our tree is raised."""
    try:
        do()
    except PharmoniaError as error:
        return Check(where=where, what=what, error=error)
    return Check(where=where, what=what, error=None)


def machine_checks(where: str, folder: Path, free_memory_bytes: int) -> tuple[Check, ...]:
    """Whether a machine can carry a run at all.

    Args:
        where: Whose machine.
        folder: On the disk that the run writes to.
        free_memory_bytes: That processes can have.
    """

    def disk() -> None:
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise InputError(f"cannot look at the disk of {folder}: {error.strerror}") from error
        if free < MIN_DISK_BYTES:
            raise DiskFullError(f"{folder}: {free / 1e9:.1f} GB free; make room for {MIN_DISK_BYTES / 1e9:.1f} GB")

    def memory() -> None:
        if free_memory_bytes < MIN_MEMORY_BYTES:
            need = MIN_MEMORY_BYTES / 1e9
            raise InputError(
                f"{free_memory_bytes / 1e9:.1f} GB of memory free; end other processes, {need:.1f} are needed"
            )

    def python() -> None:
        version = tuple(int(part) for part in platform.python_version_tuple()[:2])
        if version < OLDEST_PYTHON:
            raise InputError(f"Python {platform.python_version()}; install 3.11 or newer")

    return (
        look(where, f"Pharmonia {__version__} on Python {platform.python_version()}", python),
        look(where, "disk", disk),
        look(where, "memory", memory),
    )


def require_code(plan: RunPlan, code: CodeIdentity) -> None:
    """Refuses code that a plan does not name.

    Raises:
        RefusedError: The package, or the packages under it, differ.
    """
    if plan.code is not None and plan.code != code:
        part = "Pharmonia itself" if plan.code.package != code.package else "Python or the packages under Pharmonia"
        raise RefusedError(f"{plan.label} was approved for other code: {part} differs; install what was approved")


def greeting_checks(
    plan: RunPlan, agreement: Agreement, code: CodeIdentity, greetings: Sequence[tuple[Greeting, datetime]]
) -> Preflight:
    """What the coordinator finds in what every site says of itself.

    Args:
        plan: To be run.
        agreement: In force at the coordinator.
        code: That runs at the coordinator.
        greetings: With the coordinator's time of each.
    """
    found: list[Check] = []
    named = plan.code or code
    for one, at in greetings:
        found.append(look(one.partner, "the same clock", partial(_same_clock, one, at)))
        for what, ours, theirs in (
            ("agreement", agreement.digest, one.agreement),
            ("plan", plan.digest, one.plan),
            ("recipe", plan.recipe, one.recipe),
            ("code", named.package, one.code.package),
            ("Python and packages", named.environment, one.code.environment),
        ):
            found.append(look(one.partner, f"the same {what}", partial(_same, one.partner, what, ours, theirs)))
    return Preflight(tuple(found))


def _same(partner: str, what: str, ours: str, theirs: str) -> None:
    if ours != theirs:
        raise RefusedError(
            f"{partner} has another {what}, {theirs[:16]} and not {ours[:16]}; give it what was approved"
        )


def _same_clock(one: Greeting, at: datetime) -> None:
    skew_s = (one.at - at).total_seconds()
    if abs(skew_s) > MAX_SKEW_S:
        side = "ahead of" if skew_s > 0 else "behind"
        raise RefusedError(
            f"the clock of {one.partner} is {abs(skew_s):.0f} s {side} the coordinator's; set both by a time server"
        )


def write_preflight(path: Path, found: Preflight) -> None:
    """Write what was found, for whoever asks later.

    Raises:
        InputError: It cannot be written.
    """
    rows: list[Json] = [
        {
            "where": check.where,
            "what": check.what,
            "error": None if check.error is None else type(check.error).__name__,
            "reason": "" if check.error is None else str(check.error),
        }
        for check in found.checks
    ]
    write_whole(path, canonical_json({"format": FORMAT, "checks": rows}) + b"\n")


def read_preflight(path: Path) -> Preflight:
    """What `write_preflight` wrote.

    Raises:
        InputError: There is no such file.
        StoreError: It is damaged.
    """
    try:
        rows = json.loads(path.read_bytes())["checks"]
        return Preflight(tuple(_check(row["where"], row["what"], row["error"], row["reason"]) for row in rows))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged; remove it") from error


def _check(where: str, what: str, name: str | None, reason: str) -> Check:
    kind = getattr(errors, name or "", None)
    if name is not None and not (isinstance(kind, type) and issubclass(kind, PharmoniaError)):
        raise ValueError(name)
    return Check(where=str(where), what=str(what), error=None if kind is None else kind(reason))

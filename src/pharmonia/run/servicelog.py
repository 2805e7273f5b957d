"""What a service says while it runs: one JSON object a line, and nothing that could be of somebody's data.

    {"at":"2026-11-22T04:00:00Z","event":"process.ended","exit":-9,"level":"warning","service":"acme","wait_s":1}

Fields are of a closed list, each of its own form: ids, digests, classes of errors, words of ours and numbers that count
processes, rounds or seconds. Free text is refused, so that no structure, sequence or measured value can be logged by
mistake; reasons in words stand in files of the folder that the service was started for.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import TextIO

from pharmonia.base import errors
from pharmonia.base.canonical import Json
from pharmonia.base.errors import EventError, PharmoniaError
from pharmonia.governance.documents import require_id, time_text, whole_second

Fact = str | int
MAX_NUMBER = 2**53
_HEX = re.compile(r"[0-9a-f]{16}")
_PARTNER = re.compile(r"[a-z][a-z0-9-]{0,31}")
_STATUS = re.compile(r"FINISHED:[A-Z_']{1,40}")
_ERRORS = frozenset(
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, PharmoniaError)
)


class Level(StrEnum):
    """How much a line asks for attention."""

    INFO = "info"
    WARNING = "warning"  # the service deals with it
    ERROR = "error"  # somebody must


class Happening(StrEnum):
    """What a line tells of."""

    SERVICE_STARTED = "service.started"
    SERVICE_STOPPED = "service.stopped"
    PROCESS_STARTED = "process.started"
    PROCESS_ENDED = "process.ended"
    PORT_BUSY = "port.busy"
    SERVER_CONNECTED = "server.connected"
    SERVER_LOST = "server.lost"
    OPERATOR_FAILED = "operator.failed"
    PARTNERS_AWAITED = "partners.awaited"
    RUN_SUBMITTED = "run.submitted"
    RUN_FAILED = "run.failed"
    RUN_REFUSED = "run.refused"
    RUN_FINISHED = "run.finished"
    ROUND_FINISHED = "round.finished"
    PARTNER_LOST = "partner.lost"
    PARTNER_BACK = "partner.back"
    GIVEN_UP = "service.given-up"


class Field(StrEnum):
    """What may stand in a line besides time, level, service and event."""

    RUN = "run"  # the first 16 digits of the plan's digest
    ROUND = "round"
    ROUNDS = "rounds"
    PROCESS = "process"
    EXIT = "exit"
    ATTEMPT = "attempt"
    WAIT_S = "wait_s"
    ERROR = "error"  # a class of our errors; its message stands in a file of the folder
    STATUS = "status"  # as NVFlare calls it
    PARTNERS = "partners"
    PARTNER = "partner"  # its id
    PORT = "port"


_TEXTS: Mapping[Field, Callable[[str], bool]] = {
    Field.RUN: lambda text: _HEX.fullmatch(text) is not None,
    Field.ERROR: lambda text: text in _ERRORS,
    Field.STATUS: lambda text: _STATUS.fullmatch(text) is not None,
    Field.PARTNER: lambda text: _PARTNER.fullmatch(text) is not None,
}


class ServiceLog:
    """Writes lines for one service.

    Guarantees:
        only_known_facts_are_logged: A field or text of no known form is refused, whoever hands it over.
    """

    def __init__(self, stream: TextIO, service: str, now: Callable[[], datetime]) -> None:
        """Service: the id of the partner that it works for.

        Raises:
            TermsError: No id.
        """
        require_id(service, "the service of a log")
        self._stream = stream
        self._service = service
        self._now = now

    def say(self, level: Level, event: Happening, facts: Mapping[Field, Fact]) -> None:
        """Write one line; where the disk is full it is lost.

        Raises:
            EventError: A fact that a log does not take.
        """
        line: dict[str, Json] = {field.value: _checked(field, fact) for field, fact in facts.items()}
        at = time_text(whole_second(self._now()))
        line |= {"at": at, "level": level.value, "service": self._service, "event": event.value}
        with suppress(OSError):  # a service that cannot tell what it does still does it
            self._stream.write(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n")
            self._stream.flush()


def _checked(field: Field, fact: Fact) -> Fact:
    is_text = field in _TEXTS
    if is_text != isinstance(fact, str):
        raise EventError(f"the field {field} of a log is {'a word' if is_text else 'a number'}")
    if isinstance(fact, str) and not _TEXTS[field](fact):
        raise EventError(f"the field {field} of a log has another form")
    if isinstance(fact, int) and abs(fact) > MAX_NUMBER:
        raise EventError(f"the field {field} of a log is a small number")
    return fact


def plain_text(line: bytes) -> str:
    """A line of a log as people read it; of a line that is none, its length."""
    try:
        tree = json.loads(line)
        at, level, service, event = (str(tree.pop(name)) for name in ("at", "level", "service", "event"))
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"({len(line)} bytes that are no line of a log)"
    facts = " ".join(f"{name}={value}" for name, value in sorted(tree.items()))
    text = f"{at} {level:<7} {service:<12} {event:<17} {facts}".rstrip()
    return "".join(letter if letter.isprintable() else "?" for letter in text)

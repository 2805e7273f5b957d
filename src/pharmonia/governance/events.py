"""What a ledger can hold: one frozen type per kind of event, with fields of closed types and no others.

A field is a SHA-256 digest, a key's id, a word of a closed list, a small whole number, or a tuple of those. There is no
free text, no fraction and no vector, so that no structure, sequence, measured value or model parameter has a place to
stand in. Refusals do not repeat what they refused: it may be a secret.
"""

import itertools
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pharmonia.base.errors import EventError
from pharmonia.governance.terms import RefusalCode, ResourceKind

MAX_NUMBER = 2**31 - 1
MAX_CONTRIBUTORS = 255  # as many as one secure sum has
MAX_TEN_THOUSANDTHS = 10_000_000
PUBLIC = "public"
OUTSIDE = "outside"  # of the consortium

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY_ID = re.compile(r"pk-[0-9a-f]{16}")


class FailureCode(StrEnum):
    """What went wrong in a run."""

    PARTNER_LOST = "partner-lost"
    ROUND_LOST = "round-lost"
    MESSAGE_DAMAGED = "message-damaged"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    STORAGE_FULL = "storage-full"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    ENGINE_STOPPED = "engine-stopped"
    HEADER_REFUSED = "header-refused"
    PARTNER_BACK = "partner-back"  # no fault: the run begins again with a partner that was away


class Revocable(StrEnum):
    """What a partner can take back."""

    APPROVAL = "approval"  # the subject is a plan
    DATASET = "dataset"  # the subject is a data set's commitment


class FigureName(StrEnum):
    """Which metrics may be recorded."""

    MSE = "mse"
    RMSE = "rmse"
    MAE = "mae"
    CI = "ci"
    PEARSON = "pearson"
    SPEARMAN = "spearman"
    R2 = "r2"
    R2M = "r2m"
    ROC_AUC = "roc-auc"
    PR_AUC = "pr-auc"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFigure:
    """One metric over one whole test set, as a whole number of ten-thousandths."""

    name: FigureName
    ten_thousandths: int

    def __post_init__(self) -> None:
        _require_member("a figure's name", self.name, FigureName)
        require_number("ten_thousandths", self.ten_thousandths, -MAX_TEN_THOUSANDTHS, MAX_TEN_THOUSANDTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementAdopted:
    """A version of the agreement is in force from here on."""

    version: int  # from 1
    agreement: str  # digest

    def __post_init__(self) -> None:
        require_number("version", self.version, 1, MAX_NUMBER)
        require_digest("agreement", self.agreement)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFiled:
    """A plan is laid before the partners."""

    plan: str  # digest

    def __post_init__(self) -> None:
        require_digest("plan", self.plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanApproved:
    """The author approves a plan, byte for byte."""

    plan: str  # digest

    def __post_init__(self) -> None:
        require_digest("plan", self.plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefused:
    """The author refuses a plan, or a round of it."""

    plan: str  # digest
    code: RefusalCode

    def __post_init__(self) -> None:
        require_digest("plan", self.plan)
        _require_member("code", self.code, RefusalCode)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened:
    """A round of a plan begins among these contributors."""

    plan: str  # digest
    session: str  # digest; the 32 bytes that name a session of secure aggregation
    round_index: int  # from 0; rises within a session
    header: str  # digest
    contributors: tuple[str, ...]  # key ids, sorted

    def __post_init__(self) -> None:
        require_digest("plan", self.plan)
        require_digest("session", self.session)
        require_number("round_index", self.round_index, 0, MAX_NUMBER)
        require_digest("header", self.header)
        _require_key_ids("contributors", self.contributors)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundAggregated:
    """The round's sum was taken over these contributors, and the model after it is this one."""

    session: str  # digest
    round_index: int
    aggregate: str  # digest
    contributors: tuple[str, ...]  # key ids, sorted; those who stayed

    def __post_init__(self) -> None:
        require_digest("session", self.session)
        require_number("round_index", self.round_index, 0, MAX_NUMBER)
        require_digest("aggregate", self.aggregate)
        _require_key_ids("contributors", self.contributors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A model was evaluated: the digest of all results, and a few figures."""

    plan: str  # digest
    model: str  # digest
    results: str  # digest of the file of results
    figures: tuple[RecordedFigure, ...]  # sorted by name, each once

    def __post_init__(self) -> None:
        require_digest("plan", self.plan)
        require_digest("model", self.model)
        require_digest("results", self.results)
        if type(self.figures) is not tuple or not all(type(figure) is RecordedFigure for figure in self.figures):
            raise EventError("figures must be a tuple of recorded figures; a ledger takes nothing else")
        names = [figure.name.value for figure in self.figures]
        if names != sorted(set(names)):
            raise EventError("figures must be sorted by name, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """The author hands something over."""

    what: ResourceKind
    content: str  # digest
    recipient: str  # key id, "outside" or "public"

    def __post_init__(self) -> None:
        _require_member("what", self.what, ResourceKind)
        require_digest("content", self.content)
        if type(self.recipient) is not str or self.recipient not in (OUTSIDE, PUBLIC):
            require_key_id("recipient", self.recipient)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged:
    """The author's own policy is this one from the next round on."""

    policy: str  # digest

    def __post_init__(self) -> None:
        require_digest("policy", self.policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The author takes something back from the next round on."""

    what: Revocable
    subject: str  # digest

    def __post_init__(self) -> None:
        _require_member("what", self.what, Revocable)
        require_digest("subject", self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A run of a plan failed, or a part of it."""

    plan: str  # digest
    code: FailureCode

    def __post_init__(self) -> None:
        require_digest("plan", self.plan)
        _require_member("code", self.code, FailureCode)


Event = (
    AgreementAdopted
    | PlanFiled
    | PlanApproved
    | PlanRefused
    | RoundOpened
    | RoundAggregated
    | Evaluated
    | Exporting
    | PolicyChanged
    | Revoked
    | Failed
)


def require_digest(name: str, value: object) -> None:
    """Refuse what is not 64 hexadecimal digits in lower case.

    Raises:
        EventError: It is not; the value is not repeated.
    """
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise EventError(f"{name} must be a digest of 64 hexadecimal digits, got {_kind_of(value)}")


def require_key_id(name: str, value: object) -> None:
    """Refuse what is not a key's id.

    Raises:
        EventError: It is not; the value is not repeated.
    """
    if not isinstance(value, str) or not _KEY_ID.fullmatch(value):
        raise EventError(f"{name} must be a key's id such as pk-0123456789abcdef, got {_kind_of(value)}")


def require_number(name: str, value: object, low: int, high: int) -> None:
    """Refuse what is not a whole number of this range.

    Raises:
        EventError: It is not; the value is not repeated.
    """
    if type(value) is not int or not low <= value <= high:
        raise EventError(f"{name} must be a whole number from {low} to {high}, got {_kind_of(value)}")


def _require_member(name: str, value: object, words: type[StrEnum]) -> None:
    if not isinstance(value, words):
        raise EventError(f"{name} must be one of {', '.join(words)}, got {_kind_of(value)}")


def _require_key_ids(name: str, values: object) -> None:
    if type(values) is not tuple or not 1 <= len(values) <= MAX_CONTRIBUTORS:
        raise EventError(f"{name} must be a tuple of 1 to {MAX_CONTRIBUTORS} key ids, got {_kind_of(values)}")
    if not all(type(value) is str for value in values):
        raise EventError(f"{name} must be key ids and nothing else")
    _require_sorted_key_ids(name, values)


@lru_cache(maxsize=256)
def _require_sorted_key_ids(name: str, values: tuple[str, ...]) -> None:
    """Remembers the sets that passed: rounds have the same contributors again and again."""
    for value in values:
        require_key_id(name, value)
    if any(first >= second for first, second in itertools.pairwise(values)):
        raise EventError(f"{name} must be sorted, each once")


def _kind_of(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, str | bytes | tuple | list) else ""
    return f"{type(value).__name__}{size}"

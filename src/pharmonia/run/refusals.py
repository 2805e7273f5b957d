"""How a party says no: a frame with its signed entry for the ledger, and the reason for people."""

import json
from dataclasses import dataclass

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import LedgerError, MessageError
from pharmonia.governance.events import PlanRefused, PolicyChanged, Revoked
from pharmonia.governance.ledger import Entry, decode_entry

MAGIC = b"PHR1"
MAX_FRAME_BYTES = 2**16
MAX_REASON = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A party's answer when it may not take part.

    Args:
        entry: What it states for the ledger, signed.
        reason: For people; stands in no ledger.

    Raises:
        MessageError: An entry that states something else than a refusal, or a reason that nobody could read.
    """

    entry: Entry
    reason: str

    def __post_init__(self) -> None:
        kinds = (PlanRefused, PolicyChanged, Revoked)
        if not any(isinstance(event, PlanRefused) for event in self.entry.events) or not all(
            isinstance(event, kinds) for event in self.entry.events
        ):
            raise MessageError("a refusal states a refused plan, and besides only a policy and what it takes back")
        if not 1 <= len(self.reason) <= MAX_REASON or not self.reason.isprintable():
            raise MessageError(f"the reason of a refusal is 1 to {MAX_REASON} printable characters")


def encode_refusal(refusal: Refusal) -> bytes:
    """The frame: `b"PHR1"` and canonical JSON."""
    return MAGIC + canonical_json({"entry": refusal.entry.to_line().decode(), "reason": refusal.reason})


def is_refusal(frame: bytes) -> bool:
    """Whether a frame says no, by its first bytes."""
    return frame[: len(MAGIC)] == MAGIC


def decode_refusal(frame: bytes) -> Refusal:
    """The refusal in a frame; whose signature it bears is for the ledger's copies to check.

    Raises:
        MessageError: It is none, byte for byte.
    """
    if not is_refusal(frame) or len(frame) > MAX_FRAME_BYTES:
        raise MessageError(f"expected a refusal of at most {MAX_FRAME_BYTES} bytes, got {len(frame)}")
    try:
        body = json.loads(frame[len(MAGIC) :].decode())
        refusal = Refusal(entry=decode_entry(body["entry"].encode()), reason=body["reason"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerError) as error:
        raise MessageError("a refusal that no party sends") from error
    if encode_refusal(refusal) != frame:
        raise MessageError("a refusal is not in canonical form")
    return refusal

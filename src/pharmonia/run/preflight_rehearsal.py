"""A rehearsal of a round before the first one: zeros, summed as the plan's updates will be; what both sides say in it.

The whole way is gone: keys exchanged between all partners, masks over as many values as the plan's model has, frames of
the same length through the same engine. No data are opened, and no key of a partner signs anything: each makes an
identity for the rehearsal, gives it to the coordinator unsigned, and forgets it. All that could be learned is zeros.
"""

import json
from enum import IntEnum

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import MessageError
from pharmonia.governance.plan import RunPlan
from pharmonia.learn.learner import Tensors
from pharmonia.learn.network import sum_tensors
from pharmonia.learn.shared import shared_model
from pharmonia.run.planned import training_plan_of

MAGIC = b"PHR1"
MAX_ROSTER_BYTES = 1 << 20
KEY_BYTES = 32


class Part(IntEnum):
    """What a frame of a rehearsal is, in both directions."""

    IDENTITY = 1  # asks for an identity; 32 bytes come back
    ROSTER = 2  # all identities by partner; nothing comes back
    CARRY = 3  # a frame of the run within


def wrap(part: Part, body: bytes) -> bytes:
    """The frame of a part."""
    return MAGIC + bytes([part]) + body


def unwrap(part: Part, frame: bytes) -> bytes:
    """The body of a frame of that part.

    Raises:
        MessageError: It is none.
    """
    head = wrap(part, b"")
    if frame[: len(head)] != head:
        raise MessageError(f"expected part {part.name} of a rehearsal")
    return frame[len(head) :]


def is_rehearsal(frame: bytes) -> bool:
    """Whether a frame's first bytes say so."""
    return frame[: len(MAGIC)] == MAGIC


def encode_roster(identities: dict[str, bytes]) -> bytes:
    """Identities by partner, as they are sent to all."""
    return canonical_json({partner: raw.hex() for partner, raw in identities.items()})


def decode_roster(body: bytes) -> dict[str, bytes]:
    """The reverse of `encode_roster`.

    Raises:
        MessageError: No roster.
    """
    try:
        if len(body) > MAX_ROSTER_BYTES:
            raise ValueError(len(body))
        tree = json.loads(body)
        identities = {str(partner): bytes.fromhex(text) for partner, text in tree.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MessageError("the roster of a rehearsal is damaged") from error
    if any(len(raw) != KEY_BYTES for raw in identities.values()):
        raise MessageError(f"an identity has {KEY_BYTES} bytes")
    return identities


def rehearsed_tensors(plan: RunPlan) -> Tensors:
    """Names and lengths of what a training step of the plan sums, which both sides find for themselves.

    Raises:
        PharmoniaError: The plan cannot be trained.
    """
    training = training_plan_of(plan)
    return sum_tensors(shared_model(training.local, training.method, training.seed).layout, training.method)

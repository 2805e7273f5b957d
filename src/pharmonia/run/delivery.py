"""The coordinator's side of a delivery: the model to each partner that the plan gives it to, on the ledger first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pharmonia.base.canonical import Json
from pharmonia.base.errors import EngineError, MessageError, PharmoniaError, RefusedError, UnreachableError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import ResourceKind
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.delivered import DeliveredModel, content_digest
from pharmonia.run.delivery_frames import Answer, Kept, Offer, decode, encode
from pharmonia.run.records import TrainedModel
from pharmonia.run.refusals import decode_refusal, is_refusal
from pharmonia.run.remote_ledger import PartnerLink, RemoteWitness

AnswerT = TypeVar("AnswerT", Answer, Kept)


class Outcome(StrEnum):
    """Whether a partner has its model."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # by the agreement or by the partner; asking again changes nothing
    NOT_TAKEN = "not-taken"  # something is wrong with its copy of the ledger or its folder; somebody has to look
    UNREACHABLE = "unreachable"  # the next run tries again


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What became of one partner's delivery.

    Args:
        partner: Who should get it.
        outcome: Whether it did.
        reason: Why not; empty if it did.
    """

    partner: str
    outcome: Outcome
    reason: str = ""


class Delivery:
    """The hand-over of one run's model.

    Guarantees:
        on_the_ledger_before_it_leaves: That a partner gets it is on our copy and on that partner's first.
        once: Who has the model is not sent it again.
        nobody_waits_for_another: What keeps one partner from its model keeps no other.
    """

    def __init__(self, chronicle: Chronicle, agreement: Agreement, link: PartnerLink, model: DeliveredModel) -> None:
        """Agreement: in force; link: reaches the partners."""
        self._chronicle = chronicle
        self._agreement = agreement
        self._link = link
        self._model = model
        self._content = content_digest(model.file())

    def to_each(self, recipients: Sequence[RemoteWitness]) -> tuple[Handed, ...]:
        """What became of each partner's delivery, one after the other; then every copy that is there is brought up."""
        handed = tuple(self._hand(recipient) for recipient in recipients)
        self._chronicle.settle()
        return handed

    def _hand(self, recipient: RemoteWitness) -> Handed:
        try:
            self._deliver(recipient)
        except RefusedError as error:
            return Handed(partner=recipient.partner, outcome=Outcome.REFUSED, reason=str(error))
        except EngineError as error:
            return Handed(partner=recipient.partner, outcome=Outcome.UNREACHABLE, reason=str(error))
        except PharmoniaError as error:
            return Handed(partner=recipient.partner, outcome=Outcome.NOT_TAKEN, reason=str(error))
        return Handed(partner=recipient.partner, outcome=Outcome.DELIVERED)

    def _deliver(self, recipient: RemoteWitness) -> None:
        model, partner = self._model, recipient.partner
        offer = Offer(plan=model.plan, best_round=model.best_round, aggregate=model.aggregate, content=self._content)
        self._chronicle.reach(recipient)
        if not self._ask(partner, encode(offer), Answer).is_lacking:
            return
        self._chronicle.handing_over(self._content, recipient, self._agreement)
        kept = self._ask(partner, encode(model), Kept)
        if kept.content != self._content:
            raise MessageError(f"{partner} keeps a file with {kept.content[:16]}, not the model {self._content[:16]}")

    def _ask(self, partner: str, frame: bytes, kind: type[AnswerT]) -> AnswerT:
        answer = self._link.ask(partner, frame)
        if is_refusal(answer):
            refusal = decode_refusal(answer)
            self._chronicle.declined(refusal)
            raise RefusedError(refusal.reason)
        message = decode(answer)
        if not isinstance(message, kind):
            raise MessageError(f"{partner}: expected {kind.__name__}, got {type(message).__name__}")
        return message


def recipients_of(plan: RunPlan, others: Sequence[RemoteWitness]) -> tuple[RemoteWitness, ...]:
    """The sites that the plan gives the shared trunk; who has none in the run gets it by other ways."""
    named = plan.recipients(ResourceKind.SHARED_TRUNK)
    return tuple(other for other in others if other.partner in named)


def delivered_model(plan: RunPlan, model: TrainedModel) -> DeliveredModel | None:
    """What a run hands over; None of a run in which no round was validated."""
    best = model.selection.best_round
    if best is None:
        return None
    return DeliveredModel(plan=plan.digest, best_round=best, parameters=model.parameters)


def require_delivered(plan: RunPlan, handed: Sequence[Handed]) -> None:
    """Nothing, if every partner has its model or refused it, which then is on the ledger.

    Raises:
        UnreachableError: The next run may reach who could not be reached.
        MessageError: Somebody has to look at a site first.
    """
    trained = f"{plan.label} is trained and its model kept, but these have not got theirs"
    away, wrong = (
        "; ".join(f"{one.partner} ({one.reason})" for one in handed if one.outcome is outcome)
        for outcome in (Outcome.UNREACHABLE, Outcome.NOT_TAKEN)
    )
    if wrong:
        raise MessageError(f"{trained}: {wrong}; look at their folders, and run again to deliver it")
    if away:
        raise UnreachableError(f"{trained}: {away}; run again to deliver it")


def deliveries_json(handed: Sequence[Handed]) -> Json:
    """What became of each delivery, for people."""
    return {one.partner: {"outcome": one.outcome.value, "reason": one.reason} for one in handed}


def away_in(deliveries: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Partners that could not be reached, read off `deliveries_json`."""
    return tuple(partner for partner, told in deliveries.items() if told["outcome"] == Outcome.UNREACHABLE)

"""Events as JSON objects and back; their canonical bytes are what authors sign."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from pharmonia.base.canonical import Json
from pharmonia.base.errors import EventError, LedgerError
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    Failed,
    FailureCode,
    FigureName,
    PlanApproved,
    PlanFiled,
    PlanRefused,
    PolicyChanged,
    RecordedFigure,
    Revocable,
    Revoked,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.terms import RefusalCode, ResourceKind

WordT = TypeVar("WordT", bound=StrEnum)
Body = Mapping[str, object]
_Rarer = (
    AgreementAdopted | PlanFiled | PlanApproved | PlanRefused | Evaluated | Exporting | PolicyChanged | Revoked | Failed
)


def encode_event(event: Event) -> dict[str, Json]:
    """The event as a JSON object, with its kind."""
    match event:
        case RoundOpened():
            return {
                "kind": "round",
                "plan": event.plan,
                "session": event.session,
                "round_index": event.round_index,
                "header": event.header,
                "contributors": event.contributors,
            }
        case RoundAggregated():
            return {
                "kind": "aggregate",
                "session": event.session,
                "round_index": event.round_index,
                "aggregate": event.aggregate,
                "contributors": event.contributors,
            }
        case _:
            return _encode_rarer(event)


def _encode_rarer(event: _Rarer) -> dict[str, Json]:  # noqa: PLR0911
    match event:
        case AgreementAdopted():
            return {"kind": "agreement", "version": event.version, "agreement": event.agreement}
        case PlanFiled():
            return {"kind": "plan", "plan": event.plan}
        case PlanApproved():
            return {"kind": "approval", "plan": event.plan}
        case PlanRefused():
            return {"kind": "refusal", "plan": event.plan, "code": event.code.value}
        case Evaluated():
            figures = [{"name": one.name.value, "ten_thousandths": one.ten_thousandths} for one in event.figures]
            digests = {"plan": event.plan, "model": event.model, "results": event.results}
            return {"kind": "evaluation", **digests, "figures": figures}
        case Exporting():
            what = event.what.value
            return {"kind": "export", "what": what, "content": event.content, "recipient": event.recipient}
        case PolicyChanged():
            return {"kind": "policy", "policy": event.policy}
        case Revoked():
            return {"kind": "revocation", "what": event.what.value, "subject": event.subject}
        case Failed():
            return {"kind": "failure", "plan": event.plan, "code": event.code.value}


def decode_event(value: object) -> Event:
    """The event that a JSON object is.

    Superfluous fields are not noticed here: whoever reads bytes compares them with what encoding gives.

    Raises:
        LedgerError: It is no event.
    """
    if not isinstance(value, dict):
        raise LedgerError(f"an event must be an object, got {type(value).__name__}")
    try:
        return _decode(value)
    except EventError as error:
        raise LedgerError(f"an event that no ledger takes: {error}") from error


def _decode(body: Body) -> Event:  # noqa: PLR0911
    match body.get("kind"):
        case "round":
            return RoundOpened(
                plan=_text(body, "plan"),
                session=_text(body, "session"),
                round_index=_number(body, "round_index"),
                header=_text(body, "header"),
                contributors=_texts(body, "contributors"),
            )
        case "aggregate":
            return RoundAggregated(
                session=_text(body, "session"),
                round_index=_number(body, "round_index"),
                aggregate=_text(body, "aggregate"),
                contributors=_texts(body, "contributors"),
            )
        case "agreement":
            return AgreementAdopted(version=_number(body, "version"), agreement=_text(body, "agreement"))
        case "plan":
            return PlanFiled(plan=_text(body, "plan"))
        case "approval":
            return PlanApproved(plan=_text(body, "plan"))
        case "refusal":
            return PlanRefused(plan=_text(body, "plan"), code=_word(body, "code", RefusalCode))
        case _:
            return _decode_rarer(body)


def _decode_rarer(body: Body) -> Event:
    match body.get("kind"):
        case "evaluation":
            return Evaluated(
                plan=_text(body, "plan"),
                model=_text(body, "model"),
                results=_text(body, "results"),
                figures=tuple(_figure(one) for one in _list(body, "figures")),
            )
        case "export":
            return Exporting(
                what=_word(body, "what", ResourceKind),
                content=_text(body, "content"),
                recipient=_text(body, "recipient"),
            )
        case "policy":
            return PolicyChanged(policy=_text(body, "policy"))
        case "revocation":
            return Revoked(what=_word(body, "what", Revocable), subject=_text(body, "subject"))
        case "failure":
            return Failed(plan=_text(body, "plan"), code=_word(body, "code", FailureCode))
        case _:
            raise EventError("its kind is not one of the closed list")


def _figure(value: object) -> RecordedFigure:
    if not isinstance(value, dict):
        raise EventError("a figure must be an object")
    return RecordedFigure(name=_word(value, "name", FigureName), ten_thousandths=_number(value, "ten_thousandths"))


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if type(value) is not str:
        raise EventError(f"{name} must be a text, got {type(value).__name__}")
    return value


def _number(body: Body, name: str) -> int:
    value = body.get(name)
    if type(value) is not int:
        raise EventError(f"{name} must be a whole number, got {type(value).__name__}")
    return value


def _list(body: Body, name: str) -> list[object]:
    value = body.get(name)
    if type(value) is not list:
        raise EventError(f"{name} must be a list, got {type(value).__name__}")
    return value


def _texts(body: Body, name: str) -> tuple[str, ...]:
    values = _list(body, name)
    texts = tuple(value for value in values if type(value) is str)
    if len(texts) != len(values):
        raise EventError(f"{name} must be a list of texts")
    return texts


def _word(body: Body, name: str, words: type[WordT]) -> WordT:
    value = _text(body, name)
    try:
        return words(value)
    except ValueError as error:
        raise EventError(f"{name} must be one of {', '.join(words)}") from error

"""Plans, policies and entries of a ledger in words."""

from collections.abc import Iterator, Mapping

from pharmonia.base.canonical import Json
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.documents import time_text
from pharmonia.governance.events import Event
from pharmonia.governance.events_codec import encode_event
from pharmonia.governance.ledger import Entry, write_time
from pharmonia.governance.plan import RunPlan, Setting, SignedPlan
from pharmonia.governance.policy import Grant, LocalPolicy

_DIGITS, _SHOWN = 64, 16  # of a digest


def plan_text(signed: SignedPlan) -> str:
    """A plan, field by field, and the keys that approved it."""
    return "\n".join([*_plan_lines(signed.plan), *_approvals(signed)])


def _plan_lines(plan: RunPlan) -> Iterator[str]:
    yield f"{plan.label}, version {plan.version}, of {plan.consortium}"
    yield f"digest {plan.digest}"
    yield f"under version {plan.agreement_version} of the agreement, {plan.agreement}"
    yield f"valid until {time_text(plan.valid_until)}"
    yield f"coordinator: {plan.coordinator}"
    yield from (f"data set of {one.partner}: {one.commitment}" for one in plan.datasets)
    yield f"recipe {plan.recipe}"
    yield f"reference set {plan.reference_set or 'none'}"
    yield f"model {plan.model}: {_settings(plan.model_settings)}"
    yield f"method {plan.method}: {_settings(plan.method_settings)}"
    yield f"at most {plan.n_rounds} rounds, seed {plan.seed}"
    terms = plan.aggregation
    yield (
        f"secure aggregation against {terms.n_colluders} colluding partners, {terms.tier}"
        if terms.required
        else "updates are seen by the server"
    )
    budget = plan.privacy_budget
    yield f"privacy budget: {f'epsilon {budget.epsilon}, delta {budget.delta}' if budget else 'none'}"
    yield f"code: {f'package {plan.code.package}, environment {plan.code.environment}' if plan.code else 'not named'}"
    yield f"judged by {', '.join(plan.metrics)}"
    yield from (f"the {one.what.value} goes to {', '.join(one.partners)}" for one in plan.deliveries)


def _approvals(signed: SignedPlan) -> Iterator[str]:
    for signature in signed.signatures:
        yield f"approved by {signature.key_id} as {signature.role}, {time_text(signature.signed_at)}"
    if not signed.signatures:
        yield "approved by nobody yet"


def _settings(settings: tuple[Setting, ...]) -> str:
    return ", ".join(f"{setting.name} {setting.value}" for setting in settings) or "no settings"


def policy_text(policy: LocalPolicy) -> str:
    """A policy with its grants, numbered."""
    budget = policy.privacy_budget
    lines = [
        f"{policy.name} in {policy.consortium}, serial {policy.serial}",
        f"digest {policy.digest}",
        f"issued {time_text(policy.issued_at)}, valid until {time_text(policy.valid_until)}",
        f"plans with {policy.min_cohort} data owners or more",
        f"secure aggregation {'is asked for' if policy.secure_aggregation else 'as the agreement has it'}",
        f"privacy budget: {f'epsilon {budget.epsilon}, delta {budget.delta}' if budget else 'as the agreement has it'}",
    ]
    return "\n".join([*lines, *(f"grant {at}: {_grant(grant)}" for at, grant in enumerate(policy.grants, 1))])


def _grant(grant: Grant) -> str:
    who = ", ".join(grant.partners) or "every partner that the agreement allows"
    data = ", ".join(one[:_SHOWN] for one in grant.datasets) or "all data sets"
    end = f"until {time_text(grant.until)}"
    if grant.revoked_at is not None:
        end = f"REVOKED {time_text(grant.revoked_at)}"
    return f"{who} may {', '.join(grant.actions)} {', '.join(grant.resources)} of {data}, {end}"


def owners_of(agreement: Agreement) -> dict[str, str]:
    """Partners by key id, of all keys that an agreement names."""
    return {key.public.key_id: key.partner for key in agreement.keys}


def entry_text(place: int, entry: Entry, owners: Mapping[str, str]) -> str:
    """One line for each event: place in the ledger, time, author, what it says; digests are cut short."""
    head = f"{place:>6}  {write_time(entry.at)}  {owners.get(entry.key, entry.key):<20}"
    return "\n".join(f"{head}  {_event_text(event, owners)}" for event in entry.events)


def _event_text(event: Event, owners: Mapping[str, str]) -> str:
    fields = encode_event(event)
    kind = fields.pop("kind")
    return f"{kind}: {', '.join(f'{name} {_short(value, owners)}' for name, value in fields.items())}"


def _short(value: Json, owners: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return owners.get(value, value[:_SHOWN] if len(value) == _DIGITS else value)
    if isinstance(value, Mapping):
        return " ".join(_short(one, owners) for one in value.values())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_short(one, owners) for one in value) + "]"
    return str(value)

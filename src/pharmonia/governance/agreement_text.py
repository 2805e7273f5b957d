"""An agreement for people: what it says, who has signed, and what changes from version to version."""

from collections.abc import Iterator, Mapping

from pharmonia.base.canonical import Json
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey, key_json
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import time_text
from pharmonia.governance.terms import PlanRules
from pharmonia.governance.terms_codec import terms_json


def agreement_text(history: AgreementHistory) -> str:
    """The last version in words, with its state, its keys and their fingerprints."""
    signed = history.versions[-1]
    return "\n".join([*_heading(signed.agreement), "", *_terms(signed.agreement), "", *_state(history)])


def _heading(agreement: Agreement) -> Iterator[str]:
    terms = agreement.terms
    yield f"{terms.title} ({terms.consortium}), agreement, version {agreement.version}"
    yield f"digest {agreement.digest}"
    yield f"valid until {time_text(terms.valid_until)}"
    yield f"purpose: {terms.purpose}"


def _terms(agreement: Agreement) -> Iterator[str]:
    terms, thresholds = agreement.terms, agreement.terms.thresholds
    yield "Partners"
    for partner in terms.partners:
        exports = ", ".join(partner.may_export) or "nothing"
        yield f"  {partner.id}: {partner.name}; {', '.join(partner.roles)}; may export {exports}"
        yield from (_key(key) for key in agreement.keys if key.partner == partner.id)
    yield from (_key(key) for key in agreement.keys if key.partner not in terms.ids)
    yield "Rules"
    yield f"  a version takes {thresholds.agreement} of: {', '.join(terms.deciding)}"
    yield f"  a plan takes {thresholds.plan} of: {', '.join(terms.data_owners)}"
    yield f"  a checkpoint of the ledger takes {thresholds.checkpoint} partners"
    yield f"  a plan trains with {terms.min_cohort} data owners or more, and holds {_rules(terms.plan_rules)}"
    yield f"  the shared trunk goes to: {', '.join(terms.trunk_recipients) or 'nobody'}"
    yield f"  may be published: {', '.join(terms.publishable) or 'nothing'}"
    yield f"  models are judged by {', '.join(terms.metrics)}; contribution is credited by {terms.credit}"


def _key(key: PartnerKey) -> str:
    until = f", until {time_text(key.valid_until)}" if key.state is KeyState.ACTIVE else f" of {key.partner}"
    return f"    {key.public.key_id} ({key.state}{until})  {key.public.fingerprint}"


def _rules(rules: PlanRules) -> str:
    budget = rules.privacy_budget
    held = [
        f"secure aggregation against {rules.n_colluders} colluding partners" if rules.secure_aggregation else "",
        f"a privacy budget of epsilon {budget.epsilon} and delta {budget.delta} at most" if budget else "",
        "the digest of the code" if rules.code_digest else "",
    ]
    return ", ".join(text for text in held if text) or "nothing in particular"


def _state(history: AgreementHistory) -> Iterator[str]:
    signed = history.versions[-1]
    for signature in signed.signatures:
        yield f"signed by {signature.key_id} as {signature.role}, {time_text(signature.signed_at)}"
    if history.lacking:
        yield f"version {signed.agreement.version} is proposed; it lacks:"
        yield from (f"  {lack}" for lack in history.lacking)
    else:
        yield f"version {signed.agreement.version} has all its signatures"


def differences(old: Agreement, new: Agreement) -> tuple[str, ...]:
    """What changes from one version to another, a line for each field of terms and keys."""
    before, after = (dict(_leaves(_named(_content(agreement)), "")) for agreement in (old, new))
    paths = sorted({*before, *after})
    return tuple(_change(path, before, after) for path in paths if before.get(path) != after.get(path))


def _content(agreement: Agreement) -> Json:
    return {"": terms_json(agreement.terms), "keys": [key_json(key) for key in agreement.keys]}


def _change(path: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if path not in before:
        return f"+ {path}: {after[path]}"
    if path not in after:
        return f"- {path}: {before[path]}"
    return f"~ {path}: {before[path]} -> {after[path]}"


def _named(tree: Json) -> Json:
    """The document with its lists of objects by name instead of by place, so that a newcomer moves nobody."""
    if isinstance(tree, Mapping):
        return {name: _named(value) for name, value in tree.items()}
    if isinstance(tree, list) and tree and isinstance(tree[0], Mapping):
        return {str(one.get("key_id", one.get("id"))): _named(one) for one in tree if isinstance(one, Mapping)}
    return ", ".join(map(str, tree)) if isinstance(tree, list) else tree


def _leaves(tree: Json, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _leaves(value, f"{path}, {name}" if path else name)
    else:
        yield path, str(tree) if tree not in {"", None} else "nothing"

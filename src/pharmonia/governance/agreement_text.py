"""An agreement for people: what it says, who has signed, and what changes from version to version."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from pharmonia.base.canonical import Json
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey, key_json
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import time_text
from pharmonia.governance.terms import PlanRules
from pharmonia.governance.terms_codec import terms_json

ENDS_SOON = timedelta(days=60)


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


def warnings(history: AgreementHistory, now: datetime) -> tuple[str, ...]:
    """What keeps the last version, or may keep later ones, from ever being accepted: a line, then one for each key."""
    last = history.versions[-1].agreement
    keys = ((key, _warning(last, key, now)) for key in last.keys if key.state is KeyState.ACTIVE)
    return (*_stuck(history, now), *(f"key {key.public.key_id} of {key.partner}: {text}" for key, text in keys if text))


def _warning(agreement: Agreement, key: PartnerKey, now: datetime) -> str:
    """What is wrong with an active key: it ends soon or has ended, or everybody needs its owner, who has no other."""
    until, deciding = time_text(key.valid_until), agreement.terms.deciding
    if now > key.valid_until:
        return f"it ended {until} and signs nothing more; revoke it as if it were lost"
    texts = []
    if key.valid_until - now <= ENDS_SOON:
        texts.append(f"it ends {until}; rotate it before, with `pharmonia keys rotate`")
    needs_all = agreement.terms.thresholds.agreement == len(deciding)
    if needs_all and key.partner in deciding and _signing(agreement, key.partner, now) == {key.public.key_id}:
        texts.append(
            f"its owner has no other, and a version takes all {len(deciding)} deciding partners; if it is lost or "
            f"ends, the agreement is never amended again; add a second key of {key.partner}, kept apart"
        )
    return "; ".join(texts)


def _signing(agreement: Agreement, partner: str, now: datetime) -> set[str]:
    return {key.public.key_id for key in agreement.active_keys(partner) if now <= key.valid_until}


def _stuck(history: AgreementHistory, now: datetime) -> Iterator[str]:
    """That the version in force asks for more partners than have a key that signs and is not being revoked."""
    if not history.n_accepted:
        return
    force, proposed = history.versions[history.n_accepted - 1].agreement, history.proposed
    signed = {signature.key_id for signature in proposed.signatures} if proposed else set()
    named = proposed.agreement.keys if proposed else ()
    unable = {key.public.key_id for key in named if key.state is KeyState.REVOKED} - signed
    able = {
        key.partner
        for key in force.keys
        if key.state is KeyState.ACTIVE and key.public.key_id not in unable
        if now <= key.valid_until or key.public.key_id in signed
    }
    deciding, threshold, after = force.terms.deciding, force.terms.thresholds.agreement, force.version + 1
    if len(able & set(deciding)) < threshold:
        silent = ", ".join(sorted(set(deciding) - able))
        yield (
            f"version {force.version} asks {threshold} of {', '.join(deciding)} to sign version {after}; without a key "
            f"left, except ended ones and those that version {after} revokes: {silent}; "
            f"if these are lost, version {after} is never accepted: found a new agreement"
        )


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

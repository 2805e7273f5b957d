"""Terms that people write, in TOML, and the next version of the agreement that they make with key cards."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pharmonia.base.errors import DocumentError, TermsError
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey
from pharmonia.governance.agreement_cards import KeyCard
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import MAX_DOCUMENT_BYTES, Fields, Tree, require_text, time_text, whole_second
from pharmonia.governance.terms import MAX_NAME, Partner, Role, Terms
from pharmonia.governance.terms_codec import take_terms

_LISTS = ("trunk_recipients", "publishable", "metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Terms as somebody wrote them.

    Args:
        terms: What the partners are to agree on.
        revoked_keys: Ids of keys that sign nothing any more.
    """

    terms: Terms
    revoked_keys: tuple[str, ...]


def read_draft(content: bytes, where: str) -> Draft:
    """The terms in a TOML file; lists may be in any order there.

    Args:
        content: The file's bytes.
        where: Its name, for messages.

    Raises:
        TermsError: Not TOML, or terms that nobody could keep; names the field.
    """
    if len(content) > MAX_DOCUMENT_BYTES:
        raise TermsError(f"{where}: terms have at most {MAX_DOCUMENT_BYTES:,} bytes, got {len(content):,}")
    try:
        tree: dict[str, Tree] = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise TermsError(f"{where} is not TOML in UTF-8: {error}") from error
    revoked = Fields({"revoked_keys": tree.pop("revoked_keys", [])}, where, TermsError).texts("revoked_keys")
    return Draft(terms=take_terms(Fields(_in_order(tree), where, TermsError)), revoked_keys=revoked)


def _in_order(tree: Mapping[str, Tree]) -> Mapping[str, Tree]:
    ordered: dict[str, Tree] = {**tree, **{name: _sorted(tree[name]) for name in _LISTS if name in tree}}
    partners, rules = tree.get("partners"), tree.get("plan_rules")
    if isinstance(rules, Mapping):
        if "privacy_budget" in rules:
            raise TermsError(
                "plan_rules.privacy_budget: no run spends a privacy budget yet, so no plan could meet it; leave it out"
            )
        ordered["plan_rules"] = {"privacy_budget": None, **rules}
    if isinstance(partners, list):
        tables = {str(one.get("id")): _partner_in_order(one) for one in partners if isinstance(one, Mapping)}
        if len(tables) == len(partners):  # else something is wrong, and shows where the field is read
            ordered["partners"] = [tables[name] for name in sorted(tables)]
    return ordered


def _partner_in_order(partner: Mapping[str, Tree]) -> Mapping[str, Tree]:
    roles, order = partner.get("roles"), list(Role)
    if isinstance(roles, list) and set(Role).issuperset(map(str, roles)):
        partner = {**partner, "roles": sorted(roles, key=lambda role: order.index(Role(str(role))))}
    return {**partner, "may_export": _sorted(partner.get("may_export", []))}


def _sorted(value: Tree) -> Tree:
    return sorted(value, key=str) if isinstance(value, list) else value


def next_version(history: AgreementHistory | None, draft: Draft, cards: Sequence[KeyCard]) -> Agreement:
    """The version that would follow, from terms and key cards.

    A card's key becomes active; the key that it replaces retires; keys of partners that the terms leave out, and those
    that the draft revokes, are revoked.

    Args:
        history: The agreement so far; None to found it.
        draft: The terms.
        cards: Of any keys, known ones too.

    Raises:
        TermsError: A card that does not fit the terms, keys that nobody has, or nothing that would change.
    """
    terms = draft.terms
    accepted = history.accepted() if history else ()
    last = accepted[-1] if accepted else None
    keys = {key.public.key_id: key for key in last.keys} if last else {}
    if last and last.terms.consortium != terms.consortium:
        raise TermsError(
            f"the terms are of {terms.consortium}, but the {last.name}; the id of a consortium never changes"
        )
    for card in sorted(cards, key=lambda card: card.valid_until):
        _add(keys, card, terms)
    strange = sorted(set(draft.revoked_keys) - set(keys))
    if strange:
        raise TermsError(f"the terms revoke keys that nobody has: {', '.join(strange)[:200]!a}")
    for key_id, key in keys.items():
        if key.state is KeyState.ACTIVE and (key.partner not in terms.ids or key_id in draft.revoked_keys):
            keys[key_id] = _in_state(key, KeyState.REVOKED)
    ordered = tuple(sorted(keys.values(), key=lambda key: (key.partner, key.public.key_id)))
    if last and (terms, ordered) == (last.terms, last.keys):
        raise TermsError(
            f"nothing would change in the {last.name}, version {last.version}; edit the terms or add a card"
        )
    previous = last.digest if last else None
    return Agreement(version=len(accepted) + 1, previous=previous, terms=terms, keys=ordered)


def _add(keys: dict[str, PartnerKey], card: KeyCard, terms: Terms) -> None:
    key_id = card.public.key_id
    if key_id in keys:
        if keys[key_id].partner != card.partner:
            raise TermsError(f"the key {key_id} is of {keys[key_id].partner}; {card.partner} needs one of its own")
        return
    if card.consortium != terms.consortium or card.partner not in terms.ids:
        raise TermsError(
            f"the key card of {card.partner} for {card.consortium} does not fit: the terms of {terms.consortium} name "
            f"{', '.join(terms.ids)}; add the partner to the terms or take the card away"
        )
    if card.replaces is not None:
        replaced = keys.get(card.replaces)
        if replaced is None or replaced.partner != card.partner:
            raise TermsError(f"the key card of {card.partner} replaces {card.replaces}, which is not a key of its own")
        if replaced.state is KeyState.ACTIVE:
            keys[card.replaces] = _in_state(replaced, KeyState.RETIRED)
    keys[key_id] = PartnerKey(
        partner=card.partner, public=card.public, state=KeyState.ACTIVE, valid_until=card.valid_until
    )


def _in_state(key: PartnerKey, state: KeyState) -> PartnerKey:
    return PartnerKey(partner=key.partner, public=key.public, state=state, valid_until=key.valid_until)


def draft_text(consortium: str, title: str, founder: Partner, now: datetime) -> str:
    """A TOML file of terms to start from, with one partner and a line of explanation for each field.

    Raises:
        TermsError: A title that cannot be so.
    """
    require_text(title, "the consortium's title", MAX_NAME)
    end = time_text(whole_second(now).replace(hour=23, minute=59, second=59) + timedelta(days=3 * 365))
    return f"""\
# Terms of a Pharmonia consortium. Edit this file, then run `pharmonia consortium amend`.
# What is signed is agreement.json, which is made from this file and the key cards in cards/.

consortium = {_quoted(consortium)}  # never changes
title = {_quoted(title)}
purpose = "Models for research of the partners; write here what the data may be used for."
valid_until = {end}

min_cohort = 2          # fewest data owners that a plan may train with
trunk_recipients = []   # ids of partners who receive the shared trunk
publishable = []        # of: ledger, predictions, report, shared-trunk
metrics = ["ci", "mse"] # by which models are judged
credit = "equal"        # or rows, or gain
revoked_keys = []       # ids of keys that sign nothing any more

[thresholds]            # partners, each counted once
agreement = 2           # deciding partners (data owners, coordinators, model developers) who sign a version
plan = 2                # data owners who approve a plan
checkpoint = 1          # partners who cross-sign a checkpoint of the ledger

[plan_rules]            # what every plan must hold
secure_aggregation = true
n_colluders = 0         # partners from whom, and the server, each update stays hidden
code_digest = true

# Roles: data-owner, coordinator, model-developer, auditor, observer.
# may_export, of: ledger, predictions, report, shared-trunk.
{partner_text(founder)}"""


def partner_text(partner: Partner) -> str:
    """A partner as a table at the end of a TOML file of terms."""
    roles, exports = (", ".join(map(_quoted, words)) for words in (partner.roles, partner.may_export))
    return f"""
[[partners]]
id = {_quoted(partner.id)}
name = {_quoted(partner.name)}
roles = [{roles}]
may_export = [{exports}]
"""


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise DocumentError(f"{text!a} cannot be written to a file of terms")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

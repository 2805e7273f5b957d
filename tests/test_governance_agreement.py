"""Agreements: who must sign what, what follows what, and what partners cannot be called."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_cases import (
    END,
    NOW,
    amended,
    first_version,
    founded,
    key_of,
    partner_key,
    second_version,
    sign_all,
    sorted_keys,
    terms,
)
from pharmonia.base.errors import AgreementError, DocumentError, TermsError
from pharmonia.governance.agreement import Agreement, KeyState
from pharmonia.governance.agreement_history import (
    AgreementHistory,
    SignedAgreement,
    decode_history,
    encode_history,
    merge_signatures,
    propose,
    sign_proposed,
)
from pharmonia.governance.documents_signed import Domain, sign_digest
from pharmonia.governance.terms import Role

LATER = NOW + timedelta(days=31)
EVERYONE = terms().ids


def signed_by(signers: set[str]) -> AgreementHistory:
    return sign_all(propose(None, first_version()), [key_of(signer) for signer in sorted(signers)])


# Founding


def test_a_consortium_is_founded_when_every_partner_has_signed() -> None:
    history = founded()
    assert history.proposed is None
    assert history.current(NOW).terms == terms()
    again = decode_history(encode_history(history), "agreement.json")
    assert again == history


@settings(max_examples=30)
@given(signers=st.sets(st.sampled_from(EVERYONE)))
def test_nobody_is_bound_without_a_signature(signers: set[str]) -> None:
    history = signed_by(signers)
    if signers == set(EVERYONE):
        assert history.current(NOW).version == 1
    else:
        assert history.n_accepted == 0
        for absent in set(EVERYONE) - signers:
            assert any(f"of {absent}" in lack for lack in history.lacking)
        with pytest.raises(AgreementError, match=r"aurora, version 1 is not in force; it lacks .*signature"):
            history.current(NOW)


def test_signing_twice_changes_nothing() -> None:
    once = signed_by({"acme"})
    assert sign_proposed(once, key_of("acme"), LATER) == once


def test_copies_signed_apart_are_merged() -> None:
    merged = signed_by({"acme", "finch"})
    for signers in ({"borealis", "cygnus"}, {"dynamo"}, {"eagle", "dynamo"}):
        merged = merge_signatures(merged, signed_by(signers))
    assert merged == founded()


def test_a_copy_of_something_else_is_not_merged() -> None:
    other = propose(None, replace(first_version(), terms=replace(terms(), title="Boreas")))
    with pytest.raises(DocumentError, match="the copy differs from version 1 on"):
        merge_signatures(signed_by({"acme"}), other)


# Amending


def test_a_version_takes_the_thresholds_of_the_old_and_the_new_and_every_new_key() -> None:
    proposed = propose(founded(), second_version())
    assert len(proposed.lacking) == 4
    history = sign_all(proposed, [key_of("acme"), key_of("cygnus"), key_of("borealis"), key_of("dynamo")], NOW)
    assert history.lacking == (f"the signature by the new key {key_of('borealis', 1).public.key_id} of borealis",)
    assert history.current(NOW).version == 1
    assert sign_proposed(history, key_of("borealis", 1), NOW).current(NOW).version == 2


@pytest.mark.parametrize("old_state", [KeyState.ACTIVE, KeyState.RETIRED])
def test_nobody_puts_a_key_in_the_name_of_a_partner_that_has_one(old_state: KeyState) -> None:
    first = founded().current(NOW)
    others = [key for key in first.keys if key.partner != "borealis"]
    forged = sorted_keys([*others, partner_key("borealis", 0, old_state), partner_key("borealis", 9)])
    second = Agreement(version=2, previous=first.digest, terms=first.terms, keys=forged)
    everybody_else = [key_of("acme"), key_of("cygnus"), key_of("dynamo"), key_of("borealis", 9)]
    history = sign_all(propose(founded(), second), everybody_else, NOW)
    (lack,) = history.lacking
    assert lack.startswith("the signature of borealis, with a key that it had, on its new key")
    assert history.current(NOW).version == 1
    assert sign_proposed(history, key_of("borealis"), NOW).current(NOW).version == 2


def test_a_lost_key_is_replaced_by_the_others_once_it_is_revoked() -> None:
    first = founded().current(NOW)
    others = [key for key in first.keys if key.partner != "borealis"]
    keys = sorted_keys([*others, partner_key("borealis", 0, KeyState.REVOKED), partner_key("borealis", 1)])
    second = Agreement(version=2, previous=first.digest, terms=first.terms, keys=keys)
    signers = [key_of("acme"), key_of("cygnus"), key_of("dynamo"), key_of("borealis", 1)]
    assert sign_all(propose(founded(), second), signers, NOW).current(NOW).version == 2


def test_a_retired_key_counts_for_the_old_version_only() -> None:
    """Three old keys sign, borealis' with them; of the new keys only two have, so the new threshold lacks one."""
    history = sign_all(propose(founded(), second_version()), [key_of(p) for p in ("acme", "borealis", "cygnus")], NOW)
    assert len(history.lacking) == 2
    assert "1 of the signatures that version 2 asks for" in history.lacking[0]
    assert sign_proposed(history, key_of("borealis", 1), NOW).lacking == ()


def test_auditors_and_observers_do_not_count() -> None:
    proposed = propose(founded(), second_version())
    keys = [key_of("acme"), key_of("eagle"), key_of("finch"), key_of("borealis", 1)]
    assert len(sign_all(proposed, keys, NOW).lacking) == 3  # of two versions, and borealis' on its own new key


def test_a_partner_counts_once_whatever_its_number_of_keys() -> None:
    first = founded().current(NOW)
    more = sorted_keys([*first.keys, partner_key("acme", 1), partner_key("acme", 2)])
    second = Agreement(version=2, previous=first.digest, terms=first.terms, keys=more)
    three = [key_of("acme"), key_of("acme", 1), key_of("acme", 2)]
    history = sign_all(propose(founded(), second), three, NOW)
    assert "2 of the signatures that version 2 asks for" in history.lacking[1]


def test_a_partner_leaves_and_its_keys_stay_named() -> None:
    first = founded().current(NOW)
    without = replace(
        first.terms,
        partners=tuple(one for one in first.terms.partners if one.id != "cygnus"),
        trunk_recipients=("acme", "borealis"),
    )
    keys = [replace(k, state=KeyState.REVOKED) if k.partner == "cygnus" else k for k in first.keys]
    second = Agreement(version=2, previous=first.digest, terms=without, keys=tuple(keys))
    history = sign_all(propose(founded(), second), [key_of(p) for p in ("acme", "borealis", "dynamo")], NOW)
    now = history.current(NOW)
    with pytest.raises(AgreementError, match=r"version 2: the key pk-\w+ of cygnus is revoked; its active keys.* none"):
        now.key(key_of("cygnus").public.key_id)
    with pytest.raises(AgreementError, match="version 2: 'cygnus' is not a partner"):
        now.partner("cygnus")


def back_to_active() -> Agreement:
    second = amended().current(LATER)
    keys = [replace(k, state=KeyState.ACTIVE) for k in second.keys]
    return Agreement(version=3, previous=second.digest, terms=second.terms, keys=tuple(keys))


def forgotten_key() -> Agreement:
    second = amended().current(LATER)
    keys = tuple(k for k in second.keys if k.state is KeyState.ACTIVE)
    return Agreement(version=3, previous=second.digest, terms=second.terms, keys=keys)


def longer_key() -> Agreement:
    second = amended().current(LATER)
    keys = tuple(replace(k, valid_until=END + timedelta(days=1)) for k in second.keys)
    return Agreement(version=3, previous=second.digest, terms=second.terms, keys=keys)


def other_consortium() -> Agreement:
    second = amended().current(LATER)
    named = replace(second.terms, consortium="boreas")
    return Agreement(version=3, previous=second.digest, terms=named, keys=second.keys)


def of_the_first() -> Agreement:
    return replace(second_version(), version=3)


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (back_to_active, "was retired and is left out or changed"),
        (forgotten_key, "was retired and is left out or changed"),
        (longer_key, "is left out or changed"),
        (other_consortium, "another consortium"),
        (of_the_first, "does not follow the one before"),
    ],
)
def test_a_version_that_does_not_follow_is_refused(third: Callable[[], Agreement], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        propose(amended(), third())


def test_a_proposal_that_is_partly_signed_is_not_thrown_away() -> None:
    proposed = propose(founded(), second_version())
    assert propose(proposed, second_version()) == proposed
    signed = sign_proposed(proposed, key_of("acme"), NOW)
    with pytest.raises(AgreementError, match="version 2 is proposed and partly signed"):
        propose(signed, second_version())


def test_nothing_follows_a_version_that_lacks_signatures() -> None:
    second = SignedAgreement(agreement=second_version(), signatures=())
    third = replace(second_version(), version=3, previous=second_version().digest)
    with pytest.raises(DocumentError, match="version 2 lacks 3 of the signatures"):
        AgreementHistory(
            versions=(*founded().versions, second, SignedAgreement(agreement=third, signatures=())),
        )


# Keys, clocks and copies


def test_a_signature_by_a_stranger_or_with_nothing_to_sign_is_refused() -> None:
    with pytest.raises(AgreementError, match="belongs to no partner"):
        sign_proposed(propose(None, first_version()), key_of("mallory"), NOW)
    with pytest.raises(AgreementError, match="version 1 has all its signatures"):
        sign_proposed(founded(), key_of("acme"), NOW)


def test_an_expired_key_signs_nothing() -> None:
    with pytest.raises(AgreementError, match=r"the key pk-\w+ of acme expired 2099-12-31T23:59:59Z, before it signed"):
        sign_proposed(propose(None, first_version()), key_of("acme"), END + timedelta(seconds=1))


def test_a_signature_from_the_future_names_both_clocks() -> None:
    with pytest.raises(AgreementError, match="set the clock that is wrong"):
        founded().current(NOW - timedelta(minutes=6))
    assert founded().current(NOW - timedelta(minutes=5)).version == 1


def test_an_agreement_ends() -> None:
    assert founded().current(END).version == 1
    with pytest.raises(AgreementError, match="agreement of aurora, version 1 ended 2099-12-31T23:59:59Z; amend it"):
        founded().current(END + timedelta(seconds=1))


def test_a_role_that_a_partner_does_not_have_is_refused() -> None:
    proposed = propose(None, first_version())
    signature = sign_digest(key_of("eagle"), Domain.AGREEMENT, first_version().digest, Role.COORDINATOR, NOW)
    with pytest.raises(AgreementError, match="eagle signed as coordinator, a role that it does not have"):
        replace(proposed, versions=(replace(proposed.versions[0], signatures=(signature,)),))


def test_a_signature_for_another_use_does_not_count() -> None:
    signature = sign_digest(key_of("acme"), Domain.PLAN, first_version().digest, Role.DATA_OWNER, NOW)
    with pytest.raises(DocumentError, match="not over these bytes"):
        AgreementHistory(versions=(SignedAgreement(agreement=first_version(), signatures=(signature,)),))


def test_an_old_copy_is_told_from_the_newest() -> None:
    amended().require_extends(founded())
    with pytest.raises(DocumentError, match="does not hold version 2 as you know it"):
        founded().require_extends(amended())
    rival = replace(second_version(), terms=terms())
    keys = [key_of("acme"), key_of("dynamo"), key_of("cygnus"), key_of("borealis", 1)]
    with pytest.raises(DocumentError, match="does not hold version 2 as you know it"):
        sign_all(propose(founded(), rival), keys, NOW).require_extends(amended())


def test_every_partner_has_a_key_of_its_own() -> None:
    keys = first_version().keys
    with pytest.raises(TermsError, match="without an active key: acme; "):
        replace(first_version(), keys=keys[1:])
    with pytest.raises(TermsError, match="but not a partner: zeta"):
        replace(first_version(), keys=sorted_keys([*keys, partner_key("zeta")]))
    shared = replace(keys[0], partner="borealis")
    with pytest.raises(TermsError, match="each once"):
        replace(first_version(), keys=sorted_keys([*keys, shared]))

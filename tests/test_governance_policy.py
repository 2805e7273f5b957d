"""Policies as documents: signed by their owner, newest only, never wider than the agreement."""

from dataclasses import replace
from datetime import timedelta

import pytest

from governance_cases import NOW, founded, key_of
from pharmonia.base.errors import AgreementError, DocumentError, TermsError
from pharmonia.governance.policy import (
    LocalPolicy,
    SignedPolicy,
    decode_policy,
    encode_policy,
    newer,
    open_policy,
    revoke_all,
    sign_policy,
)
from pharmonia.governance.terms import PrivacyBudget

AGREEMENT = founded().current(NOW)


def signed() -> SignedPolicy:
    return sign_policy(open_policy(AGREEMENT, "acme", NOW), AGREEMENT, key_of("acme"), NOW)


def test_a_policy_survives_its_file_and_is_verified() -> None:
    policy_ = signed()
    again = decode_policy(encode_policy(policy_), "acme.policy.json")
    assert again == policy_
    assert again.verified(AGREEMENT, NOW) == policy_.policy


def test_only_its_owner_signs_a_policy() -> None:
    with pytest.raises(DocumentError, match="policy of acme, serial 1 is signed by borealis; only acme may"):
        sign_policy(open_policy(AGREEMENT, "acme", NOW), AGREEMENT, key_of("borealis"), NOW)
    moved = replace(signed(), policy=replace(signed().policy, min_cohort=3))
    with pytest.raises(DocumentError, match="not over these bytes"):
        moved.verified(AGREEMENT, NOW)


def test_a_policy_from_the_future_names_both_clocks() -> None:
    with pytest.raises(AgreementError, match="states 2026-11-21T12:00:00Z, but here it is 2026-11-21T11:00:00Z"):
        signed().verified(AGREEMENT, NOW - timedelta(hours=1))
    signed().verified(AGREEMENT, NOW - timedelta(minutes=4))


OPEN = open_policy(AGREEMENT, "acme", NOW)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (replace(OPEN, consortium="boreas"), "knows no data owner acme of boreas"),
        (replace(OPEN, partner="dynamo"), "knows no data owner dynamo"),
        (replace(OPEN, privacy_budget=PrivacyBudget(epsilon=9.0, delta=1e-6)), "can only lower it"),
    ],
)
def test_a_policy_that_asks_for_more_is_refused(policy: LocalPolicy, message: str) -> None:
    with pytest.raises(TermsError, match=message):
        policy.require_fits(AGREEMENT)


def test_a_cohort_below_the_agreements_is_refused() -> None:
    agreement = replace(AGREEMENT, terms=replace(AGREEMENT.terms, min_cohort=3))
    with pytest.raises(TermsError, match="can only raise"):
        open_policy(AGREEMENT, "acme", NOW).require_fits(agreement)


def test_an_older_policy_does_not_come_back() -> None:
    first = signed().policy
    second = revoke_all(first, NOW)
    assert newer(first, second) == second
    assert newer(first, first) == first
    with pytest.raises(AgreementError, match="serial 1 was replaced by 2"):
        newer(second, first)
    with pytest.raises(DocumentError, match="two policies have serial 1"):
        newer(first, replace(first, min_cohort=3))
    with pytest.raises(DocumentError, match="is not the policy of acme"):
        newer(first, open_policy(AGREEMENT, "cygnus", NOW))

"""What a party refuses before it touches its data, with which code, and how its refusal travels."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from governance_cases import COMMITMENTS, NOW, OWNERS, amended, founded, key_of, plan_under
from pharmonia.base.errors import MessageError
from pharmonia.governance.events import Event, PlanApproved
from pharmonia.governance.ledger import sign_entry
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.policy import open_policy, with_grants
from pharmonia.governance.terms import Allowed, CodeIdentity, RefusalCode, Refused
from pharmonia.run.documents import write_agreement
from pharmonia.run.refusals import Refusal, decode_refusal, encode_refusal
from planned_cases import House, house


def decision(place: House, owner: str = "borealis", *, masks: bool = True, commitment: str = "") -> RefusalCode | None:
    commitments = {**COMMITMENTS, owner: commitment or COMMITMENTS[owner]}
    with place.at_work(commitments) as charter:
        said = charter.seats[OWNERS.index(owner)].permit.check(masks=masks)
    return None if isinstance(said, Allowed) else said.code


def later(place: House) -> None:
    place.at = place.signed.plan.valid_until + timedelta(days=1)


def other_code(place: House) -> None:
    place.code = CodeIdentity(package="ff" * 32, environment=place.code.environment)


def amend(place: House) -> None:
    write_agreement(place.folder / "agreement.json", amended())
    place.at += timedelta(days=31)


def no_policy(place: House) -> None:
    place.policy_file("borealis").unlink()


def half_a_policy(place: House) -> None:
    path = place.policy_file("borealis")
    path.write_bytes(path.read_bytes()[:-40])


def anothers_policy(place: House) -> None:
    place.policy_file("borealis").write_bytes(place.policy_file("acme").read_bytes())


def no_grants(place: House) -> None:
    place.allow("borealis", with_grants(open_policy(founded().current(NOW), "borealis", NOW), (), NOW))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (later, RefusalCode.PLAN_EXPIRED),
        (other_code, RefusalCode.CODE_DIFFERS),
        (amend, RefusalCode.NOT_GRANTED),  # the policy is signed by the key that the amendment retired
        (no_policy, RefusalCode.NOT_GRANTED),
        (half_a_policy, RefusalCode.NOT_GRANTED),
        (anothers_policy, RefusalCode.NOT_GRANTED),
        (no_grants, RefusalCode.NOT_GRANTED),
    ],
)
def test_what_changed_at_home_is_refused_with_its_code(
    tmp_path: Path, change: Callable[[House], None], code: RefusalCode
) -> None:
    place = house(tmp_path)
    assert decision(place) is None
    change(place)
    assert decision(place) is code


def test_an_amended_agreement_ends_the_plans_under_the_one_before(tmp_path: Path) -> None:
    place = house(tmp_path)
    amend(place)
    assert decision(place, "acme") is RefusalCode.OTHER_AGREEMENT


def test_data_that_the_plan_does_not_name_is_refused(tmp_path: Path) -> None:
    assert decision(house(tmp_path), commitment="0f" * 32) is RefusalCode.DATASET


def changed_seed(plan: RunPlan) -> RunPlan:
    return replace(plan, seed=8)


def test_a_plan_changed_after_its_approval_is_refused(tmp_path: Path) -> None:
    place = house(tmp_path)
    place.signed = replace(place.signed, plan=changed_seed(place.signed.plan))
    assert decision(place) is RefusalCode.PLAN_NOT_APPROVED


def test_a_plan_that_only_others_approved_is_refused(tmp_path: Path) -> None:
    assert decision(house(tmp_path, approved_by=("acme", "cygnus"))) is RefusalCode.PLAN_NOT_APPROVED


def test_an_older_policy_or_agreement_is_refused_once_a_newer_was_seen(tmp_path: Path) -> None:
    place = house(tmp_path)
    old = place.policy_file("borealis").read_bytes()
    policy = open_policy(founded().current(NOW), "borealis", NOW)
    place.allow("borealis", with_grants(policy, policy.grants, NOW))
    with place.at_work() as charter:
        permit = charter.seats[1].permit
        assert isinstance(permit.check(masks=True), Allowed)
        place.policy_file("borealis").write_bytes(old)
        said = permit.check(masks=True)
        assert isinstance(said, Refused)
        assert "serial 1 was replaced by 2" in said.reason
        write_agreement(place.folder / "agreement.json", amended())
        permit.check(masks=True)
        write_agreement(place.folder / "agreement.json", founded())
        said = permit.check(masks=True)
        assert isinstance(said, Refused)
        assert said.code is RefusalCode.OTHER_AGREEMENT


def test_a_plain_plan_is_refused_where_the_agreement_asks_for_sums(tmp_path: Path) -> None:
    agreement = founded().current(NOW)
    plan = plan_under(agreement)
    plain = replace(plan, aggregation=replace(plan.aggregation, required=False))
    assert decision(house(tmp_path, plain), masks=False) is RefusalCode.PLAIN_AGGREGATION


# Frames of refusal


def a_refusal(place: House) -> bytes:
    place.revoke("borealis")
    with place.at_work() as charter:
        charter.chronicle.begin({seat.partner: seat.permit.opening for seat in charter.seats})
        frame = charter.seats[1].permit.refusal(masks=True)
    assert frame is not None
    return frame


def test_a_refusal_travels_whole_and_no_other_way(tmp_path: Path) -> None:
    frame = a_refusal(house(tmp_path))
    refusal = decode_refusal(frame)
    assert encode_refusal(refusal) == frame
    assert refusal.reason.startswith("borealis refuses: ")
    assert refusal.entry.key == key_of("borealis").public.key_id
    for at in range(0, len(frame), 7):
        changed = bytearray(frame)
        changed[at] ^= 1
        try:
            found = decode_refusal(bytes(changed))
        except MessageError:
            continue
        same = found.entry.is_signed_by(key_of("borealis").public)
        assert not same or found.entry == refusal.entry  # only the reason, which no ledger keeps
    for size in range(0, len(frame), 11):
        with pytest.raises(MessageError):
            decode_refusal(frame[:size])


def test_a_refusal_states_nothing_else(tmp_path: Path) -> None:
    ledger = founded().versions[0].agreement.digest
    events_: tuple[Event, ...] = (PlanApproved(plan="ab" * 32),)
    entry = sign_entry(ledger=ledger, number=0, at=NOW, events=events_, key=key_of("acme"))
    with pytest.raises(MessageError, match="states a refused plan"):
        Refusal(entry=entry, reason="no")

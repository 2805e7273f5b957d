"""Who may do what: the table, Substra's permission tests in our words, and policies that can only narrow.

The conformance suite answers each of the permission tests that MELLODDY's orchestrator had (Substra, `tests/
test_permissions.py` of its end-to-end tests): its process permission is our process, train-on and evaluate-on; its
download permission is our download; its public or listed organisations are our grants; its log permission is a report
on the data set.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_cases import COMMITMENTS, END, NOW, OWNERS, founded, key_of, terms
from pharmonia.base.errors import RefusedError, TermsError
from pharmonia.governance.permissions import TABLE, USES, Resource, Who, decide
from pharmonia.governance.policy import (
    Grant,
    LocalPolicy,
    newer,
    open_policy,
    revoke_all,
    sign_policy,
    with_grants,
)
from pharmonia.governance.terms import Action, Allowed, Decision, RefusalCode, Refused, ResourceKind

D, H, T, P, R, L = ResourceKind
AGREEMENT = founded().current(NOW)
PARTNERS = terms().ids


def dataset(owner: str) -> Resource:
    return Resource(kind=D, name=COMMITMENTS[owner], owner=owner)


TRUNK = Resource(kind=T, name="trunk-1", inputs=tuple(dataset(owner) for owner in OWNERS))
HEAD = Resource(kind=H, name="head-1", owner="acme", inputs=(dataset("acme"), TRUNK))
PREDICTIONS = Resource(kind=P, name="predictions-1", owner="acme", inputs=(dataset("acme"), HEAD, TRUNK))
REPORT = Resource(kind=R, name="report-1", inputs=(TRUNK, HEAD))
LEDGER = Resource(kind=L, name="ledger")
ONE_OF_EACH = (dataset("acme"), HEAD, TRUNK, PREDICTIONS, REPORT, LEDGER)


def grant(
    partners: Sequence[str] = (),
    actions: Sequence[Action] = tuple(Action),
    resources: Sequence[ResourceKind] = tuple(ResourceKind),
) -> Grant:
    return Grant(
        partners=tuple(sorted(partners)),
        actions=tuple(sorted(actions)),
        resources=tuple(sorted(resources)),
        datasets=(),
        until=END,
        revoked_at=None,
    )


def policy(owner: str, *grants: Grant) -> LocalPolicy:
    return with_grants(open_policy(AGREEMENT, owner, NOW), grants, NOW)


def ask(actor: str, action: Action, resource: Resource, *policies: LocalPolicy) -> Decision:
    return decide(AGREEMENT, {one.partner: one for one in policies}, actor, action, resource, NOW)


def allowed(action: Action, resource: Resource, *policies: LocalPolicy) -> set[str]:
    return {actor for actor in PARTNERS if isinstance(ask(actor, action, resource, *policies), Allowed)}


def code(decision: Decision) -> RefusalCode | None:
    return decision.code if isinstance(decision, Refused) else None


# The table, in full


def test_the_table_names_every_action_on_every_resource() -> None:
    assert set(TABLE) == {(kind, action) for kind in ResourceKind for action in Action}


ALL, USING = set(PARTNERS), {*OWNERS, "dynamo"}
EXPECTED = {  # in the order of Action: process, train on, evaluate on, download, export, publish, audit
    D: [USING, USING, USING, {"acme"}, {"acme"}, {"acme"}, {"acme", "eagle"}],
    H: [{"acme"}, {"acme"}, {"acme"}, {"acme"}, set(), set(), {"acme"}],
    T: [USING, USING, USING, set(OWNERS), {"acme"}, set(), ALL],
    P: [{"acme"}, {"acme"}, {"acme"}, {"acme"}, set(), set(), {"acme", "eagle"}],
    R: [set(), set(), set(), ALL, {"acme", "borealis"}, ALL, ALL],
    L: [set(), set(), set(), ALL, {"eagle"}, set(), ALL],
}


@pytest.mark.parametrize("resource", ONE_OF_EACH, ids=lambda resource: resource.kind.value)
def test_without_policies_the_agreement_alone_decides(resource: Resource) -> None:
    assert [allowed(action, resource) for action in Action] == EXPECTED[resource.kind]


@pytest.mark.parametrize("resource", ONE_OF_EACH, ids=lambda resource: resource.kind.value)
def test_every_refusal_names_document_version_reason_and_remedy(resource: Resource) -> None:
    for actor in (*PARTNERS, "nobody"):
        for action in Action:
            decision = ask(actor, action, resource)
            if isinstance(decision, Refused):
                assert (decision.document, decision.version) == ("agreement of aurora", 1)
                assert len(decision.reason) > 10
                assert len(decision.remedy) > 10
                with pytest.raises(RefusedError, match=f"{decision.document}, version 1: .+; .+"):
                    decision.require()


def test_strangers_and_agreements_that_ended_are_refused() -> None:
    assert code(ask("nobody", Action.AUDIT, LEDGER)) is RefusalCode.UNKNOWN_PARTNER
    late = decide(AGREEMENT, {}, "acme", Action.AUDIT, LEDGER, END + timedelta(seconds=1))
    assert code(late) is RefusalCode.AGREEMENT_ENDED
    assert isinstance(decide(AGREEMENT, {}, "acme", Action.AUDIT, LEDGER, END), Allowed)


# Substra's permission tests in our words


def test_permission_creation_public_or_for_the_owner_alone() -> None:
    assert allowed(Action.TRAIN_ON, dataset("acme"), policy("acme", grant())) == USING
    assert allowed(Action.TRAIN_ON, dataset("acme"), policy("acme")) == {"acme"}


@pytest.mark.parametrize("listed", [(), ("acme",), ("borealis",), OWNERS])
def test_metadata_is_for_every_partner_whatever_the_permissions(listed: tuple[str, ...]) -> None:
    """Who may audit and download the ledger, which holds metadata alone, does not depend on policies."""
    narrow = policy("acme", grant(listed))
    assert allowed(Action.AUDIT, LEDGER, narrow) == allowed(Action.DOWNLOAD, LEDGER, narrow) == ALL


def test_a_permission_for_an_unknown_organisation_is_invalid() -> None:
    with pytest.raises(TermsError, match="does not know unknown-organisation"):
        sign_policy(policy("acme", grant(["unknown-organisation"])), AGREEMENT, key_of("acme"), NOW)


@pytest.mark.parametrize("listed", [(), ("borealis",)])
def test_download_is_granted_to_whom_it_is_permitted(listed: tuple[str, ...]) -> None:
    """A data set itself is downloaded by its owner alone; what may be downloaded is the trunk."""
    assert "borealis" in allowed(Action.DOWNLOAD, TRUNK, policy("acme", grant(listed)))
    assert allowed(Action.DOWNLOAD, dataset("acme"), policy("acme", grant(listed))) == {"acme"}


def test_download_is_refused_to_all_others() -> None:
    only_cygnus = policy("acme", grant(["cygnus"]))
    assert allowed(Action.DOWNLOAD, TRUNK, only_cygnus) == {"acme", "cygnus"}
    assert code(ask("borealis", Action.DOWNLOAD, TRUNK, only_cygnus)) is RefusalCode.NOT_GRANTED


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("borealis",), ("acme",), {"acme", "borealis"}),
        ((), ("acme",), {"acme", "borealis"}),
        (("borealis", "cygnus"), ("acme",), {"acme", "borealis"}),
        (("cygnus",), ("cygnus",), {"cygnus"}),
        ((), (), USING),
    ],
)
def test_a_trained_model_is_permitted_to_the_intersection_of_its_inputs(
    first: tuple[str, ...], second: tuple[str, ...], expected: set[str]
) -> None:
    model = Resource(kind=T, name="trunk-2", inputs=(dataset("acme"), dataset("borealis")))
    policies = policy("acme", grant(first)), policy("borealis", grant(second))
    for action in USES:
        assert allowed(action, model, *policies) == expected
        assert allowed(action, model, *policies) == allowed(action, dataset("acme"), *policies) & allowed(
            action, dataset("borealis"), *policies
        )


def test_process_is_denied_on_data_of_others_without_permission() -> None:
    closed = policy("acme"), policy("borealis")
    assert code(ask("borealis", Action.TRAIN_ON, dataset("acme"), *closed)) is RefusalCode.NOT_GRANTED
    assert code(ask("acme", Action.TRAIN_ON, dataset("borealis"), *closed)) is RefusalCode.NOT_GRANTED


@pytest.mark.parametrize(("listed", "may"), [(None, False), (("borealis",), True)])
def test_a_model_of_anothers_data_is_processed_only_with_permission(listed: tuple[str, ...] | None, may: bool) -> None:
    owner = policy("acme") if listed is None else policy("acme", grant(listed))
    model = Resource(kind=T, name="trunk-3", inputs=(dataset("acme"),))
    second = Resource(kind=T, name="trunk-4", inputs=(model, dataset("borealis")))
    for resource in (model, second):
        assert isinstance(ask("borealis", Action.TRAIN_ON, resource, owner), Allowed) == may


@pytest.mark.parametrize("first", [("borealis", "cygnus"), ()])
def test_a_third_organisation_cannot_use_a_model_that_merges_narrower_permissions(first: tuple[str, ...]) -> None:
    model = Resource(kind=T, name="trunk-5", inputs=(dataset("acme"), dataset("borealis")))
    refused = ask("cygnus", Action.PROCESS, model, policy("acme", grant(first)), policy("borealis", grant(["acme"])))
    assert code(refused) is RefusalCode.INPUT


@pytest.mark.parametrize("action", list(Action))
def test_a_head_is_processed_and_downloaded_by_its_owner_alone(action: Action) -> None:
    generous = policy("acme", grant())
    assert allowed(action, HEAD, generous) <= {"acme"}
    if action in {Action.EXPORT, Action.PUBLISH}:
        assert code(ask("acme", action, HEAD, generous)) is RefusalCode.NEVER_LEAVES
    assert isinstance(ask("borealis", action, HEAD, generous), Refused)


def test_a_trunk_is_tested_where_it_was_not_trained_only_with_permission() -> None:
    trunk = Resource(kind=T, name="trunk-6", inputs=(dataset("acme"),))
    for listed, may in ((("acme",), False), (("borealis",), True)):
        report = Resource(kind=P, name="on-our-test", owner="borealis", inputs=(trunk, dataset("borealis")))
        decision = ask("borealis", Action.EVALUATE_ON, report, policy("acme", grant(listed)))
        assert isinstance(decision, Allowed) == may


def test_download_does_not_follow_from_process() -> None:
    uses = grant(["borealis"], actions=[*USES])
    assert "borealis" in allowed(Action.PROCESS, TRUNK, policy("acme", uses))
    assert "borealis" not in allowed(Action.DOWNLOAD, TRUNK, policy("acme", uses))


def test_process_does_not_follow_from_download() -> None:
    has = grant(["borealis"], actions=[Action.DOWNLOAD])
    assert "borealis" in allowed(Action.DOWNLOAD, TRUNK, policy("acme", has))
    assert "borealis" not in allowed(Action.TRAIN_ON, TRUNK, policy("acme", has))


def test_logs_of_work_on_a_data_set_need_a_permission_of_their_own() -> None:
    log = Resource(kind=R, name="log-of-failed-task", inputs=(dataset("acme"),))
    no_reports = grant(resources=[D, H, T, P, L])
    assert allowed(Action.DOWNLOAD, log, policy("acme", no_reports)) == {"acme"}
    assert allowed(Action.DOWNLOAD, log, policy("acme", no_reports, grant(["cygnus"], resources=[R]))) == {
        "acme",
        "cygnus",
    }


def test_permissions_once_given_can_be_taken_back() -> None:
    """Unlike there, where they are immutable."""
    given_ = policy("acme", grant())
    taken = revoke_all(given_, NOW)
    assert allowed(Action.TRAIN_ON, dataset("acme"), given_) == USING
    assert allowed(Action.TRAIN_ON, dataset("acme"), taken) == {"acme"}
    assert code(ask("borealis", Action.DOWNLOAD, TRUNK, taken)) is RefusalCode.GRANT_REVOKED
    assert newer(given_, taken) is taken


# Resources that cannot be


@pytest.mark.parametrize(
    ("kind", "owner", "inputs"),
    [
        (T, None, (dataset("acme"), HEAD)),
        (T, None, ()),
        (T, "acme", (dataset("acme"),)),
        (P, "borealis", (HEAD,)),
        (H, "borealis", (HEAD,)),
        (D, None, ()),
        (D, "acme", (dataset("borealis"),)),
        (L, None, (REPORT,)),
        (H, None, ()),
    ],
)
def test_a_head_goes_into_nothing_shared(kind: ResourceKind, owner: str | None, inputs: tuple[Resource, ...]) -> None:
    with pytest.raises(TermsError):
        Resource(kind=kind, name="x", owner=owner, inputs=inputs)


# Policies


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    def some(values: Sequence[str], least: int) -> tuple[str, ...]:
        return tuple(sorted(draw(st.sets(st.sampled_from(list(values)), min_size=least))))

    return Grant(
        partners=some(PARTNERS, 0),
        actions=tuple(Action(text) for text in some(tuple(Action), 1)),
        resources=tuple(ResourceKind(text) for text in some(tuple(ResourceKind), 1)),
        datasets=some(tuple(COMMITMENTS.values()), 0),
        until=NOW + timedelta(days=draw(st.integers(-2, 2))),
        revoked_at=draw(st.none() | st.integers(-2, 2).map(lambda days: NOW + timedelta(days=days))),
    )


POLICIES = st.dictionaries(st.sampled_from(OWNERS), st.lists(grants(), max_size=3))
QUESTIONS = st.tuples(st.sampled_from(PARTNERS), st.sampled_from(list(Action)), st.sampled_from(ONE_OF_EACH))


@settings(max_examples=60)
@given(drawn=POLICIES, question=QUESTIONS)
def test_a_policy_only_narrows(drawn: dict[str, list[Grant]], question: tuple[str, Action, Resource]) -> None:
    policies = [policy(owner, *given_) for owner, given_ in drawn.items()]
    if isinstance(ask(*question, *policies), Allowed):
        assert isinstance(ask(*question), Allowed)
        for dropped in range(len(policies)):
            assert isinstance(ask(*question, *policies[:dropped], *policies[dropped + 1 :]), Allowed)


@settings(max_examples=40)
@given(drawn=POLICIES, action=st.sampled_from(sorted(USES)), actor=st.sampled_from(PARTNERS))
def test_a_result_is_as_free_as_its_least_free_input(drawn: dict[str, list[Grant]], action: Action, actor: str) -> None:
    policies = [policy(owner, *given_) for owner, given_ in drawn.items()]
    for resource in (TRUNK, PREDICTIONS, HEAD):
        if isinstance(ask(actor, action, resource, *policies), Allowed):
            assert all(isinstance(ask(actor, action, one, *policies), Allowed) for one in resource.inputs)


@settings(max_examples=40)
@given(drawn=POLICIES, action=st.sampled_from(list(Action)), actor=st.sampled_from(PARTNERS))
def test_a_private_head_never_leaves_its_owner(drawn: dict[str, list[Grant]], action: Action, actor: str) -> None:
    policies = [policy(owner, *given_) for owner, given_ in drawn.items()]
    inside = {*USES, Action.DOWNLOAD, Action.AUDIT}
    if isinstance(ask(actor, action, HEAD, *policies), Allowed):
        assert actor == "acme"
        assert action in inside


def test_grants_end_and_are_revoked_to_the_second() -> None:
    at = NOW + timedelta(hours=1)
    ends, revoked = replace(grant(), until=at), replace(grant(), revoked_at=at)
    for one, last, why in (
        (ends, at, RefusalCode.GRANT_EXPIRED),
        (revoked, at - timedelta(seconds=1), RefusalCode.GRANT_REVOKED),
    ):
        policies = {"acme": policy("acme", one)}
        before = decide(AGREEMENT, policies, "cygnus", Action.TRAIN_ON, dataset("acme"), last)
        after = decide(AGREEMENT, policies, "cygnus", Action.TRAIN_ON, dataset("acme"), last + timedelta(seconds=1))
        assert isinstance(before, Allowed)
        assert code(after) is why
    ended = {"acme": replace(policy("acme", grant()), valid_until=at)}
    late = decide(AGREEMENT, ended, "cygnus", Action.TRAIN_ON, dataset("acme"), at + timedelta(seconds=1))
    assert code(late) is RefusalCode.POLICY_EXPIRED


def test_a_grant_may_name_single_data_sets() -> None:
    one = replace(grant(), datasets=(COMMITMENTS["acme"],))
    other = replace(grant(), datasets=("00" * 32,))
    assert isinstance(ask("cygnus", Action.TRAIN_ON, dataset("acme"), policy("acme", one)), Allowed)
    assert code(ask("cygnus", Action.TRAIN_ON, dataset("acme"), policy("acme", other))) is RefusalCode.NOT_GRANTED
    assert code(ask("cygnus", Action.DOWNLOAD, TRUNK, policy("acme", other))) is RefusalCode.NOT_GRANTED


def test_every_rule_stands_in_the_table() -> None:
    assert set(Who) == set(TABLE.values())

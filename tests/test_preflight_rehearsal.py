"""A rehearsal of a round: the whole way of secure sums with zeros, and nothing of a partner's in it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_cases import CODE, COMMITMENTS, END, NOW, OWNERS, plan_under
from pharmonia.base.errors import MessageError, PharmoniaError, RosterError
from pharmonia.bench.planned import PlanHead, draft_plan
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.plan import RunPlan
from pharmonia.nn.choices import Model
from pharmonia.run.preflight_rehearsal import MAGIC, Part, decode_roster, encode_roster, rehearsed_tensors, unwrap, wrap
from pharmonia.run.preflight_rehearsal_seat import rehearse
from pharmonia.run.preflight_rehearsal_site import Rehearsing
from site_cases import history, settings


def the_plan(seed: int = 5) -> RunPlan:
    head = PlanHead(name="kinases", version=1, valid_until=END, coordinator="dynamo")
    return replace(draft_plan(settings(), history().current(NOW), head, COMMITMENTS, CODE), seed=seed)


class Silent:
    """A site that must not be asked."""

    def handle(self, frame: bytes) -> bytes:
        raise AssertionError("a rehearsal came to the site itself")


class Echo:
    """A site that says what it was asked."""

    def handle(self, frame: bytes) -> bytes:
        return frame[::-1]


def crew(plan: Callable[[], RunPlan] = the_plan) -> dict[str, Rehearsing]:
    return {owner: Rehearsing(Silent(), owner, plan) for owner in OWNERS}


def test_zeros_of_the_model_s_length_go_the_whole_way() -> None:
    plan = the_plan()
    assert rehearse(InProcessEngine(crew()), plan) == sum(rehearsed_tensors(plan)[1])


def test_a_rehearsal_can_be_held_again() -> None:
    engine = InProcessEngine(crew())
    assert rehearse(engine, the_plan()) == rehearse(engine, the_plan())


def test_frames_of_the_run_go_to_the_site_and_end_the_rehearsal() -> None:
    site = Rehearsing(Echo(), "acme", the_plan)
    key = unwrap(Part.IDENTITY, site.handle(wrap(Part.IDENTITY, b"")))
    assert len(key) == 32
    assert site.handle(b"PHM1 something") == b"gnihtemos 1MHP"
    with pytest.raises(MessageError, match="begins with an identity"):
        site.handle(wrap(Part.ROSTER, encode_roster(dict.fromkeys(OWNERS, key))))


def test_every_rehearsal_has_an_identity_of_its_own() -> None:
    site = Rehearsing(Silent(), "acme", the_plan)
    assert site.handle(wrap(Part.IDENTITY, b"")) != site.handle(wrap(Part.IDENTITY, b""))


@pytest.mark.parametrize("names", [("acme", "borealis"), (*OWNERS, "eagle"), ("acme", "borealis", "eagle")])
def test_a_rehearsal_among_others_than_the_plan_s_partners_is_refused(names: tuple[str, ...]) -> None:
    site = Rehearsing(Silent(), "acme", the_plan)
    own = unwrap(Part.IDENTITY, site.handle(wrap(Part.IDENTITY, b"")))
    with pytest.raises(RosterError, match="among its partners"):
        site.handle(wrap(Part.ROSTER, encode_roster(dict.fromkeys(names, own))))


def test_an_identity_put_in_the_place_of_ours_is_refused() -> None:
    site = Rehearsing(Silent(), "acme", the_plan)
    site.handle(wrap(Part.IDENTITY, b""))
    with pytest.raises(RosterError):
        site.handle(wrap(Part.ROSTER, encode_roster(dict.fromkeys(OWNERS, bytes(32)))))


def test_a_partner_with_another_model_in_its_plan_is_found_out() -> None:
    ours = settings()
    other = replace(ours, local=replace(ours.local, model=Model.LIGAND_ONLY))
    head = PlanHead(name="kinases", version=1, valid_until=END, coordinator="dynamo")
    strange = draft_plan(other, history().current(NOW), head, COMMITMENTS, CODE)
    sites = crew() | {"cygnus": Rehearsing(Silent(), "cygnus", lambda: strange)}
    with pytest.raises(PharmoniaError):
        rehearse(InProcessEngine(sites), the_plan())


class Flipped:
    """A partner whose machine changes a bit of what it sends last."""

    def __init__(self, site: Rehearsing) -> None:
        self._site = site

    def handle(self, frame: bytes) -> bytes:
        answer = self._site.handle(frame)
        return answer[:-20] + bytes([answer[-20] ^ 1]) + answer[-19:] if len(answer) > 10_000 else answer


def test_a_damaged_update_ends_the_rehearsal() -> None:
    sites = crew()
    with pytest.raises(PharmoniaError):
        rehearse(InProcessEngine({**sites, "borealis": Flipped(sites["borealis"])}), the_plan())


@given(frame=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda body: MAGIC + body)))
def test_whatever_comes_as_a_rehearsal_is_an_error_of_ours_or_an_answer(frame: bytes) -> None:
    site = Rehearsing(Echo(), "acme", lambda: plan_under(history().current(NOW)))
    try:
        site.handle(frame)
    except PharmoniaError:
        return


@pytest.mark.parametrize("body", [b"", b"[]", b'{"acme": 7}', b'{"acme": "zz"}', b'{"acme": "00"}', b"[" * 100_000])
def test_a_damaged_roster_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode_roster(body)

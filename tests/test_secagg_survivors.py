"""Attacks on tier B: second sets, forged signatures, changed boxes, wrong shares; each is refused, and why."""

from dataclasses import replace

import pytest

from pharmonia.base.errors import MessageError, SurvivorsError
from pharmonia.secagg.messages import Reveal
from secagg_cases import (
    FIRST,
    GROUP,
    ONES,
    PLAN,
    PLAN_B,
    VALUES,
    X,
    after_signing,
    after_upload_b,
    begin,
    drive_to_upload,
    unmask,
    upload,
)


def test_one_answer_per_round() -> None:
    sessions, server = after_upload_b(GROUP, PLAN_B)
    _, proposal = server.propose()
    signed, _ = sessions[FIRST].sign_survivors(proposal)
    second = replace(proposal, survivors=GROUP.ids[:4])
    for again in (second, proposal):
        with pytest.raises(SurvivorsError, match="a second set gets nothing"):
            signed.sign_survivors(again)
    sessions, _, confirmed = after_signing(GROUP, PLAN_B)
    done, _ = sessions[FIRST].reveal(confirmed[FIRST])
    with pytest.raises(MessageError, match="is Idle, not Signed"):
        done.reveal(confirmed[FIRST])
    with pytest.raises(MessageError, match="is Idle, not Masked"):
        done.sign_survivors(proposal)


def test_a_second_survivor_set_gets_no_reveal() -> None:
    sessions, _, confirmed = after_signing(GROUP, PLAN_B)
    message = confirmed[FIRST]
    other = replace(message, survivors=replace(message.survivors, survivors=GROUP.ids[:4]))
    with pytest.raises(SurvivorsError, match="not the survivors that we signed"):
        sessions[FIRST].reveal(other)


def test_survivors_of_another_round_or_without_us_are_not_signed() -> None:
    sessions, server = after_upload_b(GROUP, PLAN_B)
    _, proposal = server.propose()
    for wrong in (
        replace(proposal, round_digest=bytes(32)),
        replace(proposal, survivors=GROUP.ids[1:]),
    ):
        with pytest.raises(SurvivorsError, match="not the survivors of our round, or we are not among them"):
            sessions[FIRST].sign_survivors(wrong)
    with pytest.raises(SurvivorsError, match=r"'stranger'.* did not take part"):
        sessions[FIRST].sign_survivors(replace(proposal, survivors=(*GROUP.ids, "stranger")))


def test_forged_missing_and_foreign_signatures_get_no_reveal() -> None:
    sessions, _, confirmed = after_signing(GROUP, PLAN_B)
    message = confirmed[FIRST]
    forged = (bytes(64), *message.signatures[1:])
    with pytest.raises(SurvivorsError, match="partner-00 did not sign these survivors"):
        sessions[FIRST].reveal(replace(message, signatures=forged))
    few = replace(message, signers=message.signers[:3], signatures=message.signatures[:3])
    with pytest.raises(SurvivorsError, match="4 survivors must sign"):
        sessions[FIRST].reveal(few)
    foreign = replace(message, signers=(*message.signers, "stranger"), signatures=(*message.signatures, bytes(64)))
    with pytest.raises(SurvivorsError, match="4 survivors must sign"):
        sessions[FIRST].reveal(foreign)


def test_changed_and_missing_boxes_get_no_reveal() -> None:
    sessions, _, confirmed = after_signing(GROUP, PLAN_B)
    message = confirmed[FIRST]
    with pytest.raises(SurvivorsError, match="partner-00 cannot open the box from partner-01"):
        sessions[FIRST].reveal(replace(message, boxes=message.boxes[::-1]))
    with pytest.raises(SurvivorsError, match="expected 4 boxes, got 3"):
        sessions[FIRST].reveal(replace(message, boxes=message.boxes[1:]))


def test_the_server_refuses_forged_and_foreign_signatures() -> None:
    sessions, server = after_upload_b(GROUP, PLAN_B)
    server, proposal = server.propose()
    _, signature = sessions[FIRST].sign_survivors(proposal)
    with pytest.raises(SurvivorsError, match="is no survivor"):
        server.add_signature(replace(signature, partner="stranger"))
    with pytest.raises(SurvivorsError, match="is no survivor"):
        server.add_signature(replace(signature, round_digest=bytes(32)))
    with pytest.raises(SurvivorsError, match="not on the survivors that we proposed"):
        server.add_signature(replace(signature, partner=GROUP.ids[1]))


def test_steps_out_of_order_are_refused() -> None:
    _, server = after_upload_b(GROUP, PLAN_B)
    with pytest.raises(MessageError, match="has not named its survivors"):
        server.confirm()
    reveal = Reveal(partner=FIRST, round_digest=server.header.digest, shares=(), mask_keys=())
    with pytest.raises(MessageError, match="expects no reveal from partner-00"):
        server.add_reveal(reveal)
    named, _ = server.propose()
    with pytest.raises(MessageError, match="names survivors once"):
        named.propose()
    with pytest.raises(MessageError, match="names survivors once"):
        begin(GROUP, PLAN)[1].propose()
    _, messages = upload(begin(GROUP, PLAN_B)[0], server.header, {FIRST: X}, ONES)
    with pytest.raises(MessageError, match="expects no update"):
        named.add(messages[FIRST])


def test_wrong_reveals_are_refused() -> None:
    sessions, server, confirmed = after_signing(GROUP, PLAN_B)
    _, reveal = sessions[FIRST].reveal(confirmed[FIRST])
    with pytest.raises(MessageError, match="expected \\(5, 0\\) shares and keys"):
        server.add_reveal(replace(reveal, shares=reveal.shares[1:]))
    with pytest.raises(MessageError, match="expected \\(5, 0\\) shares and keys"):
        server.add_reveal(replace(reveal, round_digest=bytes(32)))
    server = server.add_reveal(reveal)
    with pytest.raises(MessageError, match="expects no reveal"):
        server.add_reveal(reveal)


@pytest.mark.parametrize("share", [bytes(33), b"\xff" * 33])
def test_shares_that_do_not_give_the_committed_seed_are_refused(share: bytes) -> None:
    sessions, server, confirmed = after_signing(GROUP, PLAN_B)
    for number, name in enumerate(GROUP.ids):
        _, reveal = sessions[name].reveal(confirmed[name])
        shares = (share, *reveal.shares[1:]) if number == 0 else reveal.shares
        server = server.add_reveal(replace(reveal, shares=shares))
    with pytest.raises(MessageError, match="seed"):
        server.finish()


def test_a_late_upload_of_a_lost_partner_stays_masked() -> None:
    """A server that has a partner's upload, yet names it lost, gets its pair masks but never its self-mask."""
    sessions, server = drive_to_upload(GROUP, PLAN_B, VALUES, ONES, lost=GROUP.ids[-1:])
    _, server = unmask(sessions, server)
    answers = server.reveals.values()
    assert all(len(reveal.shares) == 4 for reveal in answers)
    assert all(len(reveal.mask_keys) == 1 for reveal in answers)

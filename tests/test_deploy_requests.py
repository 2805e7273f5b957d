"""Who gets certificates: members of the agreement, for the roles that it gives them, and nobody else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deploy_cases import (
    HOST,
    LATER,
    approval_of,
    authority_of,
    request_of,
    server_request,
    site_request,
    tls_key,
    with_gamma,
    without_cygnus,
)
from governance_cases import END, NOW, amended, founded, key_of
from pharmonia.base.errors import (
    AgreementError,
    CertificateEndedError,
    CertificateError,
    DocumentError,
    OptionError,
    PharmoniaError,
    RefusedError,
)
from pharmonia.deploy.approvals import (
    approve_request,
    decode_approval,
    encode_approval,
    judge_approval,
    require_answers,
)
from pharmonia.deploy.certificates import make_request, new_authority
from pharmonia.deploy.posts import SITE
from pharmonia.deploy.requests import (
    DOMAIN,
    KitRequest,
    SignedKitRequest,
    decode_request,
    encode_request,
    judge_request,
    sign_request,
)
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.terms import Role


def signed_by(request: KitRequest, key: PrivateKey) -> SignedKitRequest:
    return SignedKitRequest(request=request, key_id=key.public.key_id, proof=key.sign(DOMAIN, request.digest.encode()))


def test_a_members_request_is_accepted_and_reads_as_it_was_written() -> None:
    for signed in (site_request(), server_request()):
        assert decode_request(encode_request(signed), "request.json") == signed
        assert judge_request(signed, founded(), LATER) == founded().current(LATER)


def test_a_strangers_request_is_refused() -> None:
    with pytest.raises(AgreementError, match="belongs to no partner"):
        judge_request(signed_by(site_request().request, PrivateKey.generate()), founded(), NOW)


def test_a_request_signed_by_another_partner_is_refused() -> None:
    with pytest.raises(AgreementError, match="is of cygnus, not of borealis"):
        judge_request(signed_by(site_request().request, key_of("cygnus")), founded(), NOW)


def test_a_request_signed_by_a_key_that_went_is_refused() -> None:
    now = NOW + timedelta(days=29)
    with pytest.raises(AgreementError, match="retired"):
        judge_request(site_request(), amended(), now + timedelta(days=1))


def test_a_partner_that_left_is_refused() -> None:
    request = request_of("cygnus", Role.DATA_OWNER)
    assert judge_request(request, founded(), NOW)
    with pytest.raises(AgreementError, match="not a partner"):
        judge_request(request, without_cygnus(), NOW)


def test_a_role_that_the_agreement_does_not_give_is_refused() -> None:
    with pytest.raises(RefusedError, match="borealis is data-owner, not coordinator"):
        request_of("borealis", Role.COORDINATOR, (HOST,))
    with pytest.raises(RefusedError, match="dynamo is coordinator, not data-owner"):
        request_of("dynamo", Role.DATA_OWNER)
    request = replace(request_of("acme", Role.DATA_OWNER).request, partner="acme")
    forged = replace(server_request().request, partner="dynamo")
    assert judge_request(signed_by(request, key_of("acme")), founded(), NOW)
    assert judge_request(signed_by(forged, key_of("dynamo")), founded(), NOW)


def test_an_auditor_needs_no_kit() -> None:
    with pytest.raises(OptionError, match="needs no start-up kit"):
        KitRequest(
            consortium="aurora",
            founded="0" * 64,
            partner="eagle",
            role=Role.AUDITOR,
            hosts=(),
            requests=(),
            made_at=NOW,
        )


def test_a_request_for_another_partners_name_is_refused() -> None:
    other = make_request(tls_key("borealis"), SITE.subject("cygnus"))
    with pytest.raises(CertificateError, match="asks for certificates of borealis"):
        replace(site_request().request, requests=(other,))


def test_only_a_coordinator_names_hosts_and_it_must() -> None:
    with pytest.raises(CertificateError, match="no host"):
        request_of("borealis", Role.DATA_OWNER, (HOST,))
    with pytest.raises(CertificateError, match="1 to 8 hosts"):
        request_of("dynamo", Role.COORDINATOR)
    with pytest.raises(CertificateError, match="once each"):
        request_of("dynamo", Role.COORDINATOR, (HOST, HOST))
    with pytest.raises(OptionError, match="lower case"):
        request_of("dynamo", Role.COORDINATOR, ("FL.example",))


def test_a_request_of_another_agreement_is_refused() -> None:
    other = replace(site_request().request, founded="ab" * 32)
    with pytest.raises(AgreementError, match="founded as"):
        judge_request(signed_by(other, key_of("borealis")), founded(), NOW)
    with pytest.raises(AgreementError, match="of the consortium boreas"):
        judge_request(signed_by(replace(other, consortium="boreas"), key_of("borealis")), founded(), NOW)


def test_an_old_request_and_one_from_the_future_are_refused() -> None:
    assert judge_request(site_request(), founded(), NOW + timedelta(days=30))
    with pytest.raises(AgreementError, match="30 days"):
        judge_request(site_request(), founded(), NOW + timedelta(days=31))
    with pytest.raises(AgreementError, match="set the clock"):
        judge_request(site_request(), founded(), NOW - timedelta(minutes=6))


def test_nothing_is_asked_or_given_after_the_agreement_has_ended() -> None:
    late = END + timedelta(days=1)
    with pytest.raises(AgreementError, match="ended"):
        sign_request(founded(), "borealis", Role.DATA_OWNER, (), (), key_of("borealis"), late)
    with pytest.raises(AgreementError, match="ended"):
        judge_request(site_request(), founded(), late)
    with pytest.raises(AgreementError, match="ended"):
        judge_approval(approval_of(site_request()), founded(), late)


def test_every_changed_byte_of_a_request_is_detected() -> None:
    content = encode_request(site_request())
    for at in range(0, len(content), 41):
        for changed in (content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], content[:at] + content[at + 1 :]):
            with pytest.raises(PharmoniaError):
                judge_request(decode_request(changed, "request.json"), founded(), NOW)


def test_certificates_last_a_year_and_no_longer_than_the_agreement() -> None:
    certificate = approval_of(site_request()).approval.certificates[0]
    assert certificate.ends == NOW + timedelta(days=365)
    late = END - timedelta(days=100)
    key, authority = new_authority("aurora", late)
    signed = sign_request(
        founded(), "borealis", Role.DATA_OWNER, (), site_request().request.requests, key_of("borealis"), late
    )
    later = approve_request(signed, founded(), authority, key, key_of("dynamo"), late)
    assert later.approval.certificates[0].ends == END


def test_a_server_gets_its_hosts_and_its_operator_none() -> None:
    server, operator = approval_of(server_request()).approval.certificates
    assert server.hosts == (HOST, "10.1.2.3")
    assert (server.subject.name, operator.subject.name) == ("server.dynamo", "operator@dynamo.pharmonia")
    assert operator.subject.role == "lead"
    assert HOST not in operator.hosts


def test_only_a_coordinator_approves() -> None:
    key, authority = authority_of("aurora")
    with pytest.raises(RefusedError, match="acme is data-owner and model-developer, not coordinator"):
        approve_request(site_request(), founded(), authority, key, key_of("acme"), NOW)


def test_an_authority_signs_for_its_own_consortium_and_with_its_own_key() -> None:
    key, authority = authority_of("boreas")
    with pytest.raises(CertificateError, match="authority is of boreas"):
        approve_request(site_request(), founded(), authority, key, key_of("dynamo"), NOW)
    with pytest.raises(CertificateError, match="not that of the authority"):
        approve_request(site_request(), founded(), authority_of("aurora")[1], key, key_of("dynamo"), NOW)


def test_an_approval_by_anyone_but_a_coordinator_is_refused() -> None:
    signed = approval_of(site_request())
    assert judge_approval(signed, founded(), LATER) == "dynamo"
    text = signed.approval.digest.encode()
    by_acme = replace(signed, key_id=key_of("acme").public.key_id, proof=key_of("acme").sign("kit-approval", text))
    with pytest.raises(RefusedError, match="acme is data-owner"):
        judge_approval(by_acme, founded(), NOW)
    stranger = PrivateKey.generate()
    by_nobody = replace(signed, key_id=stranger.public.key_id, proof=stranger.sign("kit-approval", text))
    with pytest.raises(DocumentError, match="signs for no partner"):
        judge_approval(by_nobody, founded(), NOW)
    with pytest.raises(DocumentError, match="changed after dynamo signed it"):
        judge_approval(replace(signed, proof=key_of("dynamo").sign("kit-request", text)), founded(), NOW)


def test_an_approval_with_another_authority_in_it_is_refused() -> None:
    one, (_, other) = approval_of(site_request()), authority_of("boreas")
    with pytest.raises(CertificateError, match="but by another"):
        replace(one.approval, authority=other)


def test_an_approval_answers_one_request() -> None:
    ours = site_request().request
    require_answers(approval_of(site_request()).approval, ours)
    with pytest.raises(CertificateError, match="not for this one"):
        require_answers(approval_of(site_request()).approval, replace(ours, made_at=LATER))


def test_an_approval_ends_with_its_certificates_and_with_the_partners_role() -> None:
    signed = approval_of(request_of("cygnus", Role.DATA_OWNER))
    assert judge_approval(signed, with_gamma(), LATER) == "dynamo"
    with pytest.raises(AgreementError, match="not a partner"):
        judge_approval(signed, without_cygnus(), LATER)
    with pytest.raises(CertificateEndedError, match=r"client\.crt of site expired"):
        judge_approval(signed, founded(), NOW + timedelta(days=366))


def test_every_changed_byte_of_an_approval_is_detected() -> None:
    content = encode_approval(approval_of(site_request()))
    for at in range(0, len(content), 97):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(PharmoniaError):
            judge_approval(decode_approval(changed, "approval.json"), founded(), NOW)

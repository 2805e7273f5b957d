"""Certificates: what the authority signs, what it will not, and what tells one certificate from another."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from deploy_cases import authority_of, tls_key
from governance_cases import NOW
from pharmonia.base.errors import CertificateError, KeyFileError, OptionError
from pharmonia.deploy.certificates import (
    Certificate,
    Request,
    Subject,
    Usage,
    issue,
    make_request,
    new_key,
    require_host,
)
from pharmonia.deploy.posts import Address

BOREALIS = Subject(name="borealis", organisation="borealis", role=None)


def leaf(usage: Usage = Usage.SERVE, hosts: tuple[str, ...] = ("fl.acme.example", "10.1.2.3")) -> Certificate:
    key, authority = authority_of("aurora")
    request = make_request(tls_key("acme"), Subject(name="server.acme", organisation="acme", role=None))
    ends = NOW + timedelta(days=90)
    return issue(authority=authority, key=key, request=request, hosts=hosts, usage=usage, now=NOW, ends=ends)


def self_made(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *fields: tuple[x509.ObjectIdentifier, str]) -> str:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in fields])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def test_another_library_accepts_a_servers_certificate_for_its_hosts_only() -> None:
    _, authority = authority_of("aurora")
    store = verification.Store([x509.load_pem_x509_certificate(authority.pem.encode())])
    served = x509.load_pem_x509_certificate(leaf().pem.encode())
    builder = verification.PolicyBuilder().store(store).time(NOW)
    builder.build_server_verifier(x509.DNSName("fl.acme.example")).verify(served, [])
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("fl.other.example")).verify(served, [])


def test_a_sites_certificate_cannot_pass_for_a_servers() -> None:
    site = leaf(Usage.CONNECT, ("borealis",))
    store = verification.Store([x509.load_pem_x509_certificate(authority_of("aurora")[1].pem.encode())])
    verifier = verification.PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("borealis"))
    with pytest.raises(verification.VerificationError):
        verifier.verify(x509.load_pem_x509_certificate(site.pem.encode()), [])


def test_openssl_reads_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(authority_of("aurora")[1].pem, encoding="ascii")
    (tmp_path / "leaf.pem").write_text(leaf().pem, encoding="ascii")
    at = str(int(NOW.timestamp()))
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", "ca.pem", "-purpose", "sslserver", "leaf.pem"],  # noqa: S607
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "leaf.pem: OK\n"), done.stderr


def test_a_certificate_says_whom_where_when_and_what_for() -> None:
    one = leaf()
    assert one.subject == Subject(name="server.acme", organisation="acme", role=None)
    assert one.hosts == ("fl.acme.example", "10.1.2.3")
    assert one.ends == NOW + timedelta(days=90)
    assert one.begins == NOW - timedelta(minutes=5)
    assert one.usage is Usage.SERVE
    assert leaf(Usage.CONNECT).usage is Usage.CONNECT
    assert authority_of("aurora")[1].usage is Usage.AUTHORITY
    assert one.is_for_key(tls_key("acme"))
    assert not one.is_for_key(tls_key("borealis"))


def test_a_persons_role_is_in_the_certificate() -> None:
    person = Subject(name="operator@acme.pharmonia", organisation="acme", role="lead")
    assert make_request(tls_key("acme"), person).subject == person


def test_an_authority_of_the_same_name_is_another() -> None:
    one = leaf()
    assert one.is_signed_by(authority_of("aurora")[1])
    assert not one.is_signed_by(authority_of("boreas")[1])
    assert not one.is_signed_by(one)


def test_a_site_can_sign_no_certificate() -> None:
    key, site = tls_key("acme"), leaf()
    forged = issue(
        authority=site,
        key=key,
        request=make_request(tls_key("borealis"), BOREALIS),
        hosts=("borealis",),
        usage=Usage.CONNECT,
        now=NOW,
        ends=NOW + timedelta(days=1),
    )
    assert not forged.is_signed_by(site)


def test_nothing_outlives_the_authority() -> None:
    key, authority = authority_of("aurora")
    one = issue(
        authority=authority,
        key=key,
        request=make_request(tls_key("borealis"), BOREALIS),
        hosts=("borealis",),
        usage=Usage.CONNECT,
        now=NOW,
        ends=datetime(2150, 1, 1, tzinfo=UTC),
    )
    assert one.ends == authority.ends


def test_the_key_must_be_the_authoritys() -> None:
    with pytest.raises(CertificateError, match="not that of the authority"):
        issue(
            authority=authority_of("aurora")[1],
            key=tls_key("acme"),
            request=make_request(tls_key("borealis"), BOREALIS),
            hosts=("borealis",),
            usage=Usage.CONNECT,
            now=NOW,
            ends=NOW,
        )


def test_our_keys_have_3072_bits_and_are_never_the_same() -> None:
    keys = [load_pem_private_key(new_key(), None) for _ in range(2)]
    assert [key.key_size for key in keys if isinstance(key, rsa.RSAPrivateKey)] == [3072, 3072]
    assert keys[0].public_key() != keys[1].public_key()


def test_weak_and_foreign_keys_are_refused() -> None:
    name = (NameOID.COMMON_NAME, "borealis")
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    with pytest.raises(CertificateError, match="2048"):
        Request(self_made(weak, name))
    with pytest.raises(CertificateError, match="RSA"):
        Request(self_made(ec.generate_private_key(ec.SECP256R1()), name))
    with pytest.raises(KeyFileError, match="damaged"):
        leaf().is_for_key(b"no key")


def test_a_request_with_a_changed_name_is_refused() -> None:
    request = make_request(tls_key("borealis"), BOREALIS)
    loaded = x509.load_pem_x509_csr(request.pem.encode()).public_bytes(Encoding.DER)
    changed = x509.load_der_x509_csr(loaded.replace(b"borealis", b"borealic"))
    with pytest.raises(CertificateError, match="not signed by its own key"):
        Request(changed.public_bytes(Encoding.PEM).decode())


def test_a_name_with_more_in_it_than_we_issue_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for fields in (
        [(NameOID.COMMON_NAME, "borealis"), (NameOID.COMMON_NAME, "acme")],
        [(NameOID.COMMON_NAME, "borealis"), (NameOID.COUNTRY_NAME, "SE")],
    ):
        with pytest.raises(CertificateError, match="none that we issue"):
            _ = Request(self_made(key, *fields)).subject


@pytest.mark.parametrize("text", ["", "no certificate", leaf().pem[:200], leaf().pem * 2])
def test_what_is_not_one_certificate_is_refused(text: str) -> None:
    with pytest.raises(CertificateError):
        Certificate(text)


@given(st.from_regex(r"[a-z][a-z0-9]{0,20}(\.[a-z][a-z0-9-]{0,10}[a-z0-9]){1,3}", fullmatch=True))
def test_an_address_reads_as_it_is_written(host: str) -> None:
    address = Address(host=host, port=8002)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "FL.example", "a b", "a_b", "-a", "::1", "1.2.3", "1.2.3.400", "a.", "ä.example"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="host name"):
        require_host(text)


@pytest.mark.parametrize("text", ["host", "host:", "host:80", "host:70000", "host:x", ":8002", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(OptionError):
        Address.parse(text)

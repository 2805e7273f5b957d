"""X.509 for connections between organisations: keys, requests, the consortium's authority, and what a certificate says.

RSA of 3072 bits throughout, since NVFlare signs its log-in messages with RSA (RFC 8017, PSS). Certificates follow
RFC 5280. The only module of `deploy` that knows `cryptography`.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from pharmonia.base.errors import CertificateError, KeyFileError, OptionError

KEY_BITS, MIN_KEY_BITS = 3072, 2048
AUTHORITY_LIFE = timedelta(days=3650)  # the authority outlives amendments; what it signs does not outlive the agreement
BACKDATED = timedelta(minutes=5)  # as much as two clocks may differ
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII)


class Usage(StrEnum):
    """What a certificate is good for."""

    AUTHORITY = "authority"
    CONNECT = "connect"  # to the server; accepts no connection
    SERVE = "serve"


_PURPOSES = {
    Usage.CONNECT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
    Usage.SERVE: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),  # its job processes connect to it
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate names.

    Args:
        name: Common name.
        organisation: The partner's id.
        role: In NVFlare's permissions, for people who log in; None for processes.
    """

    name: str
    organisation: str
    role: str | None

    def __str__(self) -> str:
        return ", ".join(part for part in (self.name, f"of {self.organisation}", self.role) if part)


def require_host(text: str) -> str:
    """The host name or IPv4 address, if it is one; NVFlare 2.9 knows no address of IPv6.

    Raises:
        OptionError: It is neither; host names are lower case.
    """
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        if not _HOST.fullmatch(text) or text.replace(".", "").isdigit():
            raise OptionError(f"expected a host name in lower case or an IPv4 address, got {text[:80]!a}") from None
    return text


def new_key() -> bytes:
    """A fresh private key from the operating system's randomness, PKCS #8 in PEM, not encrypted."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(pem: bytes) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError("the private key is damaged; restore it from your backup, or request anew") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError("the private key is not RSA; make it with `pharmonia deploy request`")
    return key


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate request (RFC 2986) whose maker holds its key.

    Args:
        pem: As exchanged.

    Raises:
        CertificateError: Damaged, not signed by its own key, or of a weak key.
    """

    pem: str

    def __post_init__(self) -> None:
        try:
            request = x509.load_pem_x509_csr(self.pem.encode())
            key, is_signed = request.public_key(), request.is_signature_valid
            _subject(request.subject)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CertificateError("the certificate request is damaged; ask for a new one") from error
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_KEY_BITS:
            raise CertificateError(f"a certificate is requested for an RSA key of at least {MIN_KEY_BITS} bits")
        if not is_signed:
            raise CertificateError("the certificate request is not signed by its own key; ask for a new one")

    def _loaded(self) -> x509.CertificateSigningRequest:
        return x509.load_pem_x509_csr(self.pem.encode())

    @property
    def subject(self) -> Subject:
        """Whom the certificate is to name."""
        return _subject(self._loaded().subject)

    def is_for_key(self, key: bytes) -> bool:
        """Whether it asks for a certificate of this private key."""
        return _public(self._loaded().public_key()) == _public(_load_key(key).public_key())


def make_request(key: bytes, subject: Subject) -> Request:
    """A request for a certificate, signed by the key that it is for."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject))
    return Request(builder.sign(_load_key(key), hashes.SHA256()).public_bytes(Encoding.PEM).decode())


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and what it says.

    Args:
        pem: As exchanged; exactly one certificate.

    Raises:
        CertificateError: Damaged, or not exactly one.
    """

    pem: str

    def __post_init__(self) -> None:
        if self.pem.count("-----BEGIN") != 1:
            raise CertificateError("expected a file with exactly one certificate")
        try:  # all of it, since its parts are only read when they are asked for
            _ = (self.subject, self.begins, self.ends, self.hosts, self.usage, _public(self._loaded().public_key()))
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise CertificateError("the certificate is damaged; ask for it again") from error

    def _loaded(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pem.encode())

    @property
    def subject(self) -> Subject:
        """Whom it names."""
        return _subject(self._loaded().subject)

    @property
    def begins(self) -> datetime:
        """When it begins to be valid, UTC."""
        return self._loaded().not_valid_before_utc

    @property
    def ends(self) -> datetime:
        """When it ceases to be valid, UTC."""
        return self._loaded().not_valid_after_utc

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, 64 hexadecimal digits."""
        return self._loaded().fingerprint(hashes.SHA256()).hex()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names and IP addresses at which it may be shown, in its order."""
        try:
            names = self._loaded().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        return tuple(str(name.value) for name in names)

    @property
    def usage(self) -> Usage | None:
        """What it is good for; None if for nothing that we issue."""
        extensions = self._loaded().extensions
        try:
            if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                return Usage.AUTHORITY
            purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        except x509.ExtensionNotFound:
            return None
        return next((usage for usage, known in _PURPOSES.items() if set(known) == purposes), None)

    def is_for_key(self, key: bytes) -> bool:
        """Whether it is of this private key."""
        return _public(self._loaded().public_key()) == _public(_load_key(key).public_key())

    def is_signed_by(self, authority: "Certificate") -> bool:
        """Whether this authority issued it."""
        try:
            self._loaded().verify_directly_issued_by(authority._loaded())
        except (InvalidSignature, ValueError, TypeError):
            return False
        return authority.usage is Usage.AUTHORITY


def new_authority(consortium: str, now: datetime) -> tuple[bytes, Certificate]:
    """A consortium's authority: its private key and its certificate, signed by itself, for ten years.

    It may sign certificates of processes and people, and no further authorities.
    """
    pem = new_key()
    key = _load_key(pem)
    name = _name(Subject(name=consortium, organisation=consortium, role=None))
    usage = _key_usage(signs_certificates=True)
    builder = _builder(name, name, key.public_key(), key.public_key(), now, now + AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    return pem, _wrapped(signed)


def issue(
    *,
    authority: Certificate,
    key: bytes,
    request: Request,
    hosts: tuple[str, ...],
    usage: Usage,
    now: datetime,
    ends: datetime,
) -> Certificate:
    """The certificate that was requested, signed by the authority.

    Args:
        authority: Of the consortium.
        key: The authority's.
        request: Its subject has been judged already.
        hosts: Where it may be shown.
        usage: To connect or to serve.
        now: It begins five minutes before.
        ends: It ends then, or with the authority.

    Raises:
        CertificateError: The key is not the authority's.
    """
    if not authority.is_for_key(key):
        raise CertificateError(f"the key is not that of the authority of {authority.subject.name}; restore it")
    asked, signer = request._loaded(), _load_key(key)
    public = asked.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise CertificateError("a certificate is issued for an RSA key only")
    builder = _builder(
        asked.subject, authority._loaded().subject, public, signer.public_key(), now, min(ends, authority.ends)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_PURPOSES[usage]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return _wrapped(builder.sign(signer, hashes.SHA256()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: rsa.RSAPublicKey,
    signer: rsa.RSAPublicKey,
    now: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _wrapped(certificate: x509.Certificate) -> Certificate:
    return Certificate(certificate.public_bytes(Encoding.PEM).decode())


def _name(subject: Subject) -> x509.Name:
    parts = [(NameOID.COMMON_NAME, subject.name), (NameOID.ORGANIZATION_NAME, subject.organisation)]
    if subject.role is not None:
        parts.append((NameOID.UNSTRUCTURED_NAME, subject.role))  # where NVFlare reads a person's role
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _subject(name: x509.Name) -> Subject:
    if len(name.rdns) != len(list(name)):
        raise CertificateError("a name with several values in one place is none that we issue")
    found = {NameOID.COMMON_NAME: "", NameOID.ORGANIZATION_NAME: ""}
    for attribute in name:
        if found.get(attribute.oid):
            raise CertificateError("a name with one field twice is none that we issue")
        found[attribute.oid] = str(attribute.value)
    allowed: set[ObjectIdentifier] = {NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.UNSTRUCTURED_NAME}
    if not allowed.issuperset(found):
        raise CertificateError("a name with further fields is none that we issue")
    role = found.get(NameOID.UNSTRUCTURED_NAME)
    return Subject(name=found[NameOID.COMMON_NAME], organisation=found[NameOID.ORGANIZATION_NAME], role=role)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _public(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateError("the public key is not RSA")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

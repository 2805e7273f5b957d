"""Whether the one port that a site needs can be reached, and the one behind it is the consortium's server."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.errors import CertificateError, KitError, UnreachableError

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a site shows, and whom it believes.

    Args:
        authority: The consortium's authority.
        certificate: Its own.
        key: Of that.
    """

    authority: Path
    certificate: Path
    key: Path


def require_connection(host: str, port: int, own: Credentials) -> None:
    """Opens a connection with mutual TLS, and closes it; nothing is sent.

    Raises:
        UnreachableError: Nothing answers there; says what to open.
        CertificateError: Whoever answers is not the consortium's server, or does not take our certificate.
        KitError: A file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(own.authority))
        context.load_cert_chain(own.certificate, own.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
    except (OSError, ssl.SSLError) as error:
        raise KitError(f"{own.authority.parent}: certificates or key cannot be read; make the kit again") from error
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            secured.settimeout(1.0)
            _require_taken(secured)
    except ssl.SSLError as error:
        reason = error.reason or type(error).__name__
        raise CertificateError(
            f"{host}:{port} answers, but not as the consortium's server ({reason}): is a proxy that opens TLS between?"
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreachableError(
            f"{host}:{port}: {reason}; let this machine open TCP connections to it, and see that the server is started"
        ) from error


def _require_taken(secured: ssl.SSLSocket) -> None:
    """In TLS 1.3 a server that refuses our certificate says so only after the handshake."""
    try:
        if not secured.recv(1):
            raise UnreachableError("the server closed the connection at once; is the kit's certificate still wanted?")
    except TimeoutError:
        return

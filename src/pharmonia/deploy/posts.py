"""What a partner's role puts on its machines, and the names that the certificates there bear."""

from dataclasses import dataclass

from pharmonia.base.errors import OptionError, RefusedError
from pharmonia.deploy.certificates import Subject, Usage, require_host
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.terms import Role

OPERATOR_ROLE = "lead"  # of NVFlare's roles: submits and ends its own jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One process or person with a certificate, and the folder of the kit that it uses.

    Args:
        folder: `site`, `server` or `operator`; NVFlare's workspace.
        usage: Of its certificate.
        key_file: In the folder's `startup`.
        certificate_file: In the folder's `startup`.
        data_variable: Environment variable that names the process's folder of data; empty for people.
    """

    folder: str
    usage: Usage
    key_file: str
    certificate_file: str
    data_variable: str

    def subject(self, partner: str) -> Subject:
        """Whom its certificate names; a dot or an at sign keeps it apart from every partner's id."""
        if self.folder == "server":
            return Subject(name=f"server.{partner}", organisation=partner, role=None)
        if self.folder == "operator":
            return Subject(name=f"operator@{partner}.pharmonia", organisation=partner, role=OPERATOR_ROLE)
        return Subject(name=partner, organisation=partner, role=None)

    def hosts(self, partner: str, served: tuple[str, ...]) -> tuple[str, ...]:
        """Where its certificate may be shown: a server's own hosts, and nobody else's."""
        return served if self.usage is Usage.SERVE else (self.subject(partner).name,)


SITE = Post(
    folder="site",
    usage=Usage.CONNECT,
    key_file="client.key",
    certificate_file="client.crt",
    data_variable="PHARMONIA_SITE",
)
SERVER = Post(
    folder="server",
    usage=Usage.SERVE,
    key_file="server.key",
    certificate_file="server.crt",
    data_variable="PHARMONIA_COORDINATOR",
)
OPERATOR = Post(
    folder="operator",
    usage=Usage.CONNECT,
    key_file="client.key",
    certificate_file="client.crt",
    data_variable="",
)
_POSTS = {Role.DATA_OWNER: (SITE,), Role.COORDINATOR: (SERVER, OPERATOR)}


def posts_of(role: Role) -> tuple[Post, ...]:
    """What a role runs.

    Raises:
        OptionError: A role that connects nothing.
    """
    if role not in _POSTS:
        raise OptionError(f"only {' and '.join(_POSTS)} connect machines; an {role} needs no start-up kit")
    return _POSTS[role]


def require_role(agreement: Agreement, partner: str, role: Role) -> None:
    """Refuses a partner that the agreement does not give the role.

    Raises:
        AgreementError: Not a partner at all.
        RefusedError: Another role.
    """
    roles = agreement.partner(partner).roles
    if role not in roles:
        raise RefusedError(
            f"{agreement.name}, version {agreement.version}: {partner} is {' and '.join(roles)}, not {role}; ask for a "
            f"kit of a role that it has, or amend the agreement"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server listens: one host, one port, for everything.

    Args:
        host: A name in lower case or an IPv4 address.
        port: Above 1023, since nothing of ours runs with the rights to listen below.

    Raises:
        OptionError: No such host or port.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", require_host(self.host))
        if not 1024 <= self.port <= 65535:
            raise OptionError(f"expected a port from 1024 to 65535, got {self.port}")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_numeric(self) -> bool:
        """Whether the host is an IPv4 address, not a name."""
        return self.host.replace(".", "").isdigit()

    @staticmethod
    def parse(text: str) -> "Address":
        """The address written as HOST:PORT.

        Raises:
            OptionError: It is not.
        """
        host, _, port = text.rpartition(":")
        if not (host and port.isascii() and port.isdigit()):
            raise OptionError(f"expected the server's address as HOST:PORT, got {text[:80]!a}")
        return Address(host=host, port=int(port))

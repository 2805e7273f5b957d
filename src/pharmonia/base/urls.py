"""URLs for people's eyes: in reports, notes and messages."""

import re
from urllib.parse import unquote_plus

HIDDEN = "***"
_USER = re.compile(r"(://[^:/]*:).*@", re.DOTALL)  # to the last @: a password may hold one, and / and ?
_SECRET = re.compile(r"pass|pwd|secret|token|odbc_connect", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """The text with *** for the password of a URL in it, between user and host or in the query."""
    if "://" not in text:
        return text
    address, mark, query = _USER.sub(rf"\g<1>{HIDDEN}@", text).partition("?")
    return address + mark + "&".join(map(_hidden, query.split("&")))


def _hidden(pair: str) -> str:
    name, mark, _ = pair.partition("=")
    return f"{name}={HIDDEN}" if mark and _SECRET.search(unquote_plus(name)) else pair

"""Documents as bytes: one text for one meaning, read field by field into types that refuse bad values.

A document on disk is its canonical JSON laid out for people: keys sorted, two spaces an indent, a line feed at the end.
What is read must be byte for byte what would be written, so no change of a byte goes unseen. Digests and signatures are
over the compact form (`base.canonical`).
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from pharmonia.base.canonical import Json, digest_json
from pharmonia.base.errors import DocumentError, PharmoniaError, TermsError

MAX_DOCUMENT_BYTES = 2**22
MAX_ID_CHARACTERS = 32
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_KEY_ID = re.compile(r"pk-[0-9a-f]{16}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_INVISIBLE = re.compile(  # characters that Unicode calls printable and no font shows; the blank Braille pattern too
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_TIME = "%Y-%m-%dT%H:%M:%SZ"

Tree = None | bool | int | float | str | datetime | Sequence["Tree"] | Mapping[str, "Tree"]  # TOML has times
ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


def render(document: Json) -> bytes:
    """The bytes of a document on disk.

    Raises:
        ValueError: Text that UTF-8 cannot hold, or a number that is not finite.
    """
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def parse(content: bytes, kind: str, where: str) -> "Fields":
    """The fields of a document on disk; its reader ends with `require_same`.

    Args:
        content: The file's bytes.
        kind: The format that they must have.
        where: The file's name, for messages.

    Raises:
        DocumentError: Not JSON in UTF-8, too long, or of another format.
    """
    if len(content) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"{where}: a document has at most {MAX_DOCUMENT_BYTES:,} bytes, got {len(content):,}")
    try:
        tree = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{where} is cut short or damaged; ask its sender for it again") from error
    fields = Fields(tree, where, DocumentError)
    found = fields.text("format")
    if found != kind:
        raise DocumentError(f"{where}: expected a document of format {kind!r}, got {found!r}")
    return fields


def require_same(content: bytes, document: Json, where: str) -> None:
    """Refuses bytes other than those that would be written for what was read from them.

    Raises:
        DocumentError: Something differs, if only in layout.
    """
    try:
        same = render(document) == content
    except ValueError:  # half a character, which no file of ours holds
        same = False
    if not same:
        raise DocumentError(f"{where} was changed after it was written, if only in layout; ask its sender for it again")


def document_digest(kind: str, body: Json) -> str:
    """SHA-256 of a document's canonical form with its format, 64 hexadecimal digits; without signatures."""
    return digest_json({"format": kind, "body": body})


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one object, taken one by one; `done` refuses what nobody took.

    Args:
        tree: What was parsed.
        where: File and place in it, for messages.
        error: Raised for a field that is missing or of another type.
    """

    tree: Tree
    where: str
    error: type[PharmoniaError]
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not isinstance(self.tree, Mapping):
            raise self.error(f"{self.where}: expected an object with named fields")

    def _take(self, name: str) -> Tree:
        if not isinstance(self.tree, Mapping) or name not in self.tree:
            raise self.error(f"{self.where}: the field {name!r} is missing")
        self.taken.add(name)
        value: Tree = self.tree[name]
        return value

    def _wrong(self, name: str, expected: str) -> PharmoniaError:
        return self.error(f"{self.where}: the field {name!r} must be {expected}")

    def is_null(self, name: str) -> bool:
        """Whether a field that may be empty is."""
        return self._take(name) is None

    def has(self, name: str) -> bool:
        """Whether a field that may be left out is there."""
        return isinstance(self.tree, Mapping) and name in self.tree

    def text(self, name: str) -> str:
        """A field that holds text."""
        value = self._take(name)
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def integer(self, name: str) -> int:
        """A field that holds a whole number."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "a whole number")
        return value

    def number(self, name: str) -> float:
        """A field that holds a number with a decimal point."""
        value = self._take(name)
        if not isinstance(value, float):
            raise self._wrong(name, "a number with a decimal point")
        return value

    def flag(self, name: str) -> bool:
        """A field that holds true or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def scalar(self, name: str) -> bool | int | float | str:
        """A field that holds text, a number, or true or false."""
        value = self._take(name)
        if not isinstance(value, bool | int | float | str):
            raise self._wrong(name, "text, a number, or true or false")
        return value

    def time(self, name: str) -> datetime:
        """A field that holds a time, such as 2027-12-31T23:59:59Z."""
        value = self._take(name)
        if isinstance(value, datetime):
            return value
        try:
            return datetime.strptime(value if isinstance(value, str) else "", _TIME).replace(tzinfo=UTC)
        except ValueError as error:
            raise self._wrong(name, "a time such as 2027-12-31T23:59:59Z") from error

    def binary(self, name: str) -> bytes:
        """A field that holds bytes in hexadecimal digits."""
        try:
            return bytes.fromhex(self.text(name))
        except ValueError as error:
            raise self._wrong(name, "bytes in hexadecimal digits") from error

    def choice(self, name: str, choices: type[ChoiceT]) -> ChoiceT:
        """A field that holds one of a closed list."""
        return self._choice(name, self.text(name), choices)

    def choices(self, name: str, choices: type[ChoiceT]) -> tuple[ChoiceT, ...]:
        """A field that holds several of a closed list."""
        return tuple(self._choice(name, text, choices) for text in self.texts(name))

    def _choice(self, name: str, text: str, choices: type[ChoiceT]) -> ChoiceT:
        if text not in set(choices):
            raise self._wrong(name, f"one of {', '.join(choices)}; got {text[:40]!r}")
        return choices(text)

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that holds a list of text."""
        values = self._list(name)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise self._wrong(name, "a list of text")
        return texts

    def inner(self, name: str) -> "Fields":
        """A field that holds an object."""
        return Fields(self._take(name), f"{self.where}, {name}", self.error)

    def inners(self, name: str) -> tuple["Fields", ...]:
        """A field that holds a list of objects."""
        values = self._list(name)
        return tuple(Fields(value, f"{self.where}, {name} {at + 1}", self.error) for at, value in enumerate(values))

    def names(self) -> tuple[str, ...]:
        """The names of all fields, for an object whose names are data."""
        return tuple(self.tree) if isinstance(self.tree, Mapping) else ()

    def _list(self, name: str) -> Sequence[Tree]:
        value = self._take(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value

    def done(self) -> None:
        """Refuses fields that nobody took, such as a misspelt one."""
        left = [name for name in self.names() if name not in self.taken]
        if left:
            raise self.error(f"{self.where}: there is no field {sorted(left)[0][:40]!r}")


def time_text(time: datetime) -> str:
    """A time as documents hold it, such as 2027-12-31T23:59:59Z."""
    return time.astimezone(UTC).strftime(_TIME)


def whole_second(time: datetime) -> datetime:
    """The time without its fraction of a second, in UTC, as documents hold it."""
    return time.astimezone(UTC).replace(microsecond=0)


def require_time(time: datetime, what: str) -> None:
    """Refuses a time that a document cannot hold.

    Raises:
        TermsError: Not in UTC and whole seconds.
    """
    if time.utcoffset() != UTC.utcoffset(None) or time.microsecond or not 2000 <= time.year <= 2199:
        raise TermsError(f"{what}: expected a time in UTC, to the second, of this century or the next, got {time}")


def require_id(text: str, what: str) -> None:
    """Refuses what is no identifier: ASCII alone, so that none can pass for another by a foreign letter.

    Raises:
        TermsError: Not lower-case letters, digits and single hyphens, at most 32.
    """
    if len(text) > MAX_ID_CHARACTERS or not _ID.fullmatch(text):
        raise TermsError(
            f"{what}: expected at most {MAX_ID_CHARACTERS} of a-z, 0-9 and single hyphens, letter first, "
            f"got {text[:80]!a}"
        )


def require_key_id(text: str, what: str) -> None:
    """Refuses what is no key's id.

    Raises:
        TermsError: Not `pk-` and 16 hexadecimal digits.
    """
    if not _KEY_ID.fullmatch(text):
        raise TermsError(f"{what}: expected a key's id such as pk-0123456789abcdef, got {text[:40]!a}")


def require_digest(text: str, what: str) -> None:
    """Refuses what is no SHA-256.

    Raises:
        TermsError: Not 64 lower-case hexadecimal digits.
    """
    if not _DIGEST.fullmatch(text):
        raise TermsError(f"{what}: expected a SHA-256 of 64 hexadecimal digits, got {text[:80]!a}")


def require_text(text: str, what: str, most: int) -> None:
    """Refuses text that could show as something else than it is.

    Raises:
        TermsError: Empty, too long, unprintable (marks of writing direction are), not in normal form C, or with spaces
            at its ends or side by side.
    """
    if not 1 <= len(text) <= most or not text.isprintable() or " ".join(text.split()) != text:
        raise TermsError(f"{what}: expected 1 to {most} printable characters on one line, got {text[:80]!a}")
    if unicodedata.normalize("NFC", text) != text:
        raise TermsError(f"{what}: expected Unicode's normal form C, got {text[:80]!a}")
    if _INVISIBLE.search(text):
        raise TermsError(f"{what}: it has a character that does not show, got {text[:80]!a}")


def require_sorted(items: Sequence[str], what: str) -> None:
    """Refuses a list that is not in order or names something twice.

    Raises:
        TermsError: So it is.
    """
    if list(items) != sorted(set(items)):
        raise TermsError(f"{what}: expected each once and in order, got {', '.join(items)[:200]!a}")

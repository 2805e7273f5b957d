"""Length-prefixed bytes: what is hashed and what is sent, unambiguous to the last byte.

A frame is `"PHS1" | kind (1 byte) | fields | check (16 bytes)`; a field is its length (8 bytes, little-endian) and its
bytes. The check is a GMAC under a public constant: it finds damage and truncation at memory speed and says nothing
about the sender, whom the transport authenticates.
"""

import hashlib
from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pharmonia.base.errors import MessageError

Bytes = bytes | memoryview
MAGIC = b"PHS1"
VERSION_LABEL = b"pharmonia/sa/v1/"
DIGEST_BYTES = 32
CHECK_BYTES = 16
PREFIX_BYTES = 8
MAX_FIELDS = 255  # of a frame, and of a list in a field: the longest have one for each partner of the largest roster
_CHECK_KEY = hashlib.sha256(VERSION_LABEL + b"frame-check").digest()[:16]


def label(use: str) -> bytes:
    """The label that separates one use of hash, key or signature from every other."""
    return VERSION_LABEL + use.encode() + b"|"


def u64(number: int) -> bytes:
    """Eight bytes, little-endian."""
    return number.to_bytes(8, "little")


def pack_parts(fields: Iterable[Bytes]) -> list[Bytes]:
    """Each field with its length before it, not yet joined."""
    return [part for field in fields for part in (u64(len(field)), field)]


def pack(fields: Iterable[Bytes]) -> bytes:
    """Each field with its length before it; no two sequences of fields give the same bytes."""
    return b"".join(pack_parts(fields))


def unpack(data: Bytes) -> list[memoryview]:
    """The fields in packed bytes, as views.

    Raises:
        MessageError: A length reaches past the end, or there are more than any message has.
    """
    view = memoryview(data)
    fields = list[memoryview]()
    while view:
        if len(fields) == MAX_FIELDS:
            raise MessageError(f"there are more than {MAX_FIELDS} fields")
        size = int.from_bytes(view[:PREFIX_BYTES], "little")
        if size > len(view) - PREFIX_BYTES:
            raise MessageError(f"a field of {size} bytes is cut short")
        fields.append(view[PREFIX_BYTES : PREFIX_BYTES + size])
        view = view[PREFIX_BYTES + size :]
    return fields


def digest(use: str, *fields: Bytes) -> bytes:
    """SHA-256 of a label and length-prefixed fields; 32 bytes."""
    return hashlib.sha256(label(use) + pack(fields)).digest()


def frame_parts(kind: int, fields: Sequence[Bytes]) -> list[Bytes]:
    """A frame in pieces, so that a vector of gigabytes need not be copied to be sent."""
    parts: list[Bytes] = [MAGIC + bytes([kind]), *pack_parts(fields)]
    return [*parts, _check(parts)]


def unframe(frame: Bytes) -> tuple[int, list[memoryview]]:
    """Kind and fields of a frame, as views into it.

    Raises:
        MessageError: Truncated, damaged or of another version.
    """
    view = memoryview(frame).cast("B")
    start, end = len(MAGIC) + 1, len(view) - CHECK_BYTES
    if end < start or view[: len(MAGIC)] != MAGIC:
        raise MessageError(f"expected a frame of version {MAGIC!r}, got {len(view)} bytes of something else")
    if view[end:] != _check([view[:end]]):
        raise MessageError("a frame's check does not match: it is damaged or truncated")
    return view[len(MAGIC)], unpack(view[start:end])


class Check:
    """The check of a frame that comes in pieces."""

    def __init__(self) -> None:
        self._encryptor = Cipher(algorithms.AES(_CHECK_KEY), modes.GCM(bytes(12))).encryptor()

    def update(self, piece: Bytes) -> None:
        """The next piece of what is checked."""
        self._encryptor.authenticate_additional_data(piece)

    def value(self) -> bytes:
        """16 bytes; nothing follows."""
        self._encryptor.finalize()
        return self._encryptor.tag


def _check(parts: Sequence[Bytes]) -> bytes:
    check = Check()
    for part in parts:
        check.update(part)
    return check.value()


def text_of(field: Bytes) -> str:
    """A field that holds UTF-8 text.

    Raises:
        MessageError: It does not.
    """
    try:
        return str(field, "utf-8")
    except UnicodeDecodeError as error:
        raise MessageError("a text field is not UTF-8") from error


def number_of(field: Bytes) -> int:
    """A field that holds a u64.

    Raises:
        MessageError: It is not eight bytes.
    """
    if len(field) != PREFIX_BYTES:
        raise MessageError(f"a number takes {PREFIX_BYTES} bytes, got {len(field)}")
    return int.from_bytes(field, "little")

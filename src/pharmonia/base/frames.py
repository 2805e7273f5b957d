"""Frames: how what leaves a process is laid out, whoever speaks.

`magic (4 bytes) | kind (1 byte) | header length (4 bytes, little-endian) | header | payload | check`. The header is
canonical JSON; the check is 16 bytes of BLAKE2b over all before it. It finds damage; who sent a frame is for the
engine's TLS to say. No pickle, nothing executable.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import MessageError

CHECK_BYTES = 16
_PREFIX = struct.Struct("<4sBI")
KindT = TypeVar("KindT", bound=IntEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(Generic[KindT]):
    """A frame that was taken apart.

    Args:
        kind: What it holds.
        header: As it was read.
        header_bytes: As they came.
        payload: A view of the frame's own bytes.
    """

    kind: KindT
    header: dict[str, Json]
    header_bytes: memoryview
    payload: memoryview

    @property
    def is_canonical(self) -> bool:
        """Whether the header's bytes are what we would write."""
        return canonical_json(self.header) == self.header_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat(Generic[KindT]):
    """One family of frames.

    Args:
        magic: 4 bytes that they begin with.
        kinds: What they hold.
        max_header_bytes: Longest header.
        max_payload_bytes: Longest payload; None where the engine alone bounds it.
    """

    magic: bytes
    kinds: type[KindT]
    max_header_bytes: int
    max_payload_bytes: int | None = None

    def is_of(self, frame: bytes) -> bool:
        """Whether these bytes start like a frame of this family."""
        return frame[: len(self.magic)] == self.magic

    def pack(self, kind: KindT, header: Json, payload: bytes | memoryview = b"") -> bytes:
        """The frame; its payload, which may be long, is copied once."""
        text = canonical_json(header)
        parts = (_PREFIX.pack(self.magic, kind, len(text)), text, payload)
        check = hashlib.blake2b(digest_size=CHECK_BYTES)
        for part in parts:
            check.update(part)
        return b"".join((*parts, check.digest()))

    def unpack(self, frame: bytes) -> Frame[KindT]:
        """The parts of a frame, none of them copied.

        Raises:
            MessageError: Truncated, oversized, damaged, of another version or kind, or its header is no JSON object.
        """
        end = len(frame) - CHECK_BYTES
        if end < _PREFIX.size or self._is_oversized(end):
            raise MessageError(f"a frame of {len(frame)} bytes is truncated or oversized")
        magic, number, length = _PREFIX.unpack_from(frame)
        if magic != self.magic or number not in set(self.kinds):
            raise MessageError(
                f"expected a frame of version {self.magic!r} and a known kind, got {magic!r} and {number}"
            )
        kind, start, view = self.kinds(number), _PREFIX.size + length, memoryview(frame)
        if length > self.max_header_bytes or start > end:
            raise MessageError(f"a {kind.name.lower()} frame of {len(frame)} bytes is truncated or oversized")
        if view[end:] != hashlib.blake2b(view[:end], digest_size=CHECK_BYTES).digest():
            raise MessageError(f"a {kind.name.lower()} frame's check does not match: it is damaged or truncated")
        text = view[_PREFIX.size : start]
        try:
            header = json.loads(text.tobytes().decode())
        except (ValueError, RecursionError) as error:
            raise MessageError("a frame's header is not JSON") from error
        if not isinstance(header, dict):
            raise MessageError("a frame's header is not a JSON object")
        return Frame(kind=kind, header=header, header_bytes=text, payload=view[start:end])

    def _is_oversized(self, end: int) -> bool:
        most = self.max_payload_bytes
        return most is not None and end > _PREFIX.size + self.max_header_bytes + most


def header_text(header: dict[str, Json], name: str) -> str:
    """A header's field that is text; KeyError or TypeError if not."""
    value = header[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def header_whole(header: dict[str, Json], name: str) -> int:
    """A header's field that is a whole number; KeyError or TypeError if not."""
    value = header[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is no whole number")
    return value

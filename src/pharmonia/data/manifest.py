"""What a prepared data set is, where it came from, and the digests of its files: a JSON file beside them."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from pharmonia.base.canonical import Json, canonical_json, digest_json
from pharmonia.base.errors import CacheError
from pharmonia.data.catalogue import Kind

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file by its exact bytes.

    Args:
        name: A file name beside the manifest, or the address of a source.
        sha256: 64 hexadecimal digits.
        n_bytes: Its size.
    """

    name: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A prepared data set.

    Args:
        name: Its name.
        title: One line for people.
        kind: Interactions, or a table of assay results.
        measure: What a value is, with its unit.
        licence: Terms of the source.
        citation: Whom to cite; empty for the user's own data.
        notes: How it was made: options and counts, one statement each.
        n_rows: Measured values.
        n_compounds: Unique structures (for an assay table: compounds as listed).
        n_targets: Unique sequences; 0 for an assay table.
        n_listed_compounds: Compounds in the source, before identical structures were joined.
        n_listed_targets: Targets in the source, before identical sequences were joined.
        sources: What it was made from.
        files: What it consists of.
    """

    name: str
    title: str
    kind: Kind
    measure: str
    licence: str
    citation: str
    notes: tuple[str, ...]
    n_rows: int
    n_compounds: int
    n_targets: int
    n_listed_compounds: int
    n_listed_targets: int
    sources: tuple[FileRecord, ...]
    files: tuple[FileRecord, ...]


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON with the schema's version and, so that damage shows, its own digest."""
    body: dict[str, Json] = {
        **asdict(manifest),
        "kind": manifest.kind.value,
        "schema_version": SCHEMA_VERSION,
    }
    return canonical_json({**body, "digest": digest_json(body)}) + b"\n"


def decode_manifest(content: bytes, where: str) -> Manifest:
    """The manifest that these bytes hold.

    Args:
        content: As `encode_manifest` wrote it.
        where: The file's name, for messages.

    Raises:
        CacheError: Not a manifest, damaged, or of another version of Pharmonia; names file and remedy.
    """
    try:
        body: dict[str, Any] = json.loads(content)
        claimed = body.pop("digest")
        version = body.pop("schema_version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"{where} is damaged: it is not a manifest of a data set") from error
    if version != SCHEMA_VERSION:
        raise CacheError(f"{where} has version {version} of the format; this Pharmonia reads version {SCHEMA_VERSION}")
    found = digest_json({**body, "schema_version": version})
    if claimed != found:
        raise CacheError(f"{where} is damaged: its digest should be {claimed}, but it is {found}")
    return _manifest(body)


def _manifest(body: dict[str, Any]) -> Manifest:
    typed = {
        "kind": Kind(body["kind"]),
        "notes": tuple(body["notes"]),
        "sources": tuple(FileRecord(**record) for record in body["sources"]),
        "files": tuple(FileRecord(**record) for record in body["files"]),
    }
    return Manifest(**{**body, **typed})

"""A digest of what this installation makes of thousands of tricky structures; equal digests mean equal chemistry."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from pharmonia.base.canonical import canonical_json
from pharmonia.chem.ecfp_matrix import Columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedStructure:
    """What preparation makes of one structure, before any key.

    Args:
        smiles: Its standard form, or the refusal's name.
        scaffold: The scaffold that decides on its fold; empty where it has none.
        columns: Its environments; none for a refusal.
    """

    smiles: str
    scaffold: str
    columns: Columns


def reference_digest(prepared: Iterable[PreparedStructure]) -> str:
    """SHA-256, 64 hexadecimal digits, over standard forms, scaffolds and environments, in order."""
    digest = hashlib.sha256()
    for one in prepared:
        digest.update(canonical_json([one.smiles, one.scaffold, one.columns.tolist()]))
    return digest.hexdigest()

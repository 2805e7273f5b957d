"""Listed compounds and targets to unique structures and sequences, in order of first appearance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pharmonia.base.errors import CompoundError, DataFileError, ProteinError
from pharmonia.chem.graphs import Indices
from pharmonia.chem.proteins import clean_sequence
from pharmonia.chem.standardise import canonical_smiles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Listed things joined by what they are.

    Args:
        ids: Per unique thing the identifiers listed for it, joined by ";".
        texts: Its canonical SMILES or its residues.
        index: (n_listed,) int32, the unique thing of each listed one.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    index: Indices


def join_compounds(listed: Mapping[str, str], where: str) -> Joined:
    """Compounds joined by canonical SMILES.

    Args:
        listed: SMILES by identifier.
        where: The file's name, for messages.

    Raises:
        DataFileError: A SMILES is not a compound; names the file and the identifier.
    """
    return _join(listed, canonical_smiles, where)


def join_targets(listed: Mapping[str, str], where: str) -> Joined:
    """Targets joined by sequence.

    Args:
        listed: Residues by identifier.
        where: The file's name, for messages.

    Raises:
        DataFileError: A sequence is not a protein; names the file and the identifier.
    """
    return _join(listed, clean_sequence, where)


def _join(listed: Mapping[str, str], normal: Callable[[str], str], where: str) -> Joined:
    ids: dict[str, list[str]] = {}
    texts = []
    for position, (identifier, raw) in enumerate(listed.items(), start=1):
        try:
            texts.append(normal(raw))
        except (CompoundError, ProteinError) as error:
            raise DataFileError(f"{where}: entry {position} ({identifier}): {error}") from error
        ids.setdefault(texts[-1], []).append(identifier)
    number = {text: index for index, text in enumerate(ids)}
    return Joined(
        ids=tuple(";".join(group) for group in ids.values()),
        texts=tuple(ids),
        index=np.array([number[text] for text in texts], dtype=np.int32),
    )

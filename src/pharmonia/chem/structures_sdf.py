"""Structures in SDF: records of a stream of lines, and their SMILES."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rdkit import Chem, rdBase

from pharmonia.chem.standardise_qsar_settings import Refusal

MAX_RECORD_LENGTH = 2**20  # characters; longer records are refused without being held in memory
_POLYMERS = frozenset({"SRU", "MON", "MER", "COP", "CRO", "MOD", "GRA", "MIX", "FOR", "ANY"})
_MIXTURES = frozenset({"MIX", "FOR"})
_END_OF_RECORD, _END_OF_STRUCTURE = "$$$$", "M  END"


@dataclass(frozen=True, slots=True, kw_only=True)
class SdfRecord:
    """One record of an SDF as it stands.

    Args:
        title: Its first line, without white space around.
        block: The structure's lines, with what ends them; empty for a record that is too long.
        fields: Values of its data fields by name.
    """

    title: str
    block: str
    fields: dict[str, str]


def sdf_records(lines: Iterable[str]) -> Iterator[SdfRecord]:
    """The records of an SDF, one at a time, whatever they hold; a last one may lack its end.

    Args:
        lines: Of the file, with or without what ends them.
    """
    held: list[str] = []
    length = 0
    for line in lines:
        text = line.rstrip("\r\n")
        if text.rstrip() == _END_OF_RECORD:
            yield _record(held, length)
            held, length = [], 0
            continue
        length += len(text)
        if length <= MAX_RECORD_LENGTH or not held:
            held.append(text[:MAX_RECORD_LENGTH])
    if any(line.strip() for line in held):
        yield _record(held, length)


def sdf_smiles(record: SdfRecord) -> str | Refusal:
    """RDKit's SMILES of a record's structure, or why there is none.

    A polymer or formulation drawn with brackets is refused: its SMILES would be that of one unit.
    """
    if not record.block:
        return Refusal.UNREADABLE
    with rdBase.BlockLogs():
        try:
            parsed = Chem.MolFromMolBlock(record.block)
            if parsed is None:
                return Refusal.UNREADABLE
            kinds = {group.GetProp("TYPE") for group in Chem.GetMolSubstanceGroups(parsed) if group.HasProp("TYPE")}
            if kinds & _MIXTURES:
                return Refusal.MIXTURE
            if kinds & _POLYMERS:
                return Refusal.POLYMER
            return str(Chem.MolToSmiles(parsed))
        except (RuntimeError, ValueError):  # what RDKit raises from C++
            return Refusal.UNREADABLE


def _record(lines: list[str], length: int) -> SdfRecord:
    title = lines[0].strip() if lines else ""
    stop = next((number + 1 for number, line in enumerate(lines) if line.rstrip() == _END_OF_STRUCTURE), len(lines))
    block = "" if length > MAX_RECORD_LENGTH else "".join(f"{line}\n" for line in lines[:stop])
    return SdfRecord(title=title, block=block, fields=_fields(lines[stop:]))


def _fields(lines: list[str]) -> dict[str, str]:
    """Data items: a line `> <NAME>`, then lines of text up to an empty one."""
    found: dict[str, str] = {}
    name = None
    for line in lines:
        if line.startswith(">") and "<" in line:
            name = line[line.index("<") + 1 : line.rindex(">")] if line.rindex(">") > line.index("<") else None
        elif name is not None and line.strip():
            found[name] = f"{found[name]}\n{line}" if name in found else line
        else:
            name = None
    return found

"""Fields of a file's columns to numbers and codes, reading each distinct field once."""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import CompoundError, ProteinError
from pharmonia.data.units import Conversion

Codes = npt.NDArray[np.int64]  # 0 and up: a thing; below 0: the problem of that code

MAX_SHOWN = 200  # characters of an offending field that a rejects file repeats


class Reason(StrEnum):
    """Why a row is rejected."""

    FIELD_COUNT = "wrong-field-count"
    MISSING = "missing-field"
    SMILES = "invalid-smiles"
    SEQUENCE = "invalid-sequence"
    NUMBER = "not-a-number"
    INFINITE = "not-finite"
    NOT_POSITIVE = "not-positive"
    DISAGREE = "replicates-disagree"


class Problems:
    """The distinct problems met so far; each has a code below 0."""

    def __init__(self) -> None:
        self._codes: dict[tuple[Reason, str], int] = {}

    def code(self, reason: Reason, text: str) -> int:
        """The code of a problem."""
        return self._codes.setdefault((reason, text), -1 - len(self._codes))

    def describe(self, codes: Codes) -> tuple[pa.Array, pa.Array]:
        """Per code its reason and its text, as two string arrays."""
        indices = pa.array(-1 - codes)
        reasons = pa.array([reason.value for reason, _ in self._codes], type=pa.string())
        texts = pa.array([text for _, text in self._codes], type=pa.string())
        return reasons.take(indices), texts.take(indices)


class UniqueTexts:
    """The distinct normal forms in a column, numbered in order of first appearance."""

    def __init__(self, what: str, normal: Callable[[str], str], reason: Reason, problems: Problems) -> None:
        self._normal, self._reason, self._problems = normal, reason, problems
        self._missing = problems.code(Reason.MISSING, f"the {what} is missing")
        self._code_of_field: dict[bytes, int] = {}
        self._index: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        """The normal forms, by number."""
        return list(self._index)

    @property
    def n_listed(self) -> int:
        """Distinct fields that have a normal form."""
        return sum(code >= 0 for code in self._code_of_field.values())

    def codes(self, column: pa.Array) -> Codes:
        """(n_rows,) int64: the number of each field's normal form, or the code of its problem."""
        fields, index = distinct_fields(column)
        table = np.array([*(self._code(field) for field in fields), self._missing], dtype=np.int64)
        return table[index]

    def _code(self, field: bytes) -> int:
        field = field.strip()
        if not field:
            return self._missing
        code = self._code_of_field.get(field)
        if code is None:
            code = self._code_of_field[field] = self._read(field)
        return code

    def _read(self, field: bytes) -> int:
        try:
            normal = self._normal(field.decode())
        except UnicodeDecodeError:
            return self._problems.code(self._reason, "the field is not UTF-8 text")
        except (CompoundError, ProteinError) as error:
            return self._problems.code(self._reason, str(error))
        return self._index.setdefault(normal, len(self._index))


def read_values(column: pa.Array, conversion: Conversion, problems: Problems) -> tuple[Vector, Codes]:
    """Converted values, and per row 0 or the code of its problem.

    Args:
        column: Numbers, or text that may hold numbers.
        conversion: What to do with each.
        problems: Where to note problems.

    Returns:
        (n_rows,) float64, meaningless where there is a problem; (n_rows,) int64.
    """
    values, codes = _numbers(column, problems)
    codes[(codes == 0) & ~np.isfinite(values)] = problems.code(Reason.INFINITE, "the value is not finite")
    converted = conversion.apply(values)
    no_log = problems.code(Reason.NOT_POSITIVE, "the value is not over 0, so it has no logarithm")
    codes[(codes == 0) & np.isnan(converted)] = no_log
    too_large = np.abs(converted) > np.finfo(np.float32).max
    codes[(codes == 0) & too_large] = problems.code(Reason.INFINITE, "the value is too large for 32 bits")
    return converted, codes


def distinct_fields(column: pa.Array) -> tuple[list[bytes], Codes]:
    """The distinct fields of a column, and per row the index of its field; the next index where missing."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    fields: list[bytes] = encoded.dictionary.cast(pa.large_binary()).to_pylist()
    index: Codes = encoded.indices.cast(pa.int64()).fill_null(len(fields)).to_numpy(zero_copy_only=False)
    return fields, index


def shown(column: pa.Array) -> pa.Array:
    """The fields of a column as text for people, cut at 200 characters; empty where missing."""
    if not _is_text(column.type):
        column = column.cast(pa.string())
    fields, index = distinct_fields(column)
    texts = [*(field[: 4 * MAX_SHOWN].decode(errors="replace")[:MAX_SHOWN] for field in fields), ""]
    return pa.array(texts, type=pa.string()).take(pa.array(index))


def _numbers(column: pa.Array, problems: Problems) -> tuple[Vector, Codes]:
    missing = problems.code(Reason.MISSING, "the value is missing")
    numbers = _cast(column)
    if numbers is not None:
        absent = numbers.is_null().to_numpy(zero_copy_only=False)
        return numbers.to_numpy(zero_copy_only=False).astype(np.float64), np.where(absent, missing, 0)
    fields, index = distinct_fields(column)
    wrong = problems.code(Reason.NUMBER, "the value is not a number")
    parsed = [_number(field) for field in fields]
    values = np.array([*(0.0 if number is None else number for number in parsed), 0.0])
    empty = [not field.strip() for field in fields]
    bad = [wrong if number is None else 0 for number in parsed]
    bad = [wrong if number is None else 0 for number in parsed]
    codes = [missing if blank else code for blank, code in zip(empty, bad, strict=True)]
    return values[index], np.array([*codes, missing], dtype=np.int64)[index]


def _cast(column: pa.Array) -> pa.Array | None:
    """The column as floats, or None if a field of it is no number."""
    if not _is_text(column.type):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_dictionary(column.type):
        return None
    try:
        return column.cast(pa.large_string(), safe=False).cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _number(field: bytes) -> float | None:
    if b"_" in field:  # Python reads 1_000 as a number; no file of measurements means that
        return None
    try:
        return float(field)
    except ValueError:
        return None


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    inner = kind.value_type if types.is_dictionary(kind) else kind
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(check(inner) for check in checks)

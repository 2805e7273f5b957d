"""A small Python file of one's own, known by its bytes: what a researcher adds without editing Pharmonia."""

import ast
import hashlib
import traceback
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pharmonia.base.errors import DataFileError, OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCode:
    """A Python file; workers get its text, so that no node needs the file, and run ids its digest.

    Nothing of it runs until one of its functions is called.

    Args:
        file: Its name, for people.
        source: Its text.

    Raises:
        DataFileError: It is no Python; the message names the line.
    """

    file: str
    source: str = field(repr=False)

    def __post_init__(self) -> None:
        _functions(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, 64 hexadecimal digits."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def names(self, kind: str) -> tuple[str, ...]:
        """What follows `kind_` in the names of its functions, as text has it: `by-vendor` of `scenario_by_vendor`."""
        found = (name.removeprefix(f"{kind}_") for name in _functions(self) if name.startswith(f"{kind}_"))
        return tuple(name.replace("_", "-") for name in found)

    def call(self, kind: str, name: str, *arguments: object) -> Any:
        """What the function of this kind and name returns.

        Raises:
            OptionError: It failed; the message names the line of the file.
        """
        function = f"{kind}_{name.replace('-', '_')}"
        try:
            return _space(self)[function](*arguments)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise OptionError(f"{self.file}{_place(self.file, error)}: {function} failed with {said}") from error


@lru_cache(maxsize=32)
def _functions(code: OwnCode) -> tuple[str, ...]:
    """Names of the functions that stand at the file's left edge; runs nothing."""
    try:
        tree = ast.parse(code.source, code.file)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}:" if isinstance(error, SyntaxError) else ""
        raise DataFileError(f"{code.file}:{line} no Python: {error.args[0]}") from error
    return tuple(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@lru_cache(maxsize=32)
def _space(code: OwnCode) -> dict[str, Any]:
    """What the file defines, run once in each process."""
    space: dict[str, Any] = {"__name__": code.file.removesuffix(".py"), "__file__": code.file}
    exec(compile(code.source, code.file, "exec"), space)  # noqa: S102 - who names the file asks to run it
    return space


def _place(file: str, error: Exception) -> str:
    """The line of the file that failed last."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", line {lines[-1]}" if lines else ""

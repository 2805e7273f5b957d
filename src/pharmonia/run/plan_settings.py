"""The settings of a plan, taken one by one, so that none is misread and none is overlooked."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from pharmonia.base.errors import OptionError, UnknownNameError
from pharmonia.governance.plan import RunPlan, Scalar, Setting

NameT = TypeVar("NameT", bound=StrEnum)


def listed(values: Mapping[str, Scalar]) -> tuple[Setting, ...]:
    """Settings as a plan holds them, sorted by name.

    Raises:
        TermsError: A name or value that no plan takes.
    """
    return tuple(Setting(name=name, value=values[name]) for name in sorted(values))


def named(plan: RunPlan, what: str, text: str, names: type[NameT]) -> NameT:
    """The member of that name.

    Raises:
        UnknownNameError: There is none; names the plan.
    """
    if text not in set(names):
        raise UnknownNameError(f"{plan.label}: the {what} is one of {', '.join(names)}; got {text!r}")
    return names(text)


class PlanSettings:
    """Settings taken one by one; `done` refuses what nobody took."""

    def __init__(self, label: str, settings: Sequence[Setting]) -> None:
        self._label = label
        self._left = {setting.name: setting.value for setting in settings}

    def has(self, name: str) -> bool:
        """Whether there is one of that name that nobody took."""
        return name in self._left

    def _take(self, name: str) -> Scalar:
        if name not in self._left:
            raise OptionError(f"{self._label} lacks the setting {name}; have a version of it approved that has it")
        return self._left.pop(name)

    def _wrong(self, name: str, expected: str, value: Scalar) -> OptionError:
        return OptionError(f"{self._label}: the setting {name} must be {expected}, got {value!r}")

    def text(self, name: str) -> str:
        """A setting that is a word."""
        value = self._take(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a word", value)
        return value

    def integer(self, name: str) -> int:
        """A setting that is a whole number."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "a whole number", value)
        return value

    def number(self, name: str) -> float:
        """A setting that is a number."""
        value = self._take(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number", value)
        return float(value)

    def done(self, known: frozenset[str]) -> None:
        """Refuses settings that nobody took, but for those that say nothing about training."""
        strange = sorted(set(self._left) - known)
        if strange:
            raise OptionError(
                f"{self._label}: the setting {strange[0]} is not known to this version of Pharmonia; install the one "
                f"that the plan was written for"
            )

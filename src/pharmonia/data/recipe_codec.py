"""Settings to plain values and back, strictly: every field named, typed and known."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from typing import TypeVar

from pharmonia.base.canonical import Json
from pharmonia.base.errors import OptionError
from pharmonia.data.assays import AssayType
from pharmonia.data.catalogue import unknown_name
from pharmonia.data.recipe_profile import PrepareProfile

SettingsT = TypeVar("SettingsT")
_INFINITE = {math.inf: "inf", -math.inf: "-inf"}


def plain(value: object) -> Json:
    """A setting, or a record of settings, as JSON; infinities as text.

    Raises:
        OptionError: Something that is no setting.
    """
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float) and math.isinf(value):
        return _INFINITE[value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    raise OptionError(f"{value!r} is no setting")


def profile_from(document: Mapping[str, object]) -> PrepareProfile:
    """A profile: the default one with what the document changes, as TOML or JSON writes it.

    Raises:
        OptionError: An unknown name, or a value of another type or out of range; names the setting.
    """
    rest = {name: value for name, value in document.items() if name != "rules"}
    profile = changed(PrepareProfile(), rest, "profile")
    rules = dict(profile.rules)
    for name, changes in _table(document.get("rules", {}), "rules").items():
        kinds = [kind.value for kind in AssayType]
        if name not in kinds:
            raise unknown_name("type of assay", name, kinds)
        rules[AssayType(name)] = changed(rules[AssayType(name)], _table(changes, f"rules.{name}"), f"rules.{name}")
    return replace(profile, rules=rules)


def changed(settings: SettingsT, changes: Mapping[str, object], where: str) -> SettingsT:
    """The settings with these changes, each of the type that the setting has.

    Raises:
        OptionError: As `profile_from`.
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        raise OptionError(f"{where} holds no settings")
    known = {one.name: getattr(settings, one.name) for one in fields(settings) if one.name != "rules"}
    new: dict[str, object] = {}
    for name, value in changes.items():
        if name not in known:
            raise unknown_name(f"setting of {where}", name, known)
        new[name] = _like(known[name], value, f"{where}.{name}")
    return replace(settings, **new)


def _like(old: object, value: object, where: str) -> object:
    """The value as the type of the old one."""
    if is_dataclass(old):
        return changed(old, _table(value, where), where)
    if isinstance(old, StrEnum):
        choices = [one.value for one in type(old)]
        if value not in choices:
            raise OptionError(f"{where} must be one of {', '.join(choices)}, got {value!r}")
        return type(old)(str(value))
    if isinstance(old, bool) or isinstance(value, bool):
        return _checked(value, isinstance(old, bool) and isinstance(value, bool), "true or false", where)
    if isinstance(old, int):
        return _checked(value, isinstance(value, int), "a whole number", where)
    if isinstance(old, float):
        number = {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value
        if not isinstance(number, int | float) or math.isnan(number):
            raise OptionError(f"{where} must be a number, got {value!r}")
        return float(number)
    if isinstance(old, tuple):
        items = value if isinstance(value, list | tuple) else []
        _checked(value, isinstance(value, list | tuple) and len(items) > 0, "a list of numbers", where)
        return tuple(_like(old[0], one, where) for one in items)
    raise OptionError(f"{where} cannot be changed")


def _checked(value: object, good: bool, wanted: str, where: str) -> object:
    if not good:
        raise OptionError(f"{where} must be {wanted}, got {value!r}")
    return value


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise OptionError(f"{where} must be a table of settings, got {value!r}")
    return value

"""YAML of trees of maps, lists and scalars, laid out for people."""

import json
import re
from collections.abc import Mapping, Sequence

from pharmonia.base.canonical import Json

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})  # of YAML 1.1, which Helm reads


def yaml_text(tree: Mapping[str, Json]) -> str:
    """The document; every text is quoted, and maps keep their order."""
    return "".join(f"{line}\n" for line in _map(tree))


def _map(tree: Mapping[str, Json]) -> list[str]:
    lines: list[str] = []
    for key, value in tree.items():
        name = key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS else json.dumps(key)
        if isinstance(value, Mapping) and value:
            lines += [f"{name}:", *(f"  {line}" for line in _map(value))]
        elif _is_list(value) and value:
            lines += [f"{name}:", *(f"  {line}" for line in _list(value))]
        else:
            lines.append(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    return lines


def _list(items: Json) -> list[str]:
    lines: list[str] = []
    for item in items if isinstance(items, Sequence) and not isinstance(items, str) else ():
        inner = _map(item) if isinstance(item, Mapping) and item else [json.dumps(item, ensure_ascii=False)]
        lines += [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
    return lines


def _is_list(value: Json) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)

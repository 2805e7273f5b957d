"""No changed byte goes unseen: 10,000 mutations of each signed document are all detected, none with a strange error."""

import functools
import json
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from governance_cases import CODE, NOW, amended, approved, founded, key_of, plan_under
from pharmonia.base.errors import PharmoniaError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import decode_history, encode_history
from pharmonia.governance.documents import render
from pharmonia.governance.plan_check import check_plan
from pharmonia.governance.plan_codec import decode_plan, encode_plan
from pharmonia.governance.policy import (
    LocalPolicy,
    decode_policy,
    encode_policy,
    newer,
    open_policy,
    revoke_all,
    sign_policy,
)

N_MUTATIONS = 10_000
LATER = NOW + timedelta(days=31)
Tree = None | bool | int | float | str | list["Tree"] | dict[str, "Tree"]


class Undetected(Exception):  # noqa: N818
    """Somebody would have acted on a mutated document."""


@functools.cache
def agreement_files() -> tuple[bytes, ...]:
    """The agreement of two versions, and what an attacker has besides: its first version alone, and a rival second."""
    return tuple(encode_history(history) for history in (amended(), founded()))


@functools.cache
def plan_files() -> tuple[bytes, ...]:
    """A plan with just enough approvals, the same under the first version, and one not approved by us."""
    second, first = amended().current(LATER), founded().current(NOW)
    old_key = approved(plan_under(first), first, ["acme", "borealis"])
    return tuple(
        encode_plan(signed)
        for signed in (
            approved(plan_under(second), second, ["acme", "cygnus"]),
            old_key,
            approved(plan_under(second), second, ["cygnus"]),
        )
    )


@functools.cache
def policy_files() -> tuple[bytes, ...]:
    """The newest policy, the one before it, and another partner's."""
    agreement = amended().current(LATER)
    first, other = open_policy(agreement, "acme", NOW), open_policy(agreement, "cygnus", NOW)
    signed = [(revoke_all(first, NOW), "acme"), (first, "acme"), (other, "cygnus")]
    return tuple(encode_policy(sign_policy(policy, agreement, key_of(who), NOW)) for policy, who in signed)


@functools.cache
def in_force() -> Agreement:
    return amended().current(LATER)


@functools.cache
def our_policy() -> LocalPolicy:
    return open_policy(in_force(), "acme", NOW)


def use_agreement(content: bytes) -> None:
    history = decode_history(content, "agreement.json")
    history.require_extends(amended())
    history.current(LATER)
    raise Undetected


def use_plan(content: bytes) -> None:
    check_plan(decode_plan(content, "plan.json"), in_force(), our_policy(), CODE, LATER).require()
    raise Undetected


def use_policy(content: bytes) -> None:
    newer(revoke_all(our_policy(), NOW), decode_policy(content, "policy.json").verified(in_force(), LATER))
    raise Undetected


USES: dict[str, tuple[Callable[[], tuple[bytes, ...]], Callable[[bytes], None]]] = {
    "agreement": (agreement_files, use_agreement),
    "plan": (plan_files, use_plan),
    "policy": (policy_files, use_policy),
}


def bend_bytes(files: tuple[bytes, ...], rng: np.random.Generator) -> bytes:
    """Flip a bit, cut, delete, insert, swap, repeat a line, or splice in another file."""
    data = bytearray(files[0])
    place, other = (int(rng.integers(len(data))) for _ in range(2))
    span = int(rng.integers(1, 40))
    match int(rng.integers(8)):
        case 0 | 1:
            data[place] ^= 1 << int(rng.integers(8))
        case 2:
            del data[place:]
        case 3:
            del data[place : place + span]
        case 4:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        case 5:
            data[place], data[other] = data[other], data[place]
        case 6:
            lines = bytes(data).splitlines(keepends=True)
            first, second = (int(rng.integers(len(lines))) for _ in range(2))
            lines[first], lines[second] = lines[second], lines[first]
            data = bytearray(b"".join(lines))
        case _:
            foreign = files[int(rng.integers(1, len(files)))]
            data[place : place + 20 * span] = foreign[place : place + 20 * span]
    return bytes(data)


def places(tree: Tree, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a document."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, inner in items:
        found += places(inner, (*path, name))
    return found


def value_at(tree: Tree, path: tuple[str | int, ...]) -> Tree:
    for step in path:
        if isinstance(tree, dict):
            tree = tree.get(str(step))
        elif isinstance(tree, list):
            tree = tree[int(step)] if int(step) < len(tree) else None
    return tree


def bent(value: Tree, rng: np.random.Generator) -> Tree:
    """The value, a little changed."""
    match value:
        case str() if value:
            return value[:-1] + chr((ord(value[-1]) + 1) % 128)
        case list():
            return [value[1:] + value[:1], value * 2, value[:-1]][int(rng.integers(3))]  # reordered, repeated, cut
        case int() | float():
            return value + 1
    return "bent"


def bend_tree(trees: list[Tree], paths: list[tuple[str | int, ...]], rng: np.random.Generator) -> bytes:
    """Change, drop, move or replace a value, and write the document anew as its owner would."""
    tree: Tree = json.loads(json.dumps(trees[0]))
    path, elsewhere = (paths[int(rng.integers(len(paths)))] for _ in range(2))
    holder, last = value_at(tree, path[:-1]), path[-1]
    hostile: list[Tree] = [None, True, -1, 2**70, 1e300, "", "\ud800", [], {}]
    new = [
        bent(value_at(tree, path), rng),
        value_at(trees[0], elsewhere),  # swapped
        value_at(trees[int(rng.integers(1, len(trees)))], path),  # replayed
        hostile[int(rng.integers(len(hostile)))],
    ][int(rng.integers(4))]
    if isinstance(holder, list):
        holder[int(last)] = new
    elif isinstance(holder, dict) and rng.integers(8):
        holder[str(last)] = new
    elif isinstance(holder, dict):
        del holder[str(last)]
    try:
        return render(tree)
    except ValueError:  # half a character
        return json.dumps(tree, sort_keys=True, indent=2).encode()


@pytest.mark.parametrize("kind", list(USES))
def test_the_documents_themselves_are_accepted(kind: str) -> None:
    files, use = USES[kind]
    with pytest.raises(Undetected):
        use(files()[0])
    for stale in files()[1:]:
        with pytest.raises(PharmoniaError):
            use(stale)


@pytest.mark.parametrize("kind", list(USES))
def test_every_mutation_is_detected_and_none_crashes(kind: str) -> None:
    make, use = USES[kind]
    files, rng = make(), np.random.default_rng(6)
    trees: list[Tree] = [json.loads(file) for file in files]
    paths = places(trees[0])
    n_detected = 0
    while n_detected < N_MUTATIONS:
        mutated = bend_tree(trees, paths, rng) if n_detected % 4 == 0 else bend_bytes(files, rng)
        if mutated != files[0]:
            with pytest.raises(PharmoniaError):
                use(mutated)
            n_detected += 1


HOSTILE = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"format": "pharmonia/plan/v1", "format": "pharmonia/agreement/v1"}',
    b"9" * 5000,
    b'"\\ud800"',
    b'{"format": "\\ud800"}',
    b" " * (2**22 + 1),
    b'{"format": NaN}',
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("kind", list(USES))
def test_hostile_files_are_refused(kind: str, content: bytes) -> None:
    with pytest.raises(PharmoniaError):
        USES[kind][1](content)

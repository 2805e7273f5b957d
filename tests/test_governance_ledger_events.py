"""Only metadata enters a ledger: no structure, sequence, measured value or model parameter has a place there."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import EventError, LedgerError
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    Failed,
    FailureCode,
    FigureName,
    PlanApproved,
    PlanFiled,
    PlanRefused,
    PolicyChanged,
    RecordedFigure,
    Revocable,
    Revoked,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.events_codec import decode_event, encode_event
from pharmonia.governance.terms import RefusalCode, ResourceKind
from pharmonia.run.cache import EMBEDDED

D = "0123456789abcdef" * 4
KEYS = ("pk-0000000000000001", "pk-0000000000000002")
FIGURES = (
    RecordedFigure(name=FigureName.CI, ten_thousandths=8_412),
    RecordedFigure(name=FigureName.MSE, ten_thousandths=1_873),
)
EXAMPLES: dict[str, Event] = {
    "agreement": AgreementAdopted(version=1, agreement=D),
    "plan": PlanFiled(plan=D),
    "approval": PlanApproved(plan=D),
    "refusal": PlanRefused(plan=D, code=RefusalCode.CODE_DIFFERS),
    "round": RoundOpened(plan=D, session=D, round_index=3, header=D, contributors=KEYS),
    "aggregate": RoundAggregated(session=D, round_index=3, aggregate=D, contributors=KEYS[:1]),
    "evaluation": Evaluated(plan=D, model=D, results=D, figures=FIGURES),
    "export": Exporting(what=ResourceKind.SHARED_TRUNK, content=D, recipient=KEYS[0]),
    "policy": PolicyChanged(policy=D),
    "revocation": Revoked(what=Revocable.APPROVAL, subject=D),
    "failure": Failed(plan=D, code=FailureCode.ROUND_LOST),
}
GOLDEN = {
    "agreement": f'{{"agreement":"{D}","kind":"agreement","version":1}}',
    "plan": f'{{"kind":"plan","plan":"{D}"}}',
    "approval": f'{{"kind":"approval","plan":"{D}"}}',
    "refusal": f'{{"code":"code-differs","kind":"refusal","plan":"{D}"}}',
    "round": f'{{"contributors":["{KEYS[0]}","{KEYS[1]}"],"header":"{D}","kind":"round","plan":"{D}",'
    f'"round_index":3,"session":"{D}"}}',
    "aggregate": f'{{"aggregate":"{D}","contributors":["{KEYS[0]}"],"kind":"aggregate","round_index":3,'
    f'"session":"{D}"}}',
    "evaluation": '{"figures":[{"name":"ci","ten_thousandths":8412},{"name":"mse","ten_thousandths":1873}],'
    f'"kind":"evaluation","model":"{D}","plan":"{D}","results":"{D}"}}',
    "export": f'{{"content":"{D}","kind":"export","recipient":"{KEYS[0]}","what":"shared-trunk"}}',
    "policy": f'{{"kind":"policy","policy":"{D}"}}',
    "revocation": f'{{"kind":"revocation","subject":"{D}","what":"approval"}}',
    "failure": f'{{"code":"round-lost","kind":"failure","plan":"{D}"}}',
}


def secrets() -> list[str]:
    """Every structure and sequence of the embedded sample, and short ones that look like words."""
    columns = [("compounds", "smiles"), ("targets", "sequence")]
    tables = [(pq.read_table(EMBEDDED / f"kiba-sample.{part}.parquet"), name) for part, name in columns]
    return [text for table, name in tables for text in table[name].to_pylist()] + [
        *("C", "c1ccccc1", "CCO", "[Na+].[Cl-]", "MKV", "n1c[nH]c2c1ncn2", "O=C(O)c1ccccc1OC(C)=O", ""),
    ]


def parameters() -> list[Json]:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=64).astype(np.float32)
    texts: list[Json] = [vector.tobytes().hex(), json.dumps(vector.tolist()), "0.5", "11.1"]
    values: list[Json] = [0.5, 11.1, -1e-7, 1e300, 2**31, -(2**63), True, None, vector.tolist(), [1, 2, 3], {"w": 0.1}]
    return [*texts, *values, *[float(x) for x in vector[:8]]]


def leaves(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every field in an event, and of every item."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*path, index)
            yield from leaves(inner, (*path, index))


def replaced(event: Event, path: tuple[str | int, ...], value: Json) -> dict[str, object]:
    """The event's JSON with another value at one place."""
    copy = json.loads(canonical_json(encode_event(event)))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    whole: dict[str, object] = copy
    return whole


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_event_has_its_golden_bytes_and_comes_back(kind: str) -> None:
    line = canonical_json(encode_event(EXAMPLES[kind]))
    assert line.decode() == GOLDEN[kind]
    assert decode_event(json.loads(line)) == EXAMPLES[kind]


def test_the_examples_are_of_all_kinds() -> None:
    assert {type(event) for event in EXAMPLES.values()} == set(Event.__args__)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_no_structure_sequence_value_or_parameter_enters_any_field(kind: str) -> None:
    event = EXAMPLES[kind]
    places = list(leaves(json.loads(canonical_json(encode_event(event)))))
    assert len(places) >= 2
    for place in places:
        for secret in [*secrets(), *parameters()]:
            with pytest.raises(LedgerError) as caught:
                decode_event(replaced(event, place, secret))
            assert not isinstance(secret, str) or len(secret) < 8 or secret not in str(caught.value)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_constructors_refuse_what_the_decoder_refuses(kind: str) -> None:
    event = EXAMPLES[kind]
    assert is_dataclass(event)
    given = {field.name: getattr(event, field.name) for field in fields(event)}
    for name in given:
        for secret in ["CC(=O)Oc1ccccc1C(=O)O", "MKTAYIAKQR", 0.5, [0.1, 0.2], np.ones(3), None, b"\x00" * 32]:
            with pytest.raises(EventError):
                type(event)(**{**given, name: secret})


@given(text=st.text(max_size=200))
def test_a_field_of_text_holds_digests_key_ids_and_words_of_closed_lists_only(text: str) -> None:
    words = {*RefusalCode, *ResourceKind, *FailureCode, *Revocable, *FigureName, "public", "outside"}
    is_metadata = text in words or (len(text) in (19, 64) and set(text.removeprefix("pk-")) <= set("0123456789abcdef"))
    for kind, event in EXAMPLES.items():
        for place in leaves(json.loads(canonical_json(encode_event(event)))):
            try:
                decode_event(replaced(event, place, text))
            except LedgerError:
                continue
            assert is_metadata or (place == ("kind",) and text in EXAMPLES), (kind, place)


def test_a_vector_of_figures_does_not_enter() -> None:
    many = tuple(RecordedFigure(name=FigureName.MSE, ten_thousandths=value) for value in (5_912, 6_100, 11_101))
    with pytest.raises(EventError, match="each once"):
        Evaluated(plan=D, model=D, results=D, figures=many)
    with pytest.raises(EventError, match="whole number"):
        RecordedFigure(name=FigureName.MSE, ten_thousandths=10_000_001)
    with pytest.raises(EventError, match="sorted"):
        Evaluated(plan=D, model=D, results=D, figures=FIGURES[::-1])


def test_contributors_are_sorted_and_each_is_named_once() -> None:
    for wrong in (KEYS[::-1], (KEYS[0], KEYS[0]), (), tuple(f"pk-{i:016x}" for i in range(256))):
        with pytest.raises(EventError):
            RoundOpened(plan=D, session=D, round_index=0, header=D, contributors=wrong)


def test_superfluous_fields_do_not_come_back() -> None:
    body = {**encode_event(EXAMPLES["plan"]), "note": "CCO"}
    assert canonical_json(encode_event(decode_event(body))) != canonical_json(body)


def test_the_folder_of_the_sample_is_there() -> None:
    assert Path(EMBEDDED).is_dir()
    assert len(secrets()) > 500

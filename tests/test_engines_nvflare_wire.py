"""What crosses between coordinator and sites over NVFlare, byte by byte, and the job that it crosses in."""

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base import errors
from pharmonia.base.errors import (
    MessageError,
    OptionError,
    PharmoniaError,
    StoreError,
)
from pharmonia.engines.nvflare import wire
from pharmonia.engines.nvflare.engine import Limits
from pharmonia.engines.nvflare.job import Job, write_job
from pharmonia.engines.nvflare.wire import (
    FAULT_MAGIC,
    INTERNAL,
    PART_BYTES,
    Assembly,
    Reply,
    Request,
    decode_fault,
    encode_fault,
    held_length,
)

PARTNERS = ("Ada", "Ben", "Cleo")
ONE = Request(run="run", number=1, start=0, length=1, part=b"x")


@pytest.mark.parametrize("body", [b"", b"-1", b"1.5", b"9" * 20, "\u0665".encode()])
def test_a_held_reply_names_a_length(body: bytes) -> None:
    with pytest.raises(MessageError):
        held_length(body)


ALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PharmoniaError)]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_only_known_messages_leave(kind: type[PharmoniaError]) -> None:
    told = decode_fault(encode_fault(kind("CC(=O)Oc1ccccc1")), "Ada")
    assert type(told) is kind
    assert ("CC(=O)" in str(told)) == issubclass(kind, wire._SAFE)


def test_a_foreign_error_tells_nothing() -> None:
    class MessageError(Exception):  # of the same name as one of ours
        pass

    for error in (ValueError("CCO"), MessageError("CCO"), MemoryError("CCO"), KeyboardInterrupt("CCO")):
        assert str(decode_fault(encode_fault(error), "Ada")) == f"Ada: {INTERNAL}"


def test_a_reason_is_short_and_printable() -> None:
    told = decode_fault(encode_fault(MessageError("a\nb\x1b[2J" + "x" * 9999)), "Ada")
    assert str(told).isprintable()
    assert len(str(told)) < 600


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FAULT_MAGIC,
        FAULT_MAGIC + b"[]",
        FAULT_MAGIC + b'{"error":"SystemExit","reason":"x"}',
        FAULT_MAGIC + b'{"error":"MessageError"}',
        FAULT_MAGIC + b'{"error":["MessageError"],"reason":"x"}',
        FAULT_MAGIC + json.dumps({"error": "MessageError", "reason": "\x1b[2J"}).encode(),
        FAULT_MAGIC + json.dumps({"error": "MessageError", "reason": "x" * 9999}).encode(),
        FAULT_MAGIC + b"[" * 4000,
    ],
)
def test_a_fault_that_no_site_sends_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode_fault(body, "Ada")


@pytest.mark.parametrize(
    ("change", "payload"),
    [
        ({"run": 3}, b"x"),
        ({"number": -1}, b"x"),
        ({"number": "1"}, b"x"),
        ({"start": 2**63}, b"x"),
        ({}, "x"),
        ({}, b"xy"),
        ({}, {"part": b"x"}),
    ],
)
def test_a_request_with_foreign_fields_is_refused(change: dict[str, object], payload: object) -> None:
    with pytest.raises(MessageError):
        Request.from_message({**ONE.fields(), **change}, payload)


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        (None, b""),
        ({}, b""),
        ({"form": 1}, b""),
        ({"form": ["frame"]}, b""),
        ({"form": "pickle"}, b""),
        ({"form": "frame"}, 1),
    ],
)
def test_a_reply_with_foreign_fields_is_refused(fields: object, payload: object) -> None:
    with pytest.raises(MessageError):
        Reply.from_message(fields, payload)


@given(length=st.integers(0, 3 * PART_BYTES), order=st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_parts_in_any_order_make_the_frame(length: int, order: Random) -> None:
    frame = bytes(range(251)) * (length // 251 + 1)
    frame = frame[:length]
    starts = list(range(0, max(length, 1), PART_BYTES))
    order.shuffle(starts)
    arrived = Assembly(length)
    for start in starts:
        assert not arrived.is_whole
        arrived.add(start, memoryview(frame)[start : start + PART_BYTES])
    assert arrived.is_whole
    assert arrived.frame() == frame
    with pytest.raises(MessageError):
        arrived.add(starts[0], frame[:PART_BYTES])


@pytest.mark.parametrize(
    "limits", [{"timeout_s": 0.0}, {"hello_timeout_s": -1.0}, {"max_frame_bytes": 0}, {"room_bytes": 0}]
)
def test_limits_that_allow_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Limits(**limits)  # type: ignore[arg-type]


def test_a_job_holds_two_class_paths_and_a_run_and_no_code(tmp_path: Path) -> None:
    job = Job(
        run="r1", partners=PARTNERS, controller="ours.Controller", executor="ours.Executor", n_needed=len(PARTNERS)
    )
    root = write_job(job, tmp_path)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == [
        "app/config/config_fed_client.json",
        "app/config/config_fed_server.json",
        "meta.json",
    ]
    server = json.loads((root / "app/config/config_fed_server.json").read_text())
    assert server["workflows"] == [
        {"id": "run", "path": "ours.Controller", "args": {"run": "r1", "partners": ["Ada", "Ben", "Cleo"]}}
    ]


@pytest.mark.parametrize("partners", [(), ("Ada", "Ada")])
def test_a_job_of_nobody_or_of_somebody_twice_is_refused(partners: tuple[str, ...]) -> None:
    with pytest.raises(OptionError):
        Job(run="r", partners=partners, controller="a.B", executor="a.C", n_needed=1)


def test_store_errors_are_told_by_what_they_mean(tmp_path: Path) -> None:
    told = decode_fault(encode_fault(StoreError(f"kept no state in {tmp_path}")), "Ada")
    assert str(told).startswith("Ada: The store of runs does not hold what it should.")

"""The NVFlare adapter without NVFlare: desks at sites, the coordinator's engine, and what crosses between them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pharmonia.base.errors import (
    EngineError,
    HeaderError,
    MessageError,
    PharmoniaError,
    ReplayError,
    UnreachableError,
    UpdateError,
)
from pharmonia.engines.nvflare.desk import Desk, Question
from pharmonia.engines.nvflare.engine import N_AHEAD, Limits, NvflareEngine
from pharmonia.engines.nvflare.faultlog import FAULT_LOG
from pharmonia.engines.nvflare.wire import (
    PART_BYTES,
    Form,
    Reply,
    Request,
    Task,
    decode_fault,
    held_length,
)
from pharmonia.run.engine import Incoming, exchange, exchange_each

LIMIT = 3 * PART_BYTES
PARTNERS = ("Ada", "Ben", "Cleo")


class Listener:
    """A party that keeps what it was given and answers as it is told."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.frames: list[bytes] = []

    def handle(self, frame: bytes) -> bytes:
        self.frames.append(frame)
        return self.answer(frame)


class Wires:
    """Desks of all partners and the way to them, which a test may bend."""

    def __init__(self, folder: Path, answer: Callable[[bytes], bytes] = bytes) -> None:
        self.parties = {name: Listener(answer) for name in PARTNERS}
        self.desks = {
            name: Desk("run", "pharmonia", lambda party=party: party, folder / name, LIMIT)  # type: ignore[misc]
            for name, party in self.parties.items()
        }
        self.asked: list[tuple[str, Task, Request]] = []
        self.bend: Callable[[str, Task, Request], Reply | None] = lambda *_: None

    def ask(self, partner: str, task: Task, request: Request, timeout_s: float) -> Reply:
        self.asked.append((partner, task, request))
        bent = self.bend(partner, task, request)
        if bent is not None:
            return bent
        answer = self.desks[partner].answer(question(task, Request.from_message(request.fields(), request.part)))
        return Reply.from_message(answer.fields(), bytearray(answer.body))


def question(task: str, request: Request, peer: str = "pharmonia") -> Question:
    return Question(task=task, peer=peer, request=request)


def request(frame: bytes = b"", number: int = 1, run: str = "run") -> Request:
    return Request(run=run, number=number, start=0, length=len(frame), part=frame)


def engine(wires: Wires, **limits: float) -> NvflareEngine:
    return NvflareEngine(wires, "run", PARTNERS, Limits(**limits))  # type: ignore[arg-type]


def fault(reply: Reply) -> PharmoniaError:
    assert reply.form is Form.FAULT
    return decode_fault(bytes(reply.body), "Ada")


@pytest.mark.parametrize("length", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, LIMIT])
def test_a_frame_of_any_length_comes_and_goes_whole(tmp_path: Path, length: int) -> None:
    wires = Wires(tmp_path)
    carrier = engine(wires)
    carrier.hello(len(PARTNERS))
    frame = bytes(range(256)) * (length // 256 + 1)
    told = exchange(carrier, frame[:length])
    assert told.replies == (frame[:length],) * 3
    assert told.bytes_to_partners == told.bytes_from_partners == 3 * length
    assert max(len(asked.part) for _, _, asked in wires.asked) <= PART_BYTES


def test_replies_come_in_the_order_of_partners(tmp_path: Path) -> None:
    wires = Wires(tmp_path)
    for name, party in wires.parties.items():
        party.answer = lambda _, name=name: name.encode()  # type: ignore[misc]
    carrier = engine(wires)
    carrier.hello(len(PARTNERS))
    assert exchange(carrier, b"?").replies == (b"Ada", b"Ben", b"Cleo")
    assert carrier.ask("Ben", b"?") == b"Ben"
    assert len(wires.parties["Ada"].frames) == 1


def test_replies_are_handed_on_and_not_kept(tmp_path: Path) -> None:
    wires = Wires(tmp_path, lambda _: bytes(PART_BYTES + 1))
    carrier = engine(wires)
    carrier.hello(len(PARTNERS))
    seen: list[str] = []

    def take(partner: str, reply: Incoming) -> None:
        assert reply.length == len(reply.whole()) == PART_BYTES + 1
        seen.append(partner)

    told = exchange_each(carrier, b"?", take)
    assert sorted(seen) == sorted(PARTNERS)
    assert told.replies == ()
    assert told.bytes_from_partners == 3 * (PART_BYTES + 1)


def test_no_more_long_replies_are_held_whole_than_there_is_room_for(tmp_path: Path) -> None:
    wires = Wires(tmp_path, lambda _: bytes(2 * PART_BYTES))
    carrier = engine(wires, room_bytes=1)
    carrier.hello(len(PARTNERS))
    under_way: set[str] = set()

    def watch(partner: str, task: Task, asked: Request) -> Reply | None:
        if task is Task.FETCH:
            under_way.add(partner)
            assert under_way == {partner}
        return None

    def take(partner: str, reply: Incoming) -> None:
        assert reply.whole() == bytes(2 * PART_BYTES)
        under_way.discard(partner)

    wires.bend = watch
    exchange_each(carrier, b"?", take)


def test_long_replies_that_are_read_in_parts_arrive_side_by_side_and_no_faster_than_they_are_read(
    tmp_path: Path,
) -> None:
    answer = b"".join(bytes([number]) * PART_BYTES for number in range(3))
    wires = Wires(tmp_path, lambda _: answer)
    carrier = engine(wires, room_bytes=1)
    carrier.hello(len(PARTNERS))
    together = Barrier(len(PARTNERS))

    def read(partner: str, reply: Incoming) -> None:
        assert reply.at_hand is None
        read = []
        for part in reply.parts():
            together.wait(timeout=10.0)
            read.append(part)
            asked = [one for name, task, one in wires.asked if task is Task.FETCH and name == partner]
            assert len(asked) <= len(read) + N_AHEAD
        assert b"".join(read) == answer

    exchange_each(carrier, b"?", read)


def test_an_answer_is_not_fetched_on_when_nobody_reads_on(tmp_path: Path) -> None:
    wires = Wires(tmp_path, lambda _: bytes(3 * PART_BYTES))
    carrier = engine(wires)
    carrier.hello(len(PARTNERS))

    def refuse(partner: str, reply: Incoming) -> None:
        next(reply.parts())
        raise MessageError(f"{partner}: not what was asked")

    with pytest.raises(MessageError, match="Ada: not what was asked; Ben"):
        exchange_each(carrier, b"?", refuse)
    wires.bend = lambda *_: None
    assert carrier.ask("Ada", b"!") == bytes(3 * PART_BYTES)


def test_parts_that_overtake_each_other_make_the_frame(tmp_path: Path) -> None:
    party = Listener(lambda frame: frame)
    desk = Desk("run", "pharmonia", lambda: party, tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    frame = b"".join(bytes([number]) * PART_BYTES for number in range(3))[: 2 * PART_BYTES + 5]
    parts = [
        Request(run="run", number=1, start=start, length=len(frame), part=memoryview(frame)[start : start + PART_BYTES])
        for start in (2 * PART_BYTES, 0, PART_BYTES)
    ]
    replies = [desk.answer(question(Task.FRAME, part)) for part in parts]
    assert [reply.form for reply in replies] == [Form.MORE, Form.MORE, Form.HELD]
    assert party.frames == [frame]
    rest = [Request(run="run", number=1, start=start, length=0, part=b"") for start in (PART_BYTES, 2 * PART_BYTES, 0)]
    second, third, first = (desk.answer(question(Task.FETCH, part)).body for part in rest)
    assert b"".join((first, second, third)) == frame


def test_parts_that_come_at_once_are_put_into_one_frame_that_is_handled_once(tmp_path: Path) -> None:
    party = Listener(lambda _: b"done")
    desk = Desk("run", "pharmonia", lambda: party, tmp_path, 64 * PART_BYTES)
    desk.answer(question(Task.HELLO, request(number=0)))
    frame = b"".join(bytes([number]) * PART_BYTES for number in range(8))
    parts = [
        Request(run="run", number=1, start=start, length=len(frame), part=frame[start : start + PART_BYTES])
        for start in range(0, len(frame), PART_BYTES)
    ]
    with ThreadPoolExecutor(len(parts)) as pool:
        replies = list(pool.map(lambda part: desk.answer(question(Task.FRAME, part)), parts))
    assert sorted(reply.form for reply in replies) == [Form.FRAME, *[Form.MORE] * 7]
    assert party.frames == [frame]


def test_a_site_that_is_not_there_yet_is_greeted_again(tmp_path: Path) -> None:
    wires = Wires(tmp_path)
    missed: list[str] = []

    def early(partner: str, task: Task, asked: Request) -> Reply | None:
        if partner == "Ben" and len(missed) < 2:
            missed.append(partner)
            if len(missed) == 1:
                raise UnreachableError("Ben: lost")
            return Reply(form=Form.MORE, body=b"")
        return None

    wires.bend = early
    engine(wires, hello_timeout_s=5.0).hello(len(PARTNERS))
    assert len(missed) == 2


def test_a_site_that_never_comes_is_named(tmp_path: Path) -> None:
    wires = Wires(tmp_path)

    def away(partner: str, task: Task, asked: Request) -> Reply | None:
        if partner == "Ben":
            raise UnreachableError("Ben: lost")
        return None

    wires.bend = away
    with pytest.raises(UnreachableError, match="Ben: lost; gave up"):
        engine(wires, hello_timeout_s=0.01).hello(len(PARTNERS))


def test_a_party_that_cannot_be_opened_answers_every_hello_with_the_reason(tmp_path: Path) -> None:
    opened: list[int] = []

    def open_party() -> Listener:
        opened.append(1)
        raise HeaderError("the plan is under another agreement")

    desk = Desk("run", "pharmonia", open_party, tmp_path, LIMIT)
    for _ in range(2):
        error = fault(desk.answer(question(Task.HELLO, request(number=0))))
        assert isinstance(error, HeaderError)
        assert "Ada: the plan is under another agreement" in str(error)
    assert len(opened) == 1


def test_all_who_fail_are_named_and_the_first_decides_the_class(tmp_path: Path) -> None:
    wires = Wires(tmp_path)
    carrier = engine(wires)
    carrier.hello(len(PARTNERS))

    def replayed(_: bytes) -> bytes:
        raise ReplayError("round 3 was masked")

    def lost(_: bytes) -> bytes:
        raise ValueError("CCO")

    wires.parties["Ben"].answer, wires.parties["Cleo"].answer = replayed, lost
    with pytest.raises(ReplayError, match=r"Ben: round 3 was masked; Cleo: internal error"):
        exchange(carrier, b"?")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (question(Task.FRAME, request(b"x"), peer="Ben"), "only the coordinator"),
        (question(Task.FRAME, request(b"x"), peer=""), "only the coordinator"),
        (question(Task.FRAME, request(b"x", run="other")), "another run"),
        (question("train", request(b"x")), "no such task"),
        (question(Task.FRAME, Request(run="run", number=1, start=0, length=LIMIT + 1, part=b"x")), "at most"),
        (question(Task.FRAME, Request(run="run", number=1, start=4, length=9, part=b"x")), "are no part of"),
        (question(Task.FETCH, request(number=1)), "is held"),
    ],
)
def test_what_is_not_the_coordinator_s_next_frame_never_reaches_the_party(
    tmp_path: Path, asked: Question, reason: str
) -> None:
    party = Listener(bytes)
    desk = Desk("run", "pharmonia", lambda: party, tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    error = fault(desk.answer(asked))
    assert isinstance(error, MessageError)
    assert reason in str(error)
    assert not party.frames


def test_a_frame_before_the_hello_is_refused(tmp_path: Path) -> None:
    party = Listener(bytes)
    desk = Desk("run", "pharmonia", lambda: party, tmp_path, LIMIT)
    assert "begins with a hello" in str(fault(desk.answer(question(Task.FRAME, request(b"x")))))


@pytest.mark.parametrize("number", [0, 6, 7])
def test_a_frame_is_handled_once(tmp_path: Path, number: int) -> None:
    party = Listener(bytes)
    desk = Desk("run", "pharmonia", lambda: party, tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    desk.answer(question(Task.FRAME, request(b"x", number=7)))
    assert isinstance(fault(desk.answer(question(Task.FRAME, request(b"x", number=number)))), ReplayError)
    assert party.frames == [b"x"]


@pytest.mark.parametrize(
    ("start", "length", "n", "reason"),
    [
        (12, PART_BYTES + 9, 9, "are no part of"),
        (0, PART_BYTES + 9, PART_BYTES, "are no part of"),
        (PART_BYTES, PART_BYTES + 9, 8, "are no part of"),
        (2 * PART_BYTES, PART_BYTES + 9, 0, "are no part of"),
        (PART_BYTES, PART_BYTES + 10, 10, "belongs to another request"),
    ],
)
def test_what_is_no_part_of_the_frame_or_comes_twice_is_refused(
    tmp_path: Path, start: int, length: int, n: int, reason: str
) -> None:
    party = Listener(bytes)
    desk = Desk("run", "pharmonia", lambda: party, tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    first = Request(run="run", number=1, start=0, length=PART_BYTES + 9, part=bytes(PART_BYTES))
    assert desk.answer(question(Task.FRAME, first)).form is Form.MORE
    wrong = Request(run="run", number=1, start=start, length=length, part=bytes(n))
    assert reason in str(fault(desk.answer(question(Task.FRAME, wrong))))
    assert not party.frames


def test_a_held_reply_is_given_once(tmp_path: Path) -> None:
    desk = Desk("run", "pharmonia", lambda: Listener(lambda _: bytes(PART_BYTES + 1)), tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    assert held_length(bytes(desk.answer(question(Task.FRAME, request(b"x"))).body)) == PART_BYTES + 1
    rest = Request(run="run", number=1, start=PART_BYTES, length=0, part=b"")
    assert len(desk.answer(question(Task.FETCH, rest)).body) == 1
    assert "is held" in str(fault(desk.answer(question(Task.FETCH, rest))))


def test_a_frame_while_another_is_handled_is_refused_and_a_hello_waits(tmp_path: Path) -> None:
    answers: list[Reply] = []

    def nosy(_: bytes) -> bytes:
        answers.append(desk.answer(question(Task.FRAME, request(b"y", number=2))))
        answers.append(desk.answer(question(Task.HELLO, request(number=0))))
        return b""

    desk = Desk("run", "pharmonia", lambda: Listener(nosy), tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    desk.answer(question(Task.FRAME, request(b"x", number=1)))
    assert "still at work" in str(fault(answers[0]))
    assert answers[1].form is Form.MORE


def test_a_site_cannot_hold_out_more_than_the_coordinator_takes(tmp_path: Path) -> None:
    wires = Wires(tmp_path)
    carrier = engine(wires, max_frame_bytes=100)
    carrier.hello(len(PARTNERS))
    with pytest.raises(MessageError, match="at most 100 bytes"):
        exchange(carrier, bytes(101))
    assert not wires.parties["Ada"].frames
    for reply in (Reply(form=Form.HELD, body=b"101"), Reply(form=Form.FRAME, body=bytes(101))):
        wires.bend = lambda *_, reply=reply: reply
        with pytest.raises(MessageError, match="at most 100 bytes"):
            exchange(carrier, b"?")


def test_a_reply_of_a_form_that_answers_nothing_is_an_error(tmp_path: Path) -> None:
    wires = Wires(tmp_path)
    wires.bend = lambda *_: Reply(form=Form.MORE, body=b"")
    with pytest.raises(EngineError, match="expected a frame"):
        engine(wires).ask("Ada", b"?")


def test_a_full_disk_at_a_site_does_not_hide_the_fault(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    desk = Desk("run", "pharmonia", lambda: Listener(bytes), tmp_path / "home", LIMIT)
    assert isinstance(fault(desk.answer(question(Task.FRAME, request(b"x")))), MessageError)


def test_a_fault_stands_in_full_in_the_site_s_own_log(tmp_path: Path) -> None:
    def broken(_: bytes) -> bytes:
        raise UpdateError("element 5 is inf")

    desk = Desk("run", "pharmonia", lambda: Listener(broken), tmp_path, LIMIT)
    desk.answer(question(Task.HELLO, request(number=0)))
    assert "inf" not in str(fault(desk.answer(question(Task.FRAME, request(b"x")))))
    assert "element 5 is inf" in (tmp_path / FAULT_LOG).read_text(encoding="utf-8")

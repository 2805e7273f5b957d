"""The coordinator's side of the wire, without NVFlare: the `Engine` that a run sees."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from pharmonia.base.errors import EngineError, MessageError, OptionError, PharmoniaError, UnreachableError
from pharmonia.engines.nvflare.wire import PART_BYTES, Assembly, Form, Reply, Request, Task, decode_fault, held_length
from pharmonia.run.engine import Arrived, Exchange, OnReply

N_AHEAD = 2  # requests to one partner that are under way at once
_HELLO_WAIT_S = 0.1  # between two calls to a site that is not there yet
_HELLO_ANSWER_S = 1.0  # one to a job that has only begun is lost


class Link(Protocol):
    """What carries a request to one partner."""

    def ask(self, partner: str, task: Task, request: Request, timeout_s: float) -> Reply:
        """The partner's reply.

        Raises:
            UnreachableError: None came in time.
            EngineError: The engine failed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a coordinator allows; none of it changes a result.

    Args:
        timeout_s: For an answer to a frame, or a stretch of it in which nothing arrives.
        hello_timeout_s: For all partners to be there.
        max_frame_bytes: Longest frame that goes out or comes in.
        room_bytes: Of long answers that are held whole at once; one always may be. What is read in parts needs none.
    """

    timeout_s: float = 600.0
    hello_timeout_s: float = 60.0
    max_frame_bytes: int = 1 << 30
    room_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and self.hello_timeout_s > 0):
            raise OptionError(f"time-outs are above 0, got {self.timeout_s} and {self.hello_timeout_s}")
        if self.max_frame_bytes < 1 or self.room_bytes < 1:
            raise OptionError(f"expected room for frames, got {self.max_frame_bytes} and {self.room_bytes}")


class _Room:
    """Room for long answers that are held whole, in bytes; whoever finds none waits."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._n_taken = 0
        self._changed = threading.Condition()

    def take(self, length: int) -> None:
        """Wait for room for so many; one answer always has it, however long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._n_taken or self._n_taken + length <= self._n_bytes)
            self._n_taken += length

    def give_back(self, length: int) -> None:
        """What was taken."""
        with self._changed:
            self._n_taken -= length
            self._changed.notify_all()


class _Held:
    """An answer that waits at its site and is fetched while it is read."""

    at_hand = None

    def __init__(self, length: int, room: _Room, fetch: Callable[[range], Iterator[bytes]]) -> None:
        """Fetch: gives the parts that begin at these places."""
        self.length = length
        self._room = room
        self._fetch = fetch
        self._n_taken = 0

    def parts(self) -> Iterator[bytes]:
        """The answer from its beginning."""
        starts = range(0, self.length, PART_BYTES)
        for start, part in zip(starts, self._fetch(starts), strict=True):
            if len(part) != min(PART_BYTES, self.length - start):
                raise MessageError(f"{len(part)} bytes are not what follows byte {start} of {self.length}")
            yield part

    def whole(self) -> bytes:
        """All parts in one, for which there is room until `close`."""
        self._room.take(self.length)
        self._n_taken += self.length
        arrived = Assembly(self.length)
        for number, part in enumerate(self.parts()):
            arrived.add(number * PART_BYTES, part)
        return arrived.frame()

    def close(self) -> None:
        """Give the room back."""
        self._room.give_back(self._n_taken)


class NvflareEngine:
    """Carries frames to the partners of a job, all at the same time.

    Guarantees:
        who_is_lost_stays_lost: A partner that could not be reached once is not waited for again; the next job asks it.
    """

    def __init__(self, link: Link, run: str, partners: Sequence[str], limits: Limits) -> None:
        """Partners: names of their sites; replies come in this order."""
        self._link = link
        self._run = run
        self._partners = tuple(partners)
        self._limits = limits
        self._numbers = itertools.count(1)
        self._pool = ThreadPoolExecutor(max(len(self._partners), 1), thread_name_prefix="exchange")
        self._under_way = ThreadPoolExecutor(max(len(self._partners), 1) * N_AHEAD, thread_name_prefix="part")
        self._room = _Room(limits.room_bytes)
        self._lost: dict[str, str] = {}  # by partner, why

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        return self._partners

    def close(self) -> None:
        """Give the threads back."""
        for pool in (self._pool, self._under_way):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def present(self) -> tuple[str, ...]:
        """Partners that are not lost."""
        return tuple(partner for partner in self._partners if partner not in self._lost)

    def hello(self, n_needed: int) -> None:
        """Wait until the partners are there and have agreed to the run; who is not there in time is lost.

        Args:
            n_needed: Fewer will not do.

        Raises:
            UnreachableError: Fewer are there in time.
            PharmoniaError: What one of them refuses with.
        """
        self._together(self._partners, self._greet)
        if len(self.present) < n_needed:
            raise UnreachableError("; ".join(self._lost[name] for name in self._partners if name in self._lost))

    def _greet(self, partner: str) -> int:
        until = time.monotonic() + self._limits.hello_timeout_s
        request = Request(run=self._run, number=0, start=0, length=0, part=b"")
        while True:
            try:
                reply = self._link.ask(partner, Task.HELLO, request, _HELLO_ANSWER_S)
                if reply.form is not Form.MORE:
                    return len(self._opened(partner, reply))
                reason = f"{partner}: is not ready"
            except UnreachableError as error:
                reason = str(error)
            if time.monotonic() > until:
                raise UnreachableError(f"{reason}; gave up after {self._limits.hello_timeout_s:g} s")
            time.sleep(_HELLO_WAIT_S)

    def ask(self, partner: str, frame: bytes) -> bytes:
        """One partner's answer to a frame.

        Raises:
            UnreachableError: The partner did not answer in time.
            PharmoniaError: As `carry`.
        """
        if partner in self._lost:
            raise UnreachableError(self._lost[partner])
        answers: list[bytes] = []
        self._ask(partner, frame, next(self._numbers), lambda _, answer: answers.append(answer.whole()))
        return answers[0]

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        """Send each of these partners its frame, and hand their answers on as they arrive.

        Raises:
            MessageError: A frame over the limit, or an answer that no site gives.
            PharmoniaError: What failed at a partner, as the class that it has there, with the partner's name.
        """
        wall, cpu, number = time.perf_counter(), time.process_time(), next(self._numbers)
        asked = [partner for partner in frames if partner not in self._lost]
        n_received = self._together(asked, lambda partner: self._ask(partner, frames[partner], number, on_reply))
        return Exchange(
            replies=(),
            bytes_to_partners=sum(len(frames[partner]) for partner in asked),
            bytes_from_partners=n_received,
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
            lost={partner: self._lost[partner] for partner in frames if partner in self._lost},
        )

    def _together(self, partners: Iterable[str], work: Callable[[str], int]) -> int:
        """The sum of what the work gives for each partner that is not lost; raises what else failed first."""
        pending = {self._pool.submit(work, partner): partner for partner in partners}
        failed: dict[str, PharmoniaError] = {}
        total = 0
        for future in as_completed(pending):
            try:
                total += future.result()
            except UnreachableError as error:
                self._lost[pending[future]] = str(error)
            except PharmoniaError as error:
                failed[pending[future]] = error
        if failed:
            errors = [failed[partner] for partner in self._partners if partner in failed]
            raise type(errors[0])("; ".join(str(error) for error in errors)) from errors[0]
        return total

    def _ask(self, partner: str, frame: bytes, number: int, on_reply: OnReply) -> int:
        """Bytes of the answer, once it is handed on."""
        limits = self._limits
        if len(frame) > limits.max_frame_bytes:
            raise MessageError(f"a frame has at most {limits.max_frame_bytes} bytes, got {len(frame)}")
        reply = self._send(partner, frame, number)
        if reply.form is not Form.HELD:
            answer = self._opened(partner, reply)
            on_reply(partner, Arrived(answer))
            return len(answer)
        length = held_length(bytes(reply.body))
        if length > limits.max_frame_bytes:
            raise MessageError(
                f"{partner}: a frame has at most {limits.max_frame_bytes} bytes, its answer has {length}"
            )
        held = _Held(length, self._room, lambda starts: self._fetched(partner, number, starts))
        with closing(held):
            on_reply(partner, held)
        return length

    def _send(self, partner: str, frame: bytes, number: int) -> Reply:
        """The reply to a frame, which goes in parts."""
        view, length = memoryview(frame), len(frame)
        requests = (
            Request(run=self._run, number=number, start=start, length=length, part=view[start : start + PART_BYTES])
            for start in range(0, max(length, 1), PART_BYTES)
        )
        replies = self._replies(partner, Task.FRAME, requests)
        return next((reply for reply in replies if reply.form is not Form.MORE), Reply(form=Form.MORE, body=b""))

    def _fetched(self, partner: str, number: int, starts: range) -> Iterator[bytes]:
        """Parts of a reply that is held at the site."""
        requests = (Request(run=self._run, number=number, start=start, length=0, part=b"") for start in starts)
        for reply in self._replies(partner, Task.FETCH, requests):
            yield self._opened(partner, reply)

    def _replies(self, partner: str, task: Task, requests: Iterator[Request]) -> Iterator[Reply]:
        """The reply to each request in turn; `N_AHEAD` requests are under way while one is waited for."""

        def ask(request: Request) -> Reply:
            return self._link.ask(partner, task, request, self._limits.timeout_s)

        waiting = deque(self._under_way.submit(ask, request) for request in islice(requests, N_AHEAD))
        while waiting:
            reply = waiting.popleft().result()
            waiting.extend(self._under_way.submit(ask, request) for request in islice(requests, 1))
            yield reply

    def _opened(self, partner: str, reply: Reply) -> bytes:
        if reply.form is Form.FAULT:
            raise decode_fault(bytes(reply.body), partner)
        if reply.form is not Form.FRAME:
            raise EngineError(f"{partner}: expected a frame, got one that is {reply.form.value}")
        if len(reply.body) > self._limits.max_frame_bytes:
            raise MessageError(f"{partner}: a frame has at most {self._limits.max_frame_bytes} bytes")
        return bytes(reply.body)

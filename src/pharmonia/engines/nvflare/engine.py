"""The coordinator's side of the wire, without NVFlare: the `Engine` that a run sees."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Protocol

from pharmonia.base.errors import EngineError, MessageError, OptionError, PharmoniaError, UnreachableError
from pharmonia.engines.nvflare.wire import Form, Reply, Request, Task, decode_fault, held_length
from pharmonia.run.engine import Exchange

OnReply = Callable[[str, bytes], None]
_HELLO_WAIT_S = 0.1  # between two calls to a site that is not there yet
_HELLO_ANSWER_S = 30.0


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
        n_fetched_at_once: Long replies on their way at once; each takes up to twice its length in memory.
    """

    timeout_s: float = 600.0
    hello_timeout_s: float = 60.0
    max_frame_bytes: int = 1 << 30
    n_fetched_at_once: int = 2

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and self.hello_timeout_s > 0):
            raise OptionError(f"time-outs are above 0, got {self.timeout_s} and {self.hello_timeout_s}")
        if self.max_frame_bytes < 1 or self.n_fetched_at_once < 1:
            raise OptionError(
                f"expected room for a frame and one at a time, got {self.max_frame_bytes} and {self.n_fetched_at_once}"
            )


class NvflareEngine:
    """Carries frames to the partners of a job, all at the same time."""

    def __init__(self, link: Link, run: str, partners: Sequence[str], limits: Limits) -> None:
        """Partners: names of their sites; replies come in this order."""
        self._link = link
        self._run = run
        self._partners = tuple(partners)
        self._limits = limits
        self._number = 0
        self._pool = ThreadPoolExecutor(max(len(self._partners), 1), thread_name_prefix="exchange")
        self._room = threading.Semaphore(limits.n_fetched_at_once)

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        return self._partners

    def close(self) -> None:
        """Give the threads back."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def hello(self) -> None:
        """Wait until every partner is there and has agreed to the run.

        Raises:
            UnreachableError: One is not there in time.
            PharmoniaError: What one of them refuses with.
        """
        self._together(self._greet)

    def _greet(self, partner: str) -> int:
        until = time.monotonic() + self._limits.hello_timeout_s
        request = Request(run=self._run, number=0, frame=b"")
        while True:
            try:
                return len(self._opened(partner, self._link.ask(partner, Task.HELLO, request, _HELLO_ANSWER_S)))
            except UnreachableError:
                if time.monotonic() > until:
                    raise
                time.sleep(_HELLO_WAIT_S)

    def ask(self, partner: str, frame: bytes) -> bytes:
        """One partner's answer to a frame; raises as `exchange`."""
        answers: list[bytes] = []
        self._ask(partner, frame, self._next(), lambda _, answer: answers.append(answer))
        return answers[0]

    def exchange(self, frame: bytes) -> Exchange:
        """Send the frame to every partner and collect their answers.

        Raises:
            UnreachableError: A partner did not answer in time.
            MessageError: A frame over the limit, or an answer that no site gives.
            PharmoniaError: What failed at a partner, as the class that it has there, with the partner's name.
        """
        replies: dict[str, bytes] = {}
        exchange = self.exchange_each(frame, replies.__setitem__)
        return replace(exchange, replies=tuple(replies[partner] for partner in self._partners))

    def exchange_each(self, frame: bytes, on_reply: OnReply) -> Exchange:
        """As `exchange`, handing answers on as they arrive, one at a time, and keeping none.

        Args:
            frame: For every partner.
            on_reply: Told a partner's name and its answer, in any order.
        """
        wall, cpu, number = time.perf_counter(), time.process_time(), self._next()
        one_at_a_time = threading.Lock()

        def hand_on(partner: str, reply: bytes) -> None:
            with one_at_a_time:
                on_reply(partner, reply)

        n_received = self._together(lambda partner: self._ask(partner, frame, number, hand_on))
        return Exchange(
            replies=(),
            bytes_to_partners=len(frame) * len(self._partners),
            bytes_from_partners=n_received,
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
        )

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _together(self, work: Callable[[str], int]) -> int:
        """The sum of what the work gives for each partner; of their errors the first, when all are done."""
        pending = {self._pool.submit(work, partner): partner for partner in self._partners}
        failed: dict[str, PharmoniaError] = {}
        total = 0
        for future in as_completed(pending):
            try:
                total += future.result()
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
        request = Request(run=self._run, number=number, frame=frame)
        reply = self._link.ask(partner, Task.FRAME, request, limits.timeout_s)
        if reply.form is not Form.HELD:
            answer = self._opened(partner, reply)
            on_reply(partner, answer)
            return len(answer)
        length = held_length(reply.body)
        if length > limits.max_frame_bytes:
            raise MessageError(
                f"{partner}: a frame has at most {limits.max_frame_bytes} bytes, its answer has {length}"
            )
        with self._room:
            fetch = Request(run=self._run, number=number, frame=b"")
            on_reply(partner, self._opened(partner, self._link.ask(partner, Task.FETCH, fetch, limits.timeout_s)))
        return length

    def _opened(self, partner: str, reply: Reply) -> bytes:
        if reply.form is Form.FAULT:
            raise decode_fault(reply.body, partner)
        if reply.form is not Form.FRAME:
            raise EngineError(f"{partner}: expected a frame, got one that is {reply.form.value}")
        if len(reply.body) > self._limits.max_frame_bytes:
            raise MessageError(f"{partner}: a frame has at most {self._limits.max_frame_bytes} bytes")
        return reply.body

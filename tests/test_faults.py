"""Faults between processes, done for real to one run: the end is exact, the ledger tells, nothing is left.

What takes minutes is in `benchmarks/fault_matrix.py`; here a line is cut, and a partner's machine goes down.
"""

import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from faulty_trial import FaultyTrial, faulty_trial, relayed, undisturbed, until
from pharmonia.governance.events import FailureCode
from pharmonia.run.records import TrainedModel
from relay import Line, Relay
from run_cases import essence

N_PARTNERS, ROUNDS = 3, 24  # a round takes a third of a second: the run must not end before a machine is down
FAR, DOWN = "partner-02", "partner-03"
CUT_S = 12.0  # longer than NVFlare's server waits for its operator's question to a site (10 s)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyTrial]:
    """A finished run: one partner's line was cut in it and healed, then another's machine went down and came up."""
    with faulty_trial(tmp_path_factory.mktemp("faults"), n_partners=N_PARTNERS, rounds=ROUNDS) as made:
        with relayed(made, FAR) as relay:
            made.launch_all()
            made.await_rounds(1)
            made.await_mid_round()
            relay.cut()
            assert made.n_rounds() < ROUNDS - 6  # enough are left for what comes
            n_rounds = made.n_rounds()
            time.sleep(CUT_S)
            assert made.n_rounds() <= n_rounds + 1  # a round whose answers were under way may end, no other
            relay.heal()
            made.await_rounds(1)
            n_failures = len(made.failures())
            made.kill_all_of(DOWN)
            made.launch(DOWN)
            until("the ledger tells", lambda: len(made.failures()) > n_failures)
            made.await_finish()
            made.end()
        yield made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """The same run in this process, without a fault."""
    return undisturbed(tmp_path_factory.mktemp("plain"), N_PARTNERS, ROUNDS)


def test_a_run_cut_off_and_killed_ends_bit_for_bit_as_one_that_was_not(done: FaultyTrial, plain: TrainedModel) -> None:
    np.testing.assert_array_equal(done.model().parameters, plain.parameters)
    assert essence(done.model()) == essence(plain)


def test_a_cut_line_costs_no_session_and_a_lost_machine_costs_one(done: FaultyTrial) -> None:
    assert done.n_sessions() == 1 + len(done.failures())
    assert set(done.failures()) <= {FailureCode.PARTNER_LOST, FailureCode.INTERRUPTED, FailureCode.ENGINE_STOPPED}


def test_every_copy_tells_the_same_and_verifies(done: FaultyTrial) -> None:
    assert done.copies_are_one()
    for partner in done.trial.partners:
        done.verify(partner)


def test_no_job_is_submitted_beside_one_that_runs(done: FaultyTrial) -> None:
    log = done.log()
    assert log.count('"run.submitted"') == 1 + log.count('"run.failed"')


def test_no_process_is_left(done: FaultyTrial) -> None:
    assert done.processes_left() == []


# The relay itself


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that sends back what it gets, to one caller."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            caller, _ = server.accept()
            with caller:
                while got := caller.recv(1 << 16):
                    caller.sendall(got)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=5)


def asked(caller: socket.socket, content: bytes) -> bytes:
    caller.sendall(content)
    got = b""
    while len(got) < len(content):
        got += caller.recv(1 << 16)
    return got


def test_what_goes_through_a_relay_arrives_whole_after_its_delay(echo: int) -> None:
    content = np.random.default_rng(1).bytes(300_000)
    with Relay(("127.0.0.1", echo), line=Line(one_way_s=0.05, bytes_per_s=3e6)) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as caller:
            started = time.monotonic()
            assert asked(caller, content) == content
            took = time.monotonic() - started
        assert took >= 2 * 0.05 + 0.1  # twice the delay, and the bytes at their rate
        assert relay.bytes_up == relay.bytes_down == len(content)


def test_a_cut_relay_is_silent_and_gives_what_was_under_way_when_it_heals(echo: int) -> None:
    with Relay(("127.0.0.1", echo)) as relay, socket.create_connection(("127.0.0.1", relay.port)) as caller:
        assert asked(caller, b"one") == b"one"
        relay.cut()
        caller.sendall(b"two")
        caller.settimeout(0.3)
        with pytest.raises(TimeoutError):
            caller.recv(10)
        relay.heal()
        caller.settimeout(5)
        assert caller.recv(10) == b"two"

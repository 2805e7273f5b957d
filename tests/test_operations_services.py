"""Services without NVFlare: when they try again, what they log, what their health pages say, one to a folder."""

import io
import json
import os
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import EngineError, EventError, OptionError, ServiceBusyError, StoreError, TermsError
from pharmonia.engines.nvflare import controller, executor, supervisor
from pharmonia.engines.nvflare.federation_state import Phase, ServiceState, read_state, serving, write_state
from pharmonia.engines.nvflare.health import Health, HealthServer
from pharmonia.engines.nvflare.service_coordinator import Ending, Verdict, read_error
from pharmonia.engines.nvflare.supervisor import Endurance, Faults
from pharmonia.run.metrics_text import Figure, metrics_text
from pharmonia.run.servicelog import Field, Happening, Level, ServiceLog, plain_text

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)


# When to try again


def test_waits_double_to_a_limit() -> None:
    faults = Faults(Endurance(n_faults=9, first_wait_s=1.0, longest_wait_s=6.0))
    assert [faults.add(float(at)) for at in range(5)] == [1.0, 2.0, 4.0, 6.0, 6.0]


def test_a_service_gives_up_at_one_fault_too_many_and_names_where_to_look() -> None:
    faults = Faults(Endurance(n_faults=2, within_s=100.0))
    faults.add(0.0)
    faults.add(1.0)
    with pytest.raises(EngineError, match=r"3 faults within 100 s; look at failed\.txt"):
        faults.add(2.0)


def test_faults_of_long_ago_do_not_count() -> None:
    faults = Faults(Endurance(n_faults=1, within_s=10.0))
    assert [faults.add(at) for at in (0.0, 11.0, 22.0)] == [1.0, 1.0, 1.0]


def test_endurance_below_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="0 faults or more"):
        Endurance(n_faults=-1)


@pytest.mark.parametrize(
    ("status", "error", "verdict"),
    [
        ("FINISHED:COMPLETED", "", Verdict.DONE),
        ("FINISHED:EXECUTION_EXCEPTION", "", Verdict.AGAIN),
        ("FINISHED:ABORTED", "", Verdict.AGAIN),
        ("FINISHED:ABORTED", "EngineError", Verdict.AGAIN),
        ("FINISHED:LOST", "UnreachableError", Verdict.AGAIN),
        ("FINISHED:ABORTED", "RoundLostError", Verdict.AGAIN),
        ("FINISHED:ABORTED", "LedgerBusyError", Verdict.AGAIN),
        ("FINISHED:ABORTED", "RefusedError", Verdict.REFUSED),
        ("FINISHED:ABORTED", "AgreementError", Verdict.REFUSED),
        ("FINISHED:ABORTED", "LedgerError", Verdict.REFUSED),
        ("FINISHED:ABORTED", "KeyFileError", Verdict.REFUSED),
    ],
)
def test_a_fault_of_machines_is_tried_again_and_a_refusal_or_damage_is_not(
    status: str, error: str, verdict: Verdict
) -> None:
    assert Ending(status=status, error=error).verdict() is verdict


def test_the_error_of_a_run_is_read_by_its_class_alone(tmp_path: Path) -> None:
    assert read_error(tmp_path) == ""
    (tmp_path / "failed.txt").write_text("RefusedError: acme refuses: its policy\n")
    assert read_error(tmp_path) == "RefusedError"
    (tmp_path / "failed.txt").write_text("CCO: not one of ours\n")
    assert read_error(tmp_path) == "EngineError"


def test_a_process_is_told_its_folder_by_the_names_that_the_adapter_reads() -> None:
    assert controller.COORDINATOR_FOLDER == supervisor.COORDINATOR_FOLDER
    assert executor.SITE_FOLDER == supervisor.SITE_FOLDER


# What is logged


def log() -> tuple[io.StringIO, ServiceLog]:
    stream = io.StringIO()
    return stream, ServiceLog(stream, "acme", lambda: NOW)


def test_a_line_is_json_with_time_level_service_and_event() -> None:
    stream, service = log()
    service.say(Level.WARNING, Happening.PROCESS_ENDED, {Field.EXIT: -9, Field.WAIT_S: 1})
    assert stream.getvalue() == (
        '{"at":"2026-11-22T04:00:00Z","event":"process.ended","exit":-9,"level":"warning","service":"acme","wait_s":1}\n'
    )
    assert plain_text(stream.getvalue().encode()) == (
        "2026-11-22T04:00:00Z warning acme         process.ended     exit=-9 wait_s=1"
    )


SMILES = st.text(alphabet="CNOPSFclnos()=#[]@+-1234567890", min_size=1, max_size=80)
SEQUENCES = st.text(alphabet="ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=200)


@given(field=st.sampled_from(Field), text=st.one_of(SMILES, SEQUENCES))
def test_only_known_facts_are_logged(field: Field, text: str) -> None:
    stream, service = log()
    if field is Field.RUN and len(text) == 16 and set(text) <= set("0123456789abcdef"):
        return  # sixteen digits are a run's id, and no structure
    with pytest.raises(EventError):
        service.say(Level.INFO, Happening.RUN_FAILED, {field: text})
    assert stream.getvalue() == ""


@pytest.mark.parametrize("text", ["CCO and more", "c1ccccc1", "ACDEFGHIKLMNPQRSTVWYACDEF", "FINISHED: CCO", ""])
def test_a_status_is_two_words_of_nvflare_s(text: str) -> None:
    _, service = log()
    with pytest.raises(EventError):
        service.say(Level.INFO, Happening.RUN_FAILED, {Field.STATUS: text})


def test_a_number_where_a_word_belongs_and_a_huge_one_are_refused() -> None:
    _, service = log()
    for facts in ({Field.RUN: 7}, {Field.ROUND: 2**60}):
        with pytest.raises(EventError):
            service.say(Level.INFO, Happening.ROUND_FINISHED, facts)
    with pytest.raises(TermsError):
        ServiceLog(io.StringIO(), "Not an id", lambda: NOW)


@given(line=st.binary(max_size=200))
def test_whatever_lies_in_a_log_is_printed_as_one_line(line: bytes) -> None:
    assert "\n" not in plain_text(line)


# Health


def answer(port: int, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as response:
            return int(response.status), response.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()


def health() -> Health:
    return Health(service="acme", figures=(Figure(name="rounds", help="Done.", value=3),))


def test_health_pages_say_alive_ready_and_figures() -> None:
    with HealthServer(0, lambda: True, health) as server:
        assert answer(server.port, "/healthz") == (200, "ok\n")
        assert answer(server.port, "/readyz") == (200, "ready\n")
        code, text = answer(server.port, "/metrics")
        assert (code, 'pharmonia_rounds{service="acme"} 3.0' in text) == (200, True)
        assert answer(server.port, "/anything/else")[0] == 404


def test_a_service_that_cannot_take_part_is_alive_and_not_ready() -> None:
    with HealthServer(0, lambda: False, health) as server:
        assert answer(server.port, "/healthz")[0] == 200
        assert answer(server.port, "/readyz") == (503, "not ready\n")


def test_a_store_that_does_not_answer_keeps_no_probe_waiting() -> None:
    answers, asked = threading.Event(), threading.Event()

    def look() -> Health:
        asked.set()
        answers.wait(60)
        return health()

    with HealthServer(0, lambda: True, look) as server, ThreadPoolExecutor(1) as beside:
        try:
            metrics = beside.submit(answer, server.port, "/metrics")
            assert asked.wait(5)
            assert answer(server.port, "/healthz") == (200, "ok\n")
            assert answer(server.port, "/readyz") == (200, "ready\n")
            assert answer(server.port, "/favicon.ico")[0] == 404
            assert not metrics.done()
        finally:
            answers.set()
        assert metrics.result()[0] == 200


def test_health_is_told_on_this_machine_alone_and_a_taken_port_is_named() -> None:
    with HealthServer(0, lambda: True, health) as server:
        listening = [one for one in psutil.Process().net_connections("tcp") if one.laddr.port == server.port]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
        with pytest.raises(OptionError, match=f"127.0.0.1:{server.port}"):
            HealthServer(server.port, lambda: True, health)


def test_metrics_are_prometheus_text() -> None:
    text = metrics_text("acme", (Figure(name="up", help="Whether it is.", value=1),)).decode()
    assert text.splitlines() == [
        "# HELP pharmonia_up Whether it is.",
        "# TYPE pharmonia_up gauge",
        'pharmonia_up{service="acme"} 1.0',
    ]


# One service to a folder


def state(pid: int, started: float) -> ServiceState:
    return ServiceState(partner="acme", phase=Phase.CONNECTED, pid=pid, started=started, n_restarts=2)


def test_a_folder_is_served_once(tmp_path: Path) -> None:
    with serving(tmp_path), pytest.raises(ServiceBusyError, match="served by another process"), serving(tmp_path):
        pass
    with serving(tmp_path):
        pass


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    own = state(os.getpid(), psutil.Process().create_time())
    write_state(tmp_path, own)
    assert read_state(tmp_path) == own
    assert own.process() is not None


def test_another_process_with_the_number_of_a_dead_service_is_not_it() -> None:
    assert state(os.getpid(), 1.0).process() is None
    assert state(2**22 + 1, 1.0).process() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"phase": "asleep"}'])
def test_a_damaged_state_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "service.json").write_bytes(json.dumps(json.loads(content or b"0")).encode() if content else b"")
    with pytest.raises(StoreError, match="is damaged"):
        read_state(tmp_path)

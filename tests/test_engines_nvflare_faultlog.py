"""A site's log of faults: for its owner only, and never larger than it may be."""

import os
from pathlib import Path

import pytest

from pharmonia.base.errors import MessageError, UpdateError
from pharmonia.engines.nvflare.desk import Desk, Question
from pharmonia.engines.nvflare.faultlog import FAULT_LOG, MAX_ENTRY_BYTES, MAX_LOG_BYTES, OLD_FAULT_LOG, FaultLog
from pharmonia.engines.nvflare.wire import Form, Request, Task


class Idle:
    def handle(self, frame: bytes) -> bytes:
        raise UpdateError("element 5 is inf")


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_what_failed_is_for_the_owner_only_however_the_process_masks(tmp_path: Path) -> None:
    desk = Desk("run", "pharmonia", Idle, tmp_path / "new", 100)
    before = os.umask(0)
    try:
        for task, frame in ((Task.HELLO, b""), (Task.FRAME, b"x")):
            asked = Request(run="run", number=1, start=0, length=len(frame), part=frame)
            desk.answer(Question(task=task, peer="pharmonia", request=asked))
    finally:
        os.umask(before)
    assert "element 5 is inf" in (tmp_path / "new" / FAULT_LOG).read_text()
    assert modes(tmp_path / "new") == {0o600}


@pytest.mark.parametrize("size", [10, MAX_LOG_BYTES + 1])
def test_an_older_log_that_others_could_read_is_closed_to_them(tmp_path: Path, size: int) -> None:
    (tmp_path / FAULT_LOG).write_bytes(b"." * size)
    (tmp_path / FAULT_LOG).chmod(0o644)
    FaultLog(tmp_path).write("task", MessageError("damaged"))
    assert modes(tmp_path) == {0o600}


def test_a_coordinator_that_makes_much_fail_fills_no_disk_and_the_latest_is_kept(tmp_path: Path) -> None:
    log = FaultLog(tmp_path)
    for number in range(60):
        log.write(f"task {number}", MessageError("x" * 60_000))
    assert sorted(path.name for path in tmp_path.iterdir()) == [FAULT_LOG, OLD_FAULT_LOG]
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert max(sizes) <= MAX_LOG_BYTES
    assert sum(sizes) > MAX_LOG_BYTES
    assert "task 59\n" in (tmp_path / FAULT_LOG).read_text()
    assert modes(tmp_path) == {0o600}


def test_of_a_long_fault_beginning_and_end_are_kept(tmp_path: Path) -> None:
    FaultLog(tmp_path).write("task 1", MessageError("x" * 10_000_000 + "the end"))
    content = (tmp_path / FAULT_LOG).read_bytes()
    assert len(content) <= MAX_ENTRY_BYTES
    assert content.startswith(b"task 1\n")
    assert content.endswith(b"the end\n\n")


def test_a_text_that_is_no_unicode_keeps_no_answer_back(tmp_path: Path) -> None:
    desk = Desk("run", "pharmonia", Idle, tmp_path, 100)
    asked = Request(run="run\ud800", number=1, start=0, length=0, part=b"")
    assert desk.answer(Question(task="\ud800", peer="pharmonia", request=asked)).form is Form.FAULT
    FaultLog(tmp_path).write("task", MessageError("\ud800"))
    assert b"\\ud800" in (tmp_path / FAULT_LOG).read_bytes()

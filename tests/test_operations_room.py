"""What NVFlare writes without end at a service that runs for months: bounded, and what is new stays."""

import os
import uuid
from pathlib import Path

import pytest
from nvflare.fuel.sec import audit

from pharmonia.engines.nvflare import auditlog
from pharmonia.engines.nvflare.auditlog import TurningAuditor, turn_audit_logs_over
from pharmonia.engines.nvflare.supervisor import N_JOBS_KEPT, forget_jobs


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditlog, "MAX_BYTES", 2000)


def write(path: Path, first: int, last: int) -> None:
    auditor = TurningAuditor(str(path))
    for index in range(first, last):
        auditor.add_event(user="operator@acme.pharmonia", action="train.check_status", msg=f"<{index}>")
    auditor.close()


def events(path: Path) -> list[int]:
    return [int(line.rpartition("<")[2].rstrip(">")) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("_small")
def test_an_audit_log_is_bounded_and_its_newest_lines_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for first in range(0, 300, 30):  # started anew ten times
        write(path, first, first + 30)
    files = sorted(tmp_path.iterdir(), key=lambda one: one.name)
    assert [one.name for one in files] == ["audit.log", *(f"audit.log.{n}" for n in range(1, auditlog.N_KEPT + 1))]
    assert max(one.stat().st_size for one in files) <= auditlog.MAX_BYTES
    kept = [index for one in (*reversed(files[1:]), files[0]) for index in events(one)]
    assert kept == list(range(kept[0], 300))
    assert len(kept) > 40


@pytest.mark.usefixtures("_small")
def test_a_line_longer_than_a_log_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    auditor = TurningAuditor(str(path))
    for letter in "ab":
        auditor.add_event(user="operator", action="submit", msg=letter * 5000)
    auditor.close()
    assert path.read_text().count("b") > 4999 < (tmp_path / "audit.log.1").read_text().count("a")


def test_nvflare_opens_the_log_that_turns_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "Auditor", audit.Auditor)
    monkeypatch.setattr(audit.AuditService, "the_auditor", None)
    turn_audit_logs_over()
    made = audit.AuditService.initialize(str(tmp_path / "audit.log"))
    assert isinstance(made, TurningAuditor)
    audit.AuditService.close()


def test_the_newest_folders_of_jobs_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    jobs = [tmp_path / str(uuid.UUID(int=index)) for index in range(N_JOBS_KEPT + 4)]
    for at, job in enumerate(reversed(jobs)):
        job.mkdir()
        (job / "log.txt").write_text("")
        os.utime(job, (at, at))
    for name in ("startup", "local", "storage", "a-b-c-d-e"):
        (tmp_path / name).mkdir()
    (tmp_path / "audit.log").write_text("")
    forget_jobs(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {
        *(job.name for job in jobs[:N_JOBS_KEPT]),
        *("startup", "local", "storage", "a-b-c-d-e", "audit.log"),
    }

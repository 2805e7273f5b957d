"""docs/walkthrough.md: four organisations in four folders, every line run as written, and what it leaves behind."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pharmonia.base.errors import PharmoniaError
from pharmonia.cli.main import app
from pharmonia.evaluate.outcome import NO_AGREEMENT
from pharmonia.governance.events import Event, PlanApproved, PlanRefused, Revoked, RoundAggregated, RoundOpened
from pharmonia.governance.ledger import decode_entry
from pharmonia.governance.terms import RefusalCode
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.ledgerfile import ENTRIES

PAGE = (Path(__file__).parents[1] / "docs" / "walkthrough.md").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-c", "from pharmonia.cli.main import main; main()"]
COPIES = ("acme", "borealis", "cygnus")


def lines() -> list[tuple[str, int]]:
    """Each command with the exit code that the page says."""
    found: list[tuple[str, int]] = []
    for line in "".join(re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)).splitlines():
        if line.startswith("# exit code "):
            found[-1] = (found[-1][0], int(line.removeprefix("# exit code ")))
        else:
            found.append((line.removeprefix("$ "), 0))
    return found


class Walk:
    """Runs the page's lines in a folder, and remembers what each said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[tuple[str, str]] = []
        self.behind: subprocess.Popen[str] | None = None

    def step(self, line: str) -> int:
        if line == "wait":
            return self._wait()
        arguments = shlex.split(line.removesuffix("&"))
        if arguments[0] != "pharmonia":
            return subprocess.run(arguments, cwd=self.folder, check=False).returncode
        if line.endswith("&"):
            return self._begin(arguments[1:])
        result = CliRunner().invoke(app, arguments[1:])
        code = result.exception.exit_code if isinstance(result.exception, PharmoniaError) else result.exit_code
        self.said.append((line, f"{result.output}{result.exception or ''}"))
        return code

    def _begin(self, arguments: list[str]) -> int:
        """Start a run behind, and go on when its first round is on the ledger."""
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.behind = process
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if any(isinstance(event, RoundAggregated) for event in events(self.folder / "ledger" / "acme")):
                return 0
            time.sleep(0.02)
        pytest.fail(f"the run ended before its first round: {process.communicate()[0]}")

    def _wait(self) -> int:
        assert self.behind is not None
        output, _ = self.behind.communicate(timeout=240)
        self.said.append(("pharmonia compare", " ".join(output.split())))
        return self.behind.returncode

    def of(self, start: str) -> list[str]:
        return [said for line, said in self.said if line.startswith(start)]


def events(copy: Path) -> list[Event]:
    if not (copy / ENTRIES).exists():
        return []
    whole = (copy / ENTRIES).read_bytes().rpartition(b"\n")[0]
    return [event for line in whole.splitlines() for event in decode_entry(line).events]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """The whole page, run."""
    found = Walk(tmp_path_factory.mktemp("walk"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found.folder)
        for line, expected in lines():
            code = found.step(line)
            assert code == expected, (line, code, found.said[-1:])
    return found


def test_every_line_of_the_page_ends_as_it_says(walk: Walk) -> None:
    codes = {code for _, code in lines()}
    assert codes == {0, 2, 3, 42, 43, 44, 48}
    assert len(lines()) > 60
    assert all("VERIFIED" in said for said in walk.of("pharmonia verify"))


def test_a_refusal_names_document_reason_and_remedy(walk: Walk) -> None:
    changed, other, plain, revoked, _ = walk.of("pharmonia compare")
    assert "plan kinases, version 1" in changed
    assert all(f"{name} refuses" in changed for name in COPIES)
    assert "has rounds 2, this command 9" in other
    assert "--aggregation plain is refused" in plain
    assert "borealis refuses: policy of borealis, version 2" in revoked
    assert "the grant was revoked; ask borealis for a policy that grants it" in revoked
    assert "acme refuses" not in revoked


def test_the_ledger_tells_what_happened(walk: Walk) -> None:
    told = events(walk.folder / "ledger" / "acme")
    kinds = [type(event) for event in told]
    plan = read_plan(walk.folder / "plan.json").plan.digest
    codes = [event.code for event in told if isinstance(event, PlanRefused)]
    assert codes == [RefusalCode.PLAN_NOT_APPROVED] * 3 + [RefusalCode.GRANT_REVOKED]
    place = kinds.index(Revoked)
    assert RoundAggregated in kinds[:place]
    after = kinds[place + 2 :]
    assert after.index(PlanApproved) < after.index(RoundOpened)  # nothing goes on before it is approved anew
    opened = [event for event in told if isinstance(event, RoundOpened)]
    assert {event.plan for event in opened} == {plan}
    assert all(len(event.contributors) == 3 for event in opened)


def test_every_partner_has_the_same_ledger(walk: Walk) -> None:
    copies = {(walk.folder / "ledger" / name / ENTRIES).read_bytes() for name in COPIES}
    assert len(copies) == 1


def test_the_report_says_under_what_it_ran(walk: Walk) -> None:
    run = json.loads((walk.folder / "out" / "results.json").read_text(encoding="utf-8"))["run"]
    agreement = read_agreement(walk.folder / "agreement.json").versions[0].agreement.digest
    plan = read_plan(walk.folder / "plan.json").plan.digest
    assert (run["agreement"], run["plan"]) == (agreement, plan)
    for name in ("report.md", "report.html"):
        text = (walk.folder / "out" / name).read_text(encoding="utf-8")
        assert agreement in text
        assert plan in text
        assert run["ledger"] in text
        assert NO_AGREEMENT not in text.lower()

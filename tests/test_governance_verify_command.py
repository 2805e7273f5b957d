"""`pharmonia verify`: what it prints, its exit codes, and that it needs nothing but the small install."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from governance_cases import OWNERS, first_version, founded, key_of, plan_under, sign_all
from ledger_cases import PLAN, SESSION, Book, a_round, approved_book, whole_book
from pharmonia.cli.main import main
from pharmonia.governance.agreement_history import AgreementHistory, encode_history, propose
from pharmonia.governance.events import AgreementAdopted, Exporting, PlanApproved, PlanFiled
from pharmonia.governance.plan import SignedPlan, approve
from pharmonia.governance.plan_codec import encode_plan
from pharmonia.governance.terms import ResourceKind
from pharmonia.governance.verify_result import Check
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, open_ledger

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # the command looks at the clock
HEAVY = ("torch", "rdkit", "pyarrow", "sqlalchemy", "plotly", "nvflare", "ray")


def agreed(at: datetime = LONG_AGO) -> AgreementHistory:
    """The agreement of `founded`, signed at that time."""
    return sign_all(propose(None, first_version()), [key_of(partner) for partner in first_version().terms.ids], at)


def write(book: Book, folder: Path) -> tuple[Path, Path]:
    """A ledger's folder and an agreement's file."""
    ledger, agreement = folder / "ledger", folder / "agreement.json"
    with open_ledger(ledger, book.ledger) as file:
        file.append(book.entries)
        for signed in book.checkpoints:
            file.append_checkpoint(signed)
    agreement.write_bytes(encode_history(agreed()))
    return ledger, agreement


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(name="run")
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, in this process."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["pharmonia", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return run


def test_an_honest_ledger_is_verified_from_the_small_install(tmp_path: Path) -> None:
    ledger, agreement = write(whole_book(LONG_AGO), tmp_path)
    code = (
        "import sys, atexit; sys.argv[0] = 'pharmonia'\n"
        f"atexit.register(lambda: print('loaded', [h for h in {HEAVY} if h in sys.modules], file=sys.stderr))\n"
        "from pharmonia.cli.main import main; main()"
    )
    options = ["--agreement", str(agreement), "--checkpoint", str(ledger / CHECKPOINTS)]
    command = [sys.executable, "-c", code, "verify", str(ledger), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nVERIFIED\n")
    assert " 5. [held] order: agreement versions, plans, rounds and aggregates follow each other" in done.stdout
    assert done.stderr == "loaded []\n"


def test_machines_get_one_document_and_the_family_s_exit_code(tmp_path: Path, run: Run) -> None:
    book = approved_book(LONG_AGO)
    book.say("dynamo", *a_round(0, "acme"))
    book.check()
    ledger, agreement = write(book, tmp_path)
    done = run(ledger, "--agreement", agreement, "--json")
    assert done.code == 46
    tree = json.loads(done.out)
    assert (tree["schema"], tree["schema_version"], tree["verified"]) == ("pharmonia/verification", 1, False)
    assert [finding["where"] for finding in tree["findings"]] == ["entry 4", "entry 4"]
    assert "Error: 2 findings about approvals: 11. entry 4: 1 partners" in done.err


def test_a_model_is_known_by_its_bytes(tmp_path: Path, run: Run) -> None:
    model = tmp_path / "trunk.safetensors"
    model.write_bytes(b"weights")
    book = approved_book(LONG_AGO)
    digest = sha256(b"weights").hexdigest()
    book.say("dynamo", *a_round(0))
    book.say("acme", Exporting(what=ResourceKind.SHARED_TRUNK, content=digest, recipient="outside"))
    book.check()
    ledger, agreement = write(book, tmp_path)
    assert run(ledger, "--agreement", agreement, "--model", model).code == 0
    model.write_bytes(b"other weights")
    assert run(ledger, "--agreement", agreement, "--model", model).code == 48


def test_a_ledger_cut_short_is_found_by_what_a_partner_kept(tmp_path: Path, run: Run) -> None:
    book = whole_book(LONG_AGO)
    ledger, agreement = write(book, tmp_path)
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(book.checkpoint_lines()[-1])
    (ledger / ENTRIES).write_bytes(b"".join(book.lines()[:5]))
    (ledger / CHECKPOINTS).write_bytes(book.checkpoint_lines()[0])
    assert run(ledger, "--agreement", agreement).code == 0
    done = run(ledger, "--agreement", agreement, "--checkpoint", kept)
    assert done.code == 44
    assert "cut short" in done.out


def test_a_file_of_no_checkpoint_is_not_taken_for_one_that_was_checked(tmp_path: Path, run: Run) -> None:
    ledger, agreement = write(whole_book(LONG_AGO), tmp_path)
    empty = tmp_path / "kept.jsonl"
    empty.write_bytes(b"")
    done = run(ledger, "--agreement", agreement, "--checkpoint", ledger / CHECKPOINTS, "--checkpoint", empty)
    assert done.code == 2
    assert "holds no checkpoint" in done.err


def test_a_plan_that_is_not_what_was_signed_is_no_verdict_and_one_that_no_ledger_names_is_a_finding(
    tmp_path: Path, run: Run
) -> None:
    version = founded().versions[0].agreement
    plan = plan_under(version)
    signed = SignedPlan(plan=plan, signatures=())
    for owner in OWNERS:
        signed = approve(signed, version, key_of(owner), LONG_AGO)
    book = Book(at=LONG_AGO)
    book.say("dynamo", AgreementAdopted(version=1, agreement=version.digest), PlanFiled(plan=plan.digest))
    book.say("acme", PlanApproved(plan=plan.digest))
    book.check()
    ledger, agreement = write(book, tmp_path)
    path = tmp_path / "plan.json"
    edited = replace(plan, n_rounds=12)
    other = replace(edited, agreement="ab" * 32)
    for given, code, words in (
        (signed, 0, "12. [held] approvals"),
        (replace(signed, signatures=()), 0, "VERIFIED"),  # the ledger names it by its digest, with who approved it
        (replace(signed, plan=edited), 4, "is not over these bytes"),
        (SignedPlan(plan=edited, signatures=()), 46, f"the ledger never names the plan {edited.digest}"),
        (SignedPlan(plan=other, signatures=()), 4, "is under no version of the agreement given"),
    ):
        path.write_bytes(encode_plan(given))
        done = run(ledger, "--agreement", agreement, "--plan", path)
        assert done.code == code, done.err
        assert words in done.out + done.err


def test_an_agreement_signed_in_the_future_is_no_verdict(tmp_path: Path, run: Run) -> None:
    ledger, agreement = write(whole_book(LONG_AGO), tmp_path)
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    agreement.write_bytes(encode_history(agreed(ahead)))
    done = run(ledger, "--agreement", agreement)
    assert done.code == 3
    assert "set the clock that is wrong" in done.err


def test_a_damaged_agreement_or_a_missing_file_is_no_verdict(tmp_path: Path, run: Run) -> None:
    ledger, agreement = write(whole_book(LONG_AGO), tmp_path)
    assert run(tmp_path / "nowhere", "--agreement", agreement).code == 2
    assert run(ledger, "--agreement", tmp_path / "nowhere").code == 2
    assert run(ledger, "--agreement", agreement, "--model", tmp_path / "nowhere").code == 2
    assert run(ledger, "--agreement", agreement, "--report", agreement).code == 2
    agreement.write_bytes(agreement.read_bytes().replace(b"Aurora", b"Auroro", 1))
    assert run(ledger, "--agreement", agreement).code == 4


def test_a_line_longer_than_any_may_be_is_found_in_bounded_memory(tmp_path: Path, run: Run) -> None:
    book = whole_book(LONG_AGO)
    ledger, agreement = write(book, tmp_path)
    with (ledger / ENTRIES).open("ab") as file:
        file.write(b"[" * 5_000_000)
    done = run(ledger, "--agreement", agreement)
    assert done.code == 41
    assert "a line has no end" in done.out


def test_what_is_planned_but_never_run_verifies_too(tmp_path: Path, run: Run) -> None:
    book = approved_book(LONG_AGO)
    book.say("borealis", PlanFiled(plan=SESSION))
    book.check()
    assert PLAN != SESSION
    ledger, agreement = write(book, tmp_path)
    assert run(ledger, "--agreement", agreement).code == 0


def test_the_example_in_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "agreement.json").write_bytes(encode_history(agreed()))
    monkeypatch.chdir(tmp_path)
    exec(code, {"key": key_of("dynamo")})  # noqa: S102
    assert (tmp_path / "ledger" / ENTRIES).read_bytes().count(b"\n") == 1
    assert (tmp_path / "ledger" / CHECKPOINTS).read_bytes().count(b"\n") == 1


def test_the_docs_tell_every_check_and_exit_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    told = [(row[0].removeprefix("| "), row[1]) for row in rows]
    assert told == [(f"{check.number}", f"{check.family} ({check.family.error.exit_code})") for check in Check]

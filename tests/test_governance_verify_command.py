"""`pharmonia verify`: what it prints, its exit codes, and that it needs nothing but the small install."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from governance_cases import founded, key_of
from ledger_cases import PLAN, SESSION, Book, a_round, approved_book, whole_book
from pharmonia.cli.main import main
from pharmonia.governance.agreement_history import encode_history
from pharmonia.governance.events import Exporting, PlanFiled
from pharmonia.governance.terms import ResourceKind
from pharmonia.governance.verify_result import Check
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, open_ledger

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # the command looks at the clock
HEAVY = ("torch", "rdkit", "pyarrow", "sqlalchemy", "plotly", "nvflare", "ray")


def write(book: Book, folder: Path) -> tuple[Path, Path]:
    """A ledger's folder and an agreement's file."""
    ledger, agreement = folder / "ledger", folder / "agreement.json"
    with open_ledger(ledger, book.ledger) as file:
        file.append(book.entries)
        for signed in book.checkpoints:
            file.append_checkpoint(signed)
    agreement.write_bytes(encode_history(founded()))
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
    (tmp_path / "agreement.json").write_bytes(encode_history(founded()))
    monkeypatch.chdir(tmp_path)
    exec(code, {"key": key_of("dynamo")})  # noqa: S102
    assert (tmp_path / "ledger" / ENTRIES).read_bytes().count(b"\n") == 1
    assert (tmp_path / "ledger" / CHECKPOINTS).read_bytes().count(b"\n") == 1


def test_the_docs_tell_every_check_and_exit_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    told = [(row[0].removeprefix("| "), row[1]) for row in rows]
    assert told == [(f"{check.number}", f"{check.family} ({check.family.error.exit_code})") for check in Check]

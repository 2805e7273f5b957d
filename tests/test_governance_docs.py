"""docs/governance.md: its commands run as written, its table is the one that decides."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pharmonia.cli.main import app
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.permissions import TABLE, USES
from pharmonia.governance.terms import Action, ResourceKind

PAGE = (Path(__file__).parents[1] / "docs" / "governance.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines()]


def test_the_commands_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = ""
    for program, *arguments in commands():
        if program == "cp":
            shutil.copy(arguments[0], arguments[1])
            continue
        assert program == "pharmonia"
        result = CliRunner().invoke(app, arguments)
        assert result.exception is None, (arguments, result.exception)
        said = result.stdout
    assert '"n_accepted": 2' in said
    assert len(commands()) > 15


def test_the_rights_are_those_of_the_table() -> None:
    columns = (USES, {Action.DOWNLOAD}, {Action.EXPORT}, {Action.PUBLISH}, {Action.AUDIT})
    for kind in ResourceKind:
        cells = [{TABLE[kind, action].value for action in actions} for actions in columns]
        assert all(len(cell) == 1 for cell in cells), "process, train on and evaluate on stand in one column"
        assert f"| {kind.value.replace('-', ' ')} | {' | '.join(''.join(cell) for cell in cells)} |" in PAGE


def test_a_fingerprint_is_eight_groups_of_five_digits() -> None:
    assert "eight groups\nof five digits" in PAGE
    assert re.fullmatch(r"(\d{5} ){7}\d{5}", PrivateKey.generate().public.fingerprint)

"""docs/deploy.md: every line run as written, and what the commands say."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pharmonia.base.errors import PharmoniaError
from pharmonia.cli.main import app
from pharmonia.deploy.certificates import MIN_KEY_BITS

PAGE = (Path(__file__).parents[1] / "docs" / "deploy.md").read_text(encoding="utf-8")


def lines() -> list[tuple[str, int]]:
    """Each command with the exit code that the page says."""
    found: list[tuple[str, int]] = []
    for line in "".join(re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)).splitlines():
        if line.startswith("# exit code "):
            found[-1] = (found[-1][0], int(line.removeprefix("# exit code ")))
        else:
            found.append((line.removeprefix("$ "), 0))
    return found


def run(line: str) -> tuple[int, str]:
    """Exit code and words of one line."""
    arguments = shlex.split(line)
    if arguments[0] != "pharmonia":
        return subprocess.run(arguments, check=False).returncode, ""
    result = CliRunner().invoke(app, arguments[1:])
    code = result.exception.exit_code if isinstance(result.exception, PharmoniaError) else result.exit_code
    return code, f"{result.output}{result.exception or ''}"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """The whole page, run in a folder; what each line said."""
    folder = tmp_path_factory.mktemp("deploy")
    found: list[tuple[str, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("pharmonia.deploy.certificates.KEY_BITS", MIN_KEY_BITS)  # larger ones take most of the time
        for line, expected in lines():
            code, words = run(line)
            assert code == expected, (line, words)
            found.append((line, words))
    return folder, found


def of(said: tuple[Path, list[tuple[str, str]]], start: str) -> list[str]:
    return [words for line, words in said[1] if line.startswith(start)]


def test_every_line_of_the_page_ends_as_it_says(said: tuple[Path, list[tuple[str, str]]]) -> None:
    assert {code for _, code in lines()} == {0, 2, 3, 4}
    assert len(said[1]) == len(lines()) > 40


def test_refusals_name_reason_and_remedy(said: tuple[Path, list[tuple[str, str]]]) -> None:
    *_, role = of(said, "pharmonia deploy request false-kit")
    assert "borealis is data-owner, not coordinator; ask for a kit of a role that it has, or amend" in role
    assert not (said[0] / "false-kit").exists()
    assert "asks for certificates of acme" in of(said, "pharmonia deploy approve forged.json")[0]
    assert not (said[0] / "forged-approval.json").exists()
    readable, changed = [words for words in of(said, "pharmonia deploy check borealis-kit") if "NO  " in words]
    assert "run `chmod 600" in readable
    assert "authorization.json was changed after the kit was made" in changed


def test_a_kit_is_mended_by_making_it_again(said: tuple[Path, list[tuple[str, str]]]) -> None:
    assert of(said, "pharmonia deploy kit borealis-kit --agreement aurora")[-1].splitlines() == [
        "wrote borealis-kit/site/local/authorization.json",
        "files changed: 1",
    ]


def test_a_partner_that_joins_changes_nothing_at_the_server(said: tuple[Path, list[tuple[str, str]]]) -> None:
    assert of(said, "pharmonia deploy kit server-kit --agreement aurora")[-1] == "files changed: none\n"


def test_status_lists_every_certificate(
    said: tuple[Path, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = of(said, "pharmonia deploy status")[0]
    assert words.count("ok ") == len(words.splitlines()) == 12
    monkeypatch.chdir(said[0])
    code, listed = run("pharmonia deploy status --json cygnus-kit")
    found = json.loads(listed)
    assert (code, [one["name"] for one in found]) == (0, ["cygnus, of cygnus", "authority of aurora"])
    assert 360 <= found[0]["days_left"] <= 365
    assert found[0]["due"] is False


@pytest.mark.parametrize("role", ["auditor", "king"])
def test_a_role_without_machines_gets_no_kit(said: tuple[Path, list[tuple[str, str]]], role: str) -> None:
    options = f"--agreement {said[0] / 'aurora'} --partner acme --key {said[0] / 'acme.key'}"
    assert run(f"pharmonia deploy request {said[0] / 'no-kit'} --role {role} {options}")[0] in {2, 3}
    assert not (said[0] / "no-kit").exists()

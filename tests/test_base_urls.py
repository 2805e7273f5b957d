"""Passwords of URLs do not reach reports, notes or messages."""

import sys
from pathlib import Path

import pytest

from pharmonia.base.errors import InputError
from pharmonia.base.urls import without_passwords
from pharmonia.cli.progress import command_line
from pharmonia.run.store import RunStore


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg://ada:geheim@host:5432/runs", "postgresql+psycopg://ada:***@host:5432/runs"),
        ("--store=postgresql://ada:geheim@host/runs", "--store=postgresql://ada:***@host/runs"),
        ("postgresql://ada@corp:geheim@host/runs", "postgresql://ada@corp:***@host/runs"),
        ("postgresql://ada:ge@h/ei?m@host/runs", "postgresql://ada:***@host/runs"),
        ("postgresql://:geheim@host/runs", "postgresql://:***@host/runs"),
        ("postgresql://host/runs?user=ada&password=geheim", "postgresql://host/runs?user=ada&password=***"),
        ("postgresql://host/runs?p%61ssword=geheim&x=1", "postgresql://host/runs?p%61ssword=***&x=1"),
        ("postgresql://a:geheim@host/runs?sslpassword=geheim", "postgresql://a:***@host/runs?sslpassword=***"),
        ("mssql+pyodbc:///?odbc_connect=DSN%3Dx%3BPWD%3Dgeheim", "mssql+pyodbc:///?odbc_connect=***"),
    ],
)
def test_the_password_of_a_url_is_hidden_and_the_rest_stays(text: str, expected: str) -> None:
    assert without_passwords(text) == expected
    assert without_passwords(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////data/a:b@c/runs.sqlite",
        "postgresql://ada@host:5432/runs?sslmode=require",
        "diffused-target:0.1",
        "ada:b@c",
        "--method=fedprox:0.1",
    ],
)
def test_what_holds_no_password_stays_as_it_is(text: str) -> None:
    assert without_passwords(text) == text


def test_a_report_s_command_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "bench", "run", "quick", "--store", "postgresql://ada:ge heim@host/runs"])
    assert command_line() == "pharmonia bench run quick --store 'postgresql://ada:***@host/runs'"


def test_a_store_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        RunStore("nosuch://host/runs?password=geheim", tmp_path)
    assert "password=***" in str(caught.value)
    assert "geheim" not in str(caught.value)

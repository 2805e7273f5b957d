"""`pharmonia bench` as a user meets it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

BASELINE = """
name = "baseline"
title = "A baseline alone"
[[block]]
scenarios = ["target", "iid"]
arms = ["additive"]
"""


def pharmonia(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from pharmonia.cli.main import main; main()"
    command = [sys.executable, "-c", code, "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


def test_a_battery_is_listed_run_shown_and_reported(tmp_path: Path) -> None:
    listed = pharmonia("list").stdout
    assert all(name in listed for name in ("quick", "paper", "full"))
    file, out = tmp_path / "baseline.toml", tmp_path / "out"
    file.write_text(BASELINE)
    done = pharmonia("run", str(file), "--out", str(out), "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert (out / "battery.toml").read_text() == BASELINE
    status = pharmonia("status", str(out)).stdout
    assert len(re.findall(r"1/1", status)) == 4  # seeds and runs of two settings
    (out / "report.html").unlink()
    reported = pharmonia("report", str(out))
    assert reported.returncode == 0, reported.stderr
    assert "additive" in (out / "report.html").read_text()
    rows = (out / "results.csv").read_text().splitlines()
    assert len(rows) == 3


def test_what_cannot_be_run_ends_with_its_exit_code_and_a_remedy(tmp_path: Path) -> None:
    unknown = pharmonia("run", "nothing", "--out", str(tmp_path / "a"))
    assert unknown.returncode == 2
    assert "neither a file nor one of full, paper, quick" in unknown.stderr
    empty = pharmonia("status", str(tmp_path))
    assert empty.returncode == 2
    file, out = tmp_path / "baseline.toml", tmp_path / "out"
    file.write_text(BASELINE)
    out.mkdir()
    (out / "battery.json").write_text(json.dumps({"name": "baseline", "cells": "0", "version": "0.0.1"}))
    other = pharmonia("run", str(file), "--out", str(out))
    assert other.returncode == 4
    assert "choose another --out" in other.stderr

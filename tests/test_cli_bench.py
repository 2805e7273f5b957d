"""`pharmonia bench` as a user meets it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pharmonia.bench.arms import FAILED_FILE, run_id_of
from pharmonia.bench.battery import read_battery
from pharmonia.cli import bench
from pharmonia.run.files import write_whole

BASELINE = """
name = "baseline"
title = "A baseline alone"
[[block]]
scenarios = ["target", "iid"]
arms = ["additive"]
"""


def pharmonia(*arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    code = "from pharmonia.cli.main import main; main()"
    command = [sys.executable, "-c", code, "bench", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": str(columns)}
    )


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
    assert "Everywhere: data set kiba-sample, protocol random" in status
    (out / "report.html").unlink()
    reported = pharmonia("report", str(out))
    assert reported.returncode == 0, reported.stderr
    assert "additive" in (out / "report.html").read_text()
    rows = (out / "results.csv").read_text().splitlines()
    assert len(rows) == 3


def test_the_status_of_many_settings_is_legible_in_a_narrow_terminal(tmp_path: Path) -> None:
    scenarios = ["diffused-target:0.0001", "diffused-target:100", "diffused-compound:0.0001"]
    battery = "\n".join(
        (
            'name = "wide"',
            'title = "Much that differs"',
            "[[block]]",
            f"scenarios = {json.dumps(scenarios)}",
            'protocols = ["random", "cold-compound"]',
            "partners = [2, 3]",
            'methods = ["fedavg", "fedprox:0.01"]',
        )
    )
    (tmp_path / "battery.toml").write_text(battery)
    narrow = pharmonia("status", str(tmp_path), columns=80)
    assert narrow.returncode == 0, narrow.stderr
    assert "…" not in narrow.stdout
    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert all(scenario in narrow.stdout for scenario in scenarios)


def test_a_battery_that_is_refused_takes_no_folder_and_its_corrected_file_runs(tmp_path: Path) -> None:
    file, out = tmp_path / "baseline.toml", tmp_path / "out"
    file.write_text(BASELINE.replace("arms", "partners = [2, 400]\narms"))
    refused = pharmonia("run", str(file), "--out", str(out), "--workers", "1")
    assert refused.returncode == 2
    assert "400 partners" in refused.stderr
    file.write_text(BASELINE)
    store = ("--store", f"sqlite:///{tmp_path / 'elsewhere.sqlite'}")
    assert pharmonia("run", str(file), "--out", str(out), "--workers", "1", "--store", "nonsense").returncode == 2
    done = pharmonia("run", str(file), "--out", str(out), "--workers", "1", *store)
    assert done.returncode == 0, done.stderr
    for command in (("status", str(out)), ("report", str(out)), ("run", str(file), "--out", str(out))):
        asked = pharmonia(*command)
        assert asked.returncode == 2
        assert "name it with --store" in asked.stderr
    assert not (out / "runs.sqlite").exists()
    assert len(re.findall(r"1/1", pharmonia("status", str(out), *store).stdout)) == 4
    typo = pharmonia("status", str(out), "--store", f"sqlite:///{tmp_path / 'elswhere.sqlite'}")
    assert (typo.returncode, "elswhere.sqlite; name that one" in " ".join(typo.stderr.split())) == (2, True)
    assert not (tmp_path / "elswhere.sqlite").exists()


def test_the_status_names_cells_that_failed_and_makes_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "battery.toml").write_text(BASELINE)
    job = next(iter(read_battery(tmp_path / "battery.toml").cells[0].jobs().values()))
    write_whole(tmp_path / "runs" / run_id_of(job) / FAILED_FILE, b"training diverged in round 1")
    monkeypatch.setenv("COLUMNS", "300")
    bench.status(tmp_path, None)
    said = capsys.readouterr().out
    cell = "kiba-sample, target, random, 4 partners, gin, batch, fedavg, seed 0"
    assert f"Failed: {cell}: training diverged in round 1" in said
    assert "No run has begun" in said
    assert not (tmp_path / "runs.sqlite").exists()


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

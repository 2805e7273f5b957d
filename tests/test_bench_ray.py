"""A battery on a real local Ray cluster gives what processes give."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pharmonia.base.errors import EngineError, InputError
from pharmonia.engines.ray import for_each

TINY = """
name = "tiny"
title = "One cell"
[training]
rounds = 1
batch_size = 1024
[[block]]
datasets = ["kiba-sample"]
partners = [2]
arms = ["alone", "ensemble", "federated", "additive"]
"""
COSTS = ("cpu_s", "wall_s")


def bench(folder: Path, engine: str) -> list[dict[str, str]]:
    (folder / "tiny.toml").write_text(TINY)
    code = "from pharmonia.cli.main import main; main()"
    command = [sys.executable, "-c", code, "bench", "run", str(folder / "tiny.toml"), "--out", str(folder / engine),
               "--engine", engine, "--workers", "2"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO((folder / engine / "results.csv").read_text())))
    return [{name: value for name, value in row.items() if name not in COSTS} for row in rows]


def test_a_battery_on_ray_gives_what_processes_give(tmp_path: Path) -> None:
    on_ray = bench(tmp_path, "ray")
    assert len(on_ray) == 1
    assert on_ray == bench(tmp_path, "processes")


def half(number: int) -> float:
    if number == 3:
        raise InputError("three is refused")
    if number == 5:
        os._exit(1)
    return number / 2


def test_errors_and_deaths_on_ray_have_their_places_in_the_tree() -> None:
    found: dict[int, float] = {}
    for_each(half, [0, 2, 4], n_at_once=2, on_result=found.__setitem__)
    assert found == {0: 0.0, 1: 1.0, 2: 2.0}
    with pytest.raises(InputError, match="three is refused"):
        for_each(half, [2, 3], n_at_once=1, on_result=found.__setitem__)
    with pytest.raises(EngineError, match="resume"):
        for_each(half, [5], n_at_once=1, on_result=found.__setitem__)

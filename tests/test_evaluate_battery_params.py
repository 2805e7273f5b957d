"""A cell's parameters, test rows and seconds are those of its setting, whatever method, partners and arms do."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interaction_cases import small_encoded
from pharmonia.bench import arms
from pharmonia.bench.arms import Job, run_id_of
from pharmonia.bench.battery import Cell, read_battery
from pharmonia.bench.battery_score import outcome
from pharmonia.bench.training import run_job
from pharmonia.bench.workplace import default_place
from pharmonia.data.splits import Part
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.nn.choices import Model, Norm
from pharmonia.nn.models import build_model
from pharmonia.nn.parameters import Layout
from pharmonia.run.datasets import load
from pharmonia.run.records import Performance

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SMALL = """
name = "small"
title = "Twelve compounds"

[training]
rounds = 1
batch_size = 60

[[block]]
datasets = ["small"]
partners = [2]
{block}
"""


@pytest.mark.parametrize(
    ("block", "model"),
    [
        ('methods = ["fedavg"]\narms = ["federated"]', Model.GIN),
        ('methods = ["scaffold"]\narms = ["federated"]', Model.GIN),
        ('methods = ["fedavg+private-head"]\narms = ["federated"]', Model.GIN),
        ('models = ["gcn"]\narms = ["target-only", "pooled"]', Model.GCN),
        ('arms = ["target-only"]', None),
        ('arms = ["additive"]', None),
    ],
)
def test_parameters_are_those_of_the_settings_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str, model: Model | None
) -> None:
    encoded = small_encoded()
    monkeypatch.setattr(arms, "load", lambda name: encoded if name == "small" else load(name))
    arms._loaded.cache_clear()
    arms._share_out.cache_clear()
    path = tmp_path / "battery.toml"
    path.write_text(SMALL.format(block=block))
    (cell,) = read_battery(path).cells
    place = default_place(tmp_path)
    for job in cell.jobs().values():
        run_job(job, place, Performance(), NOW, lambda _: None)
    expected = Layout.of(build_model(model, Norm.BATCH)).n_params if model else 0  # 0: no such network was trained
    assert outcome(cell, place).n_params == expected


def test_an_outcome_names_its_test_rows_and_what_the_other_arms_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = small_encoded()
    monkeypatch.setattr(arms, "load", lambda name: encoded if name == "small" else load(name))
    arms._loaded.cache_clear()
    arms._share_out.cache_clear()
    path = tmp_path / "battery.toml"
    block = 'methods = ["fedavg", "fedprox:0.01"]\narms = ["ensemble", "federated", "target-only", "additive"]'
    path.write_text(SMALL.format(block=block).replace("[training]", "seeds = 2\n\n[training]"))
    cells = read_battery(path).cells
    place = default_place(tmp_path)
    for job in dict.fromkeys(job for cell in cells for job in cell.jobs().values()):
        run_job(job, place, Performance(), NOW, lambda _: None)
    found = {(cell.key.method, cell.seed): outcome(cell, place) for cell in cells}
    rows = [arms.share_out(cells[0].settings, seed).split.rows(Part.TEST) for seed in (0, 1)]
    assert rows[0].tolist() != rows[1].tolist()
    digests = [hashlib.sha256(b"".join(int(row).to_bytes(8, "little") for row in part)).hexdigest() for part in rows]
    for method in ("fedavg", "fedprox:0.01"):
        assert [found[method, seed].test_rows_digest for seed in (0, 1)] == [digest[:16] for digest in digests]
    store, spent = place.open(), found["fedavg", 0].cpu_s_beside
    seconds = [sum(r.cpu_s for r in store.rounds(run_id_of(job))) for job in _jobs(cells[0], BatteryArm.ALONE)]
    assert set(spent) == {BatteryArm.ALONE, BatteryArm.TARGET_ONLY}  # the ensemble is made of the alone models
    assert len(seconds) == 2
    assert spent[BatteryArm.ALONE] == pytest.approx(sum(seconds))
    assert spent[BatteryArm.TARGET_ONLY] > 0


def _jobs(cell: Cell, arm: BatteryArm) -> list[Job]:
    return [job for (own, _), job in cell.jobs().items() if own is arm]

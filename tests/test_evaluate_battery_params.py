"""A cell's number of parameters is that of its setting's network, whatever method, partners and arms do with it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from interaction_cases import small_encoded
from pharmonia.bench import arms
from pharmonia.bench.battery import read_battery
from pharmonia.bench.battery_score import outcome
from pharmonia.bench.training import run_job
from pharmonia.bench.workplace import default_place
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

"""A public data set becomes a world of tasks once, by the rules of preparation, and is found again."""

from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.errors import CacheError, UnknownNameError
from pharmonia.bench.qsar_world import SCAFFOLDS, open_world, prepare_world, world_folder, world_recipe
from pharmonia.data.adme import BIOGEN_COLUMNS, AssayTable
from pharmonia.data.catalogue import BIOGEN_ADME
from pharmonia.data.columnar import ASSAYS, assays_as_arrow
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.manifest import Manifest
from pharmonia.data.qsar_sets import N_BITS, SIMULATION_KEY, QsarSet
from pharmonia.run import prepare_structures
from pharmonia.run.cache import file_name, publish, staging
from pharmonia.run.datasets import write_parquet
from pharmonia.run.fetch import no_progress

N_COMPOUNDS = 80


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kiba_sample: EncodedInteractions) -> AssayTable:
    """Drawn values of real structures where Biogen ADME would be; the reference set has tests of its own."""
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path))
    monkeypatch.setattr(prepare_structures, "reference_structures", lambda: ("Oc1ccccn1", "CC("))
    rng = np.random.default_rng(0)
    table = AssayTable(
        name="biogen-adme",
        compound_ids=tuple(f"c{index}" for index in range(N_COMPOUNDS)),
        smiles=kiba_sample.interactions.smiles[:N_COMPOUNDS],
        endpoints=tuple(BIOGEN_COLUMNS),
        values=np.where(rng.random((N_COMPOUNDS, 6)) < 0.9, rng.normal(size=(N_COMPOUNDS, 6)), np.nan),
    )
    entry = BIOGEN_ADME
    with staging(entry.name) as folder:
        prepared = folder / "prepared"
        prepared.mkdir()
        write_parquet(assays_as_arrow(table), prepared / file_name(entry.name, ASSAYS, "parquet"))
        manifest = Manifest(
            name=entry.name, title=entry.title, kind=entry.kind, measure=entry.measure, licence=entry.licence,
            citation=entry.citation, notes=(), n_rows=table.n_measured, n_compounds=N_COMPOUNDS, n_targets=0,
            n_listed_compounds=N_COMPOUNDS, n_listed_targets=0, sources=(), files=(),
        )  # fmt: skip
        publish(prepared, manifest)
    return table


def test_each_endpoint_becomes_tasks_and_the_world_is_prepared_once(drawn: AssayTable) -> None:
    made = prepare_world(QsarSet.ADME, no_progress)
    prepared = made.prepared
    assert set(made.assay_ids) == set(drawn.endpoints)
    assert prepared.features.n_columns == N_BITS
    assert prepared.n_folds == 5
    assert {task.aggregation_weight for task in prepared.tasks} == {1.0}
    values = prepared.labels.value[prepared.labels.task == len(prepared.tasks) - 1].tolist()
    measured = drawn.values[:, drawn.endpoints.index(prepared.tasks[-1].assay_id)]
    listed = measured[np.isfinite(measured)].astype(np.float32).tolist()
    assert len(listed) - 4 <= len(set(values) & set(listed)) <= len(listed)  # repeats of one structure are joined
    for group in np.unique(made.scaffold):
        assert np.unique(prepared.fold[made.scaffold == group]).size == 1  # one scaffold, one fold
    assert world_recipe(QsarSet.ADME).key_commitment == SIMULATION_KEY.commitment()
    before = (world_folder(QsarSet.ADME) / "manifest.json").stat().st_mtime_ns
    again = prepare_world(QsarSet.ADME, no_progress)
    assert (world_folder(QsarSet.ADME) / "manifest.json").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.cluster, made.cluster)
    (world_folder(QsarSet.ADME) / SCAFFOLDS).write_text("row,scaffold,cluster\n0,x,1\n")
    with pytest.raises(CacheError, match="damaged"):
        open_world(QsarSet.ADME)


def test_data_that_were_not_fetched_are_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path))
    for name, command in ((QsarSet.ADME, "biogen-adme"), (QsarSet.KIBA, "kiba"), (QsarSet.BOTH, "kiba")):
        with pytest.raises(UnknownNameError, match=f"pharmonia data fetch {command}"):
            prepare_world(name, no_progress)

"""A small partner whose model can be taken home: prepared structures, a network of chance weights, their bundle."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.arrays import Vector
from pharmonia.chem.ecfp_matrix import EcfpSettings
from pharmonia.data.assays import AssayType, Direction
from pharmonia.data.assays_tables import PlainLayout
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_codec import profile_from
from pharmonia.data.tasks import PreparedTasks
from pharmonia.learn.multitask_data import task_places
from pharmonia.learn.multitask_network import make_network, private_layout, shared_layout
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Optimiser
from pharmonia.run import prepare_structures
from pharmonia.run.bundle_environments import StructureReader
from pharmonia.run.bundle_export import Folds, RunNote, TaskNote, TrainedPartner, export_bundle
from pharmonia.run.bundle_parts import BundleContents
from pharmonia.run.fetch import no_progress
from pharmonia.run.prepare import PreparePlan, prepare
from pharmonia.run.prepare_check import read_recipe
from pharmonia.run.prepare_files import open_prepared
from prepare_cases import KEY, write_csv

RINGS = ("c1ccccc1{}", "c1ccncc1{}", "C1CCNCC1{}", "c1ccc2[nH]ccc2c1{}", "c1cnc2ccccc2c1{}", "C1CCOC1{}", "c1csc({})n1")
GROUPS = ("C", "CC", "O", "N", "F", "Cl", "C#N", "C(=O)O", "C(N)=O", "OC", "CO", "CN", "S(N)(=O)=O", "C(F)(F)F", "CCO")
SMILES = tuple(ring.format(group) for ring in RINGS for group in GROUPS)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
N_BITS = 512
FOLDS = Folds(train=(0,), valid=(1,), test=(2,))
SETTINGS = MultitaskSettings(
    n_bits=N_BITS, trunk=(12, 10), head=(6,), dropout=0.1, regression_weight=0.4, catalogue_classification=(),
    catalogue_regression=("solubility",), optimiser=Optimiser.ADAM, learning_rate=0.001, drop_round=10, batch_size=24,
    local_epochs=2,
)  # fmt: skip
RUN = RunNote(run_id="test-1", method="fedsgd", data_digest="d" * 64, plan_digest=None, agreement_digest=None)
PROFILE = replace(
    profile_from(
        {
            "min_fold_std": -1.0,
            "folds": {"n_folds": 3},
            "rules": {
                AssayType.OTHER.value: {
                    "n_active": 5, "n_inactive": 5, "n_total": 10, "n_uncensored": 5, "n_fold_active": 1,
                }
            },
        }
    ),
    ecfp=EcfpSettings(n_bits=N_BITS),
)  # fmt: skip


def few_references(patch: pytest.MonkeyPatch) -> None:
    """The whole reference takes many seconds; its own tests are elsewhere."""
    patch.setattr(prepare_structures, "reference_structures", lambda: ("Oc1ccccn1", "CC("))


def prepare_partner(folder: Path) -> tuple[PreparedTasks, Recipe]:
    """Two assays of 105 compounds, prepared into FOLDER/prepared, the structures cached in FOLDER."""
    potency = [round(3.5 + (sum(map(ord, text)) % 60) / 10, 2) for text in SMILES]
    solubility = [round((sum(map(ord, text)) % 17) / 4, 2) for text in SMILES]
    folder.mkdir(parents=True, exist_ok=True)
    table = write_csv(folder / "wide.csv", {"smiles": SMILES, "kinase": potency, "solubility": solubility})
    plan = PreparePlan(
        tables=(table,), layout=PlainLayout(smiles="smiles", endpoints=("kinase", "solubility")), key=KEY,
        profile=PROFILE, wanted=None, out=folder / "prepared", cache=folder / "structures.sqlite", n_workers=1,
        again=False,
    )  # fmt: skip
    prepare(plan, no_progress)
    return as_catalogue(open_prepared(folder / "prepared")), read_recipe(folder / "prepared")


def as_catalogue(prepared: PreparedTasks) -> PreparedTasks:
    """The same data with the solubility's values as a task of the catalogue."""
    tasks = tuple(
        replace(task, catalogue_id="solubility") if task.task_id == "regression|solubility" else task
        for task in prepared.tasks
    )
    return replace(prepared, tasks=tasks)


def vectors(prepared: PreparedTasks, settings: MultitaskSettings, seed: int = 0) -> tuple[Vector, Vector]:
    """Shared and private vectors of a network as if it had been trained."""
    network = make_network(settings, task_places(prepared, settings).sizes, seed)
    rng = np.random.default_rng(seed)
    shared, private = (rng.normal(0, 0.3, layout(network).n_params) for layout in (shared_layout, private_layout))
    return shared, np.abs(private)  # spreads among them


def trained_partner(prepared: PreparedTasks, recipe: Recipe) -> TrainedPartner:
    """What a run would leave at this partner."""
    shared, private = vectors(prepared, SETTINGS)
    n_test = prepared.in_folds(FOLDS.test).size
    return TrainedPartner(
        name="acme", settings=SETTINGS, shared=shared, private=private, prepared=prepared, recipe=recipe, folds=FOLDS,
        alone=np.random.default_rng(1).random(n_test).astype(np.float32), environments=None,
    )  # fmt: skip


def home_of(factory: pytest.TempPathFactory) -> Path:
    """The folder of `partner_at` in this session, the same for every module of tests."""
    return factory.getbasetemp() / "acme-at-home"


@cache
def partner_at(home: Path) -> TrainedPartner:
    """What a run would leave at the partner whose data are in HOME; prepared once, whichever module asks first."""
    with pytest.MonkeyPatch.context() as patch:
        few_references(patch)
        partner = trained_partner(*prepare_partner(home))
    return replace(partner, environments=reader(home).environments(home / "prepared", partner.prepared, partner.recipe))


def reader(home: Path) -> StructureReader:
    """Reads the compounds of `prepare_partner` in HOME once more."""
    return StructureReader(key=KEY, cache=home / "structures.sqlite", n_workers=1, progress=no_progress)


def notes(prepared: PreparedTasks) -> dict[str, TaskNote]:
    """Of the kinase's tasks; nobody noted anything of the solubility's."""
    return {
        task.task_id: TaskNote(
            unit="pIC50",
            threshold=6.0 if "classification" in task.task_id else None,
            direction=Direction.HIGH,
        )
        for task in prepared.tasks
        if task.assay_id == "kinase"
    }


def contents(partner: TrainedPartner) -> BundleContents:
    """Its bundle."""
    return export_bundle(partner, RUN, notes(partner.prepared), "CC0", NOW)


def same(one: BundleContents, other: BundleContents) -> bool:
    """Whether two bundles hold the same, down to the types of their numbers."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = [
        (one.weights[name], other.weights[name]) for name in sorted({*one.weights, *other.weights})
    ]
    pairs += [
        (one.classification.offsets, other.classification.offsets),
        (one.classification.probability, other.classification.probability),
        (one.regression.offsets, other.regression.offsets),
        (one.regression.residual, other.regression.residual),
    ]
    if one.domain is not None and other.domain is not None:
        pairs += [(one.domain.seen, other.domain.seen), (one.domain.novelty, other.domain.novelty)]
    plain = ("settings", "tasks", "recipe")
    return (
        all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)
        and (one.domain is None) == (other.domain is None)
        and all(getattr(one, name) == getattr(other, name) for name in plain)
        and one.card.encode() == other.card.encode()
    )

"""Training one arm of a comparison, in a process that loads PyTorch."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pharmonia.base.arrays import Vector
from pharmonia.base.canonical import digest_json
from pharmonia.bench.arms import ArmJob, ArmResult, SharedOut, StorePlace, share_out
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.local import LocalLearner, predict
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.party import Party
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus

POOL_NAME = "all partners' data in one place"
RUN_ID_DIGITS = 20


def run_arm(
    job: ArmJob, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
) -> ArmResult:
    """Train the arm's model, or find it finished in the store, and predict the test rows with it."""
    shared = share_out(job.settings, job.seed)
    settings = {**job.settings.to_json(job.seed), "data": shared.digest, "arm": job.arm, "partner": job.partner}
    run_id = digest_json(settings)[:RUN_ID_DIGITS]
    store = place.open()
    folder = store.folder(run_id)
    if store.open_run(run_id, settings, now) is RunStatus.FINISHED:
        model = store.model(run_id)
    else:
        engine = InProcessEngine(_parties(job, shared, folder))
        plan = TrainingPlan(local=job.settings.local, schedule=job.settings.schedule, seed=job.seed)
        model = Coordinator(plan, engine, store, run_id, performance).train(on_round)
        for private in folder.glob("party-*"):
            shutil.rmtree(private)  # the partners' states serve a resume, and the run is finished
    return ArmResult(job=job, model=model, predicted=_predictions(job, shared, model, folder))


def _parties(job: ArmJob, shared: SharedOut, folder: Path) -> dict[str, Party]:
    parties = {}
    for index, dataset in _datasets(job, shared):
        learner = LocalLearner(dataset, job.settings.local, (job.seed, index))
        parties[dataset.name] = Party(learner, folder / f"party-{index}")
    return parties


def _datasets(job: ArmJob, shared: SharedOut) -> list[tuple[int, PartnerDataset]]:
    train, valid = shared.split.rows(Part.TRAIN), shared.split.rows(Part.VALID)
    if job.arm is Arm.POOLED:
        return [(0, partner_dataset(shared.encoded, POOL_NAME, train=train, valid=valid))]
    owner = shared.partition.owner
    partners = range(shared.partition.n_partners) if job.partner is None else [job.partner]
    return [
        (
            index,
            partner_dataset(
                shared.encoded,
                shared.partition.names[index],
                train=train[owner[train] == index],
                valid=valid[owner[valid] == index],
            ),
        )
        for index in partners
    ]


def _predictions(job: ArmJob, shared: SharedOut, model: TrainedModel, folder: Path) -> Vector:
    path = folder / "predictions.safetensors"
    if not path.exists():
        test = shared.encoded.interactions.pairs.take(shared.split.rows(Part.TEST))
        predicted = predict(model.parameters, job.settings.local.norm, shared.encoded, test)
        write_arrays(path, {"predicted": predicted}, {})
    return read_arrays(path)[0]["predicted"]

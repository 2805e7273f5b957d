"""The coordinator's side of a run. Read this first: `_round` names every step of a round, in order."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError
from pharmonia.learn.algorithms import Selection
from pharmonia.learn.contributions import Aggregate, Totals, unpack
from pharmonia.learn.messages import Broadcast, Finish, StatisticsRequest, vector_digest
from pharmonia.learn.network import sum_tensors
from pharmonia.learn.server import ServerState, server_step
from pharmonia.learn.settings import Algorithm, Weighting
from pharmonia.learn.shared import shared_model
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStore
from pharmonia.run.sum_rounds import Traffic
from pharmonia.run.sums import PartnersSum, Request, Sums
from pharmonia.run.tensors import VALIDATION, digest_of, sum_layout

OnRound = Callable[[RoundRecord], None]
SumError = Callable[[Vector], float]
OnAggregate = Callable[[str], None]
BeforeRound = Callable[[], None]
_MOMENT = "moment."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """Where a run stands before a round: all that a resume needs."""

    round_index: int
    n_train: int  # training rows of all partners
    parameters: Vector
    best_parameters: Vector
    selection: Selection
    server: ServerState
    unvalidated: RoundRecord | None  # the previous round, whose model the next broadcast validates


class Coordinator:
    """Trains one model across the partners of an engine, and records it in a store."""

    def __init__(
        self,
        plan: TrainingPlan,
        sums: Sums,
        store: RunStore,
        run_id: str,
        performance: Performance,
        sum_error: SumError | None = None,
        on_aggregate: OnAggregate | None = None,
        before_round: BeforeRound | None = None,
    ) -> None:
        """Make a run; `train` begins or resumes it.

        Args:
            plan: What changes the result.
            sums: Over the parties.
            store: Where rounds and the model are kept.
            run_id: In the store.
            performance: What changes speed only.
            sum_error: In a simulation, how far a mean is from the float64 mean of what the parties contributed.
            on_aggregate: Under a plan, told the digest of the model that a round's sums gave, before it is used.
            before_round: Asked before each round; what it raises ends the run where it can be resumed.
        """
        self._plan = plan
        self._sums = sums
        self._store = store
        self._run_id = run_id
        self._performance = performance
        self._sum_error = sum_error
        self._on_aggregate = on_aggregate
        self._before_round = before_round
        self._saved_at = time.monotonic()
        self._model = shared_model(plan.local, plan.method, plan.seed)
        self._trained = self._model.layout.trained_mask
        self._sum_layout = sum_layout(sum_tensors(self._model.layout, plan.method))

    def train(self, on_round: OnRound, keep: Callable[[TrainedModel], None] | None = None) -> TrainedModel:
        """Run rounds until patience or the schedule ends them; resume where a killed run was saved.

        Args:
            on_round: Told each round as it is validated.
            keep: Puts away what belongs to the model, before the run is marked finished.
        """
        traffic = self._sums.start()
        state = self._resume() or self._start()
        while not self._is_over(state):
            if self._before_round is not None:
                self._before_round()
            state = self._round(state, on_round, traffic)
            traffic = Traffic()
        best_round = -1 if state.selection.best_round is None else state.selection.best_round
        self._sums.tell(Finish(best_round=best_round))
        model = TrainedModel(
            parameters=state.best_parameters, selection=state.selection, rounds=self._store.rounds(self._run_id)
        )
        if keep is not None:
            keep(model)
        self._store.finish(self._run_id, model)
        checkpoint_file(self._store, self._run_id).unlink(missing_ok=True)
        return model

    def _is_over(self, state: _State) -> bool:
        schedule = self._plan.schedule
        return state.unvalidated is None and (
            state.round_index >= schedule.rounds or state.selection.should_stop(schedule)
        )

    def _round(self, state: _State, on_round: OnRound, traffic: Traffic) -> _State:
        """One round: validate the last round's model, then train, sum and step once, or in FedSGD once a minibatch."""
        schedule = self._plan.schedule
        train = state.round_index < schedule.rounds and not state.selection.should_stop(schedule)
        save = train and time.monotonic() - self._saved_at >= self._performance.checkpoint_every_s
        n_steps = self._n_steps(state) if train else 1
        record = _empty_record(state.round_index, traffic)
        for step in range(n_steps):
            collected = self._sums.collect(self._request(state, step, n_steps, train=train, save=save))
            aggregate = unpack(collected.mean, collected.total_weight)
            record = self._account(record, collected, train=train)
            if step == 0:
                state = self._validate(state, aggregate.totals, collected.traffic, on_round)
                if self._is_over(state):
                    return state
            state, record = self._step(state, aggregate, record)
        record = replace(record, aggregate_digest=vector_digest(state.parameters))
        if self._on_aggregate is not None:
            self._on_aggregate(record.aggregate_digest)
        state = replace(state, round_index=state.round_index + 1, unvalidated=record)
        if save:
            self._save(state)
        return state

    def _start(self) -> _State:
        """Centre the model on the mean training values, which takes one sum."""
        statistics = self._sums.collect(
            Request(
                frame_of=lambda index, magnitudes: StatisticsRequest(sum_index=index, magnitudes=magnitudes),
                layout=sum_layout(self._model.statistics_tensors),
                model_digest=digest_of(np.empty(0)),
            )
        )
        parameters = self._model.start(statistics.mean, statistics.total_weight)
        self._store.drop_rounds(self._run_id, from_round=0)
        return _State(
            round_index=0,
            n_train=statistics.total_weight,
            parameters=parameters,
            best_parameters=parameters,
            selection=Selection(),
            server=ServerState(),
            unvalidated=None,
        )

    def _n_steps(self, state: _State) -> int:
        """Sums in a round: one, or in FedSGD as many as it takes to go through all partners' rows once."""
        if self._plan.method.algorithm is not Algorithm.FEDSGD:
            return 1
        return -(-state.n_train // self._plan.local.batch_size)

    def _request(self, state: _State, step: int, n_steps: int, *, train: bool, save: bool) -> Request:
        best_round = state.selection.best_round
        return Request(
            frame_of=lambda index, magnitudes: Broadcast(
                sum_index=index,
                magnitudes=magnitudes,
                round_index=state.round_index,
                step=step,
                n_steps=n_steps,
                train=train,
                save=save,
                best_round=-1 if best_round is None else best_round,
                parameters=state.parameters,
            ),
            layout=self._sum_layout if train else VALIDATION,
            model_digest=digest_of(state.parameters),
        )

    def _validate(self, state: _State, totals: Totals, traffic: Traffic, on_round: OnRound) -> _State:
        """Finish the last round's record; the run's last sum only validates, so its cost goes there too."""
        record = state.unvalidated
        if record is None:
            return state
        if not totals.valid_rows:
            raise UpdateError("nobody validated the model, so no round can be chosen; partners need validation rows")
        error = totals.valid_error / totals.valid_rows
        selection = state.selection.after(record.round_index, error)
        is_best = selection.best_round == record.round_index
        state = replace(
            state,
            best_parameters=state.parameters if is_best else state.best_parameters,
            selection=selection,
            unvalidated=None,
        )
        record = replace(record, valid_error=error)
        if self._is_over(state):
            record = _with_cost(record, traffic)
        self._store.add_round(self._run_id, record)
        on_round(record)
        return state

    def _step(self, state: _State, aggregate: Aggregate, record: RoundRecord) -> tuple[_State, RoundRecord]:
        plan, started = self._plan, time.process_time()
        parameters, server = server_step(
            plan.method,
            self._model.descent_at(record.round_index),
            state.parameters,
            aggregate.change,
            self._trained,
            state.server,
        )
        n_passes = 1 if plan.method.algorithm is Algorithm.FEDSGD else plan.local.local_epochs
        n_passed = self._n_rows(state, aggregate) * n_passes
        record = replace(
            record,
            train_loss=record.train_loss + aggregate.totals.train_error / n_passed,
            cpu_s=record.cpu_s + time.process_time() - started,
        )
        return replace(state, parameters=parameters, server=server), record

    def _n_rows(self, state: _State, aggregate: Aggregate) -> int:
        """Rows of one pass over all partners that are there."""
        method = self._plan.method
        if method.algorithm is not Algorithm.FEDSGD and method.weighting is Weighting.ROWS:
            return aggregate.total_weight
        return state.n_train

    def _account(self, record: RoundRecord, collected: PartnersSum, *, train: bool) -> RoundRecord:
        record = _with_cost(record, collected.traffic)
        record = replace(record, n_clipped=record.n_clipped + collected.n_clipped)
        if self._sum_error is None or not train:
            return record
        return replace(record, sum_error=max(self._sum_error(collected.mean), record.sum_error or 0.0))

    def _save(self, state: _State) -> None:
        if state.unvalidated is None:
            return
        arrays = {"parameters": state.parameters, "best_parameters": state.best_parameters}
        arrays |= {f"{_MOMENT}{name}": moment for name, moment in state.server.moments.items()}
        selection = state.selection
        write_arrays(
            checkpoint_file(self._store, self._run_id),
            arrays,
            {
                "round_index": state.round_index,
                "n_train": state.n_train,
                "best_round": selection.best_round,
                "best_error": selection.best_error if selection.best_round is not None else None,
                "n_waited": selection.n_waited,
                "server_steps": state.server.n_steps,
                "scales": self._sums.scales,
                "unvalidated": {**asdict(state.unvalidated), "valid_error": None},
            },
        )
        self._saved_at = time.monotonic()

    def _resume(self) -> _State | None:
        path = checkpoint_file(self._store, self._run_id)
        if not path.exists():
            return None
        arrays, meta = read_arrays(path)
        best_error = float("inf") if meta["best_error"] is None else meta["best_error"]
        unvalidated = RoundRecord(**{**meta["unvalidated"], "valid_error": float("nan")})
        moments = {name.removeprefix(_MOMENT): array for name, array in arrays.items() if name.startswith(_MOMENT)}
        self._sums.restore(meta["scales"])
        self._store.drop_rounds(self._run_id, from_round=unvalidated.round_index)
        return _State(
            round_index=meta["round_index"],
            n_train=meta["n_train"],
            parameters=arrays["parameters"],
            best_parameters=arrays["best_parameters"],
            selection=Selection(best_round=meta["best_round"], best_error=best_error, n_waited=meta["n_waited"]),
            server=ServerState(n_steps=meta["server_steps"], moments=MappingProxyType(moments)),
            unvalidated=unvalidated,
        )


def checkpoint_file(store: RunStore, run_id: str) -> Path:
    """What a run resumes from; there once it has been saved, until it is finished."""
    return store.folder(run_id) / "coordinator" / "checkpoint.safetensors"


def _empty_record(round_index: int, traffic: Traffic) -> RoundRecord:
    record = RoundRecord(
        round_index=round_index,
        valid_error=float("nan"),
        train_loss=0.0,
        aggregate_digest="",
        bytes_to_partners=0,
        bytes_from_partners=0,
        wall_s=0.0,
        cpu_s=0.0,
        n_clipped=0,
        sum_error=None,
    )
    return _with_cost(record, traffic)


def _with_cost(record: RoundRecord, traffic: Traffic) -> RoundRecord:
    return replace(
        record,
        bytes_to_partners=record.bytes_to_partners + traffic.bytes_to_partners,
        bytes_from_partners=record.bytes_from_partners + traffic.bytes_from_partners,
        wall_s=record.wall_s + traffic.wall_s,
        cpu_s=record.cpu_s + traffic.cpu_s,
    )

"""The coordinator's side of a run. Read this first: `_round` names every step of a round, in order."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError
from pharmonia.learn.aggregate import federated_average, pooled_error, pooled_mean
from pharmonia.learn.algorithms import Selection
from pharmonia.learn.local import initial_parameters
from pharmonia.learn.messages import (
    Broadcast,
    Reply,
    Statistics,
    StatisticsRequest,
    Update,
    decode,
    encode,
    vector_digest,
)
from pharmonia.run.arrayfile import read_arrays, write_arrays
from pharmonia.run.engine import Engine, Exchange
from pharmonia.run.records import Performance, RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStore

OnRound = Callable[[RoundRecord], None]
MessageT = TypeVar("MessageT", Statistics, Reply)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """Where a run stands before a round: all that a resume needs."""

    round_index: int
    parameters: Vector
    best_parameters: Vector
    selection: Selection
    unvalidated: RoundRecord | None  # the previous round, whose model the next broadcast validates


class Coordinator:
    """Trains one model across the partners of an engine, and records it in a store."""

    def __init__(
        self, plan: TrainingPlan, engine: Engine, store: RunStore, run_id: str, performance: Performance
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._store = store
        self._run_id = run_id
        self._performance = performance
        self._saved_at = time.monotonic()

    def train(self, on_round: OnRound) -> TrainedModel:
        """Run rounds until patience or the schedule ends them; resume where a killed run was saved."""
        state = self._resume() or self._start()
        while not self._is_over(state):
            state = self._round(state, on_round)
        model = TrainedModel(
            parameters=state.best_parameters, selection=state.selection, rounds=self._store.rounds(self._run_id)
        )
        self._store.finish(self._run_id, model)
        self._checkpoint_file().unlink(missing_ok=True)
        return model

    def _is_over(self, state: _State) -> bool:
        schedule = self._plan.schedule
        return state.unvalidated is None and (
            state.round_index >= schedule.rounds or state.selection.should_stop(schedule)
        )

    def _round(self, state: _State, on_round: OnRound) -> _State:
        """Broadcast, collect, validate the last round, aggregate, checkpoint.

        Partners validate the parameters they receive before they train from them, so one broadcast serves both;
        the model after the last round is validated by a broadcast that does not train.
        """
        train = state.round_index < self._plan.schedule.rounds
        save = train and time.monotonic() - self._saved_at >= self._performance.checkpoint_every_s
        exchange, replies = self._broadcast(state, train=train, save=save)
        state = self._validate(state, replies, exchange, on_round)
        if self._is_over(state):
            return state
        state = self._aggregate(state, replies, exchange)
        if save:
            self._save(state)
        return state

    def _start(self) -> _State:
        """Centre the model on the mean training value, which takes two sums from each partner."""
        frames = self._engine.exchange(encode(StatisticsRequest())).replies
        mean_value = pooled_mean([_expect(Statistics, frame) for frame in frames])
        parameters = initial_parameters(self._plan.local.norm, self._plan.seed, mean_value)
        self._store.drop_rounds(self._run_id, from_round=0)
        return _State(
            round_index=0,
            parameters=parameters,
            best_parameters=parameters,
            selection=Selection(),
            unvalidated=None,
        )

    def _broadcast(self, state: _State, *, train: bool, save: bool) -> tuple[Exchange, list[Reply]]:
        broadcast = Broadcast(round_index=state.round_index, train=train, save=save, parameters=state.parameters)
        exchange = self._engine.exchange(encode(broadcast))
        replies = [_expect(Reply, frame) for frame in exchange.replies]
        for partner, reply in zip(self._engine.partners, replies, strict=True):
            if reply.round_index != state.round_index or (reply.update is None) == train:
                raise MessageError(f"{partner} did not answer round {state.round_index} as asked")
        return exchange, replies

    def _validate(self, state: _State, replies: list[Reply], exchange: Exchange, on_round: OnRound) -> _State:
        """Finish the last round's record; the run's last exchange only validates, so its cost goes there too."""
        record = state.unvalidated
        if record is None:
            return state
        error = pooled_error([reply.score for reply in replies])
        selection = state.selection.after(record.round_index, error)
        is_best = selection.best_round == record.round_index
        state = replace(
            state,
            best_parameters=state.parameters if is_best else state.best_parameters,
            selection=selection,
            unvalidated=None,
        )
        record = replace(record, valid_mse=error)
        if self._is_over(state):
            record = _with_cost(record, exchange)
        self._store.add_round(self._run_id, record)
        on_round(record)
        return state

    def _aggregate(self, state: _State, replies: list[Reply], exchange: Exchange) -> _State:
        updates = [cast(Update, reply.update) for reply in replies]
        started = time.process_time()
        parameters = state.parameters + federated_average(updates)
        n_rows = sum(update.n_examples for update in updates)
        record = RoundRecord(
            round_index=state.round_index,
            valid_mse=float("nan"),
            train_loss=sum(update.loss * update.n_examples for update in updates) / n_rows,
            aggregate_digest=vector_digest(parameters),
            bytes_to_partners=0,
            bytes_from_partners=0,
            wall_s=0.0,
            cpu_s=time.process_time() - started,
        )
        return replace(
            state,
            round_index=state.round_index + 1,
            parameters=parameters,
            unvalidated=_with_cost(record, exchange),
        )

    def _checkpoint_file(self) -> Path:
        return self._store.folder(self._run_id) / "coordinator" / "checkpoint.safetensors"

    def _save(self, state: _State) -> None:
        arrays = {"parameters": state.parameters, "best_parameters": state.best_parameters}
        meta = {
            "round_index": state.round_index,
            "best_round": state.selection.best_round,
            "best_error": state.selection.best_error if state.selection.best_round is not None else None,
            "n_waited": state.selection.n_waited,
            "unvalidated": {**asdict(cast(RoundRecord, state.unvalidated)), "valid_mse": None},
        }
        write_arrays(self._checkpoint_file(), arrays, meta)
        self._saved_at = time.monotonic()

    def _resume(self) -> _State | None:
        path = self._checkpoint_file()
        if not path.exists():
            return None
        arrays, meta = read_arrays(path)
        best_error = float("inf") if meta["best_error"] is None else meta["best_error"]
        unvalidated = RoundRecord(**{**meta["unvalidated"], "valid_mse": float("nan")})
        self._store.drop_rounds(self._run_id, from_round=unvalidated.round_index)
        return _State(
            round_index=meta["round_index"],
            parameters=arrays["parameters"],
            best_parameters=arrays["best_parameters"],
            selection=Selection(best_round=meta["best_round"], best_error=best_error, n_waited=meta["n_waited"]),
            unvalidated=unvalidated,
        )


def _with_cost(record: RoundRecord, exchange: Exchange) -> RoundRecord:
    return replace(
        record,
        bytes_to_partners=record.bytes_to_partners + exchange.bytes_to_partners,
        bytes_from_partners=record.bytes_from_partners + exchange.bytes_from_partners,
        wall_s=record.wall_s + exchange.wall_s,
        cpu_s=record.cpu_s + exchange.cpu_s,
    )


def _expect(kind: type[MessageT], frame: bytes) -> MessageT:
    message = decode(frame)
    if not isinstance(message, kind):
        raise MessageError(f"expected a {kind.__name__} frame, got {type(message).__name__}")
    return message

"""What the jobs of test federations run: a party that does what a frame tells it, and a coordinator that tries it."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey
from nvflare.fuel.f3.cellnet.fqcn import FqcnInfo
from nvflare.fuel.f3.message import Message

from multitask_cases import PLAIN, data_of, partners
from pharmonia.base.errors import PharmoniaError, StoreError
from pharmonia.bench.planned import RING_DEGREE, n_colluders
from pharmonia.bench.simulation import interaction_learners
from pharmonia.engines.nvflare.controller import CoordinatorController
from pharmonia.engines.nvflare.engine import Limits, NvflareEngine
from pharmonia.engines.nvflare.executor import PartyExecutor
from pharmonia.engines.nvflare.wire import BODY, FIELDS, Request, Task
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.learner import Learner
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.network import use_one_thread
from pharmonia.learn.settings import Method
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.engine import FrameHandler, exchange
from pharmonia.run.party import Party
from pharmonia.run.protection import Masked, SecureTerms
from pharmonia.run.records import TrainingPlan
from pharmonia.run.sums import SecureSums
from pharmonia.secagg.header import Tier
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.roster import Member, sorted_ids
from run_cases import NEVER, local_settings, open_store, partner_datasets

PARTNERS = ("Ada", "Ben", "Cleo")
ROUNDS = {"fedavg": 2, "fedsgd": 1, "tasks-fedavg": 2, "tasks-fedsgd": 2}  # by run; `tasks-` is of many tasks
_TASKS = "tasks-"
MAX_FRAME_BYTES = 24_000_000
RESULTS_FILE = "results.json"


def plan_of(run: str) -> TrainingPlan:
    """Of a run that both engines do."""
    local = PLAIN if run.startswith(_TASKS) else local_settings()
    schedule = Schedule(rounds=ROUNDS[run], patience=50)
    return TrainingPlan(local=local, method=Method.parse(run.removeprefix(_TASKS)), schedule=schedule, seed=3)


def learners_of(run: str) -> list[tuple[int, str, Learner]]:
    """Each partner's learner, with its number and name."""
    plan = plan_of(run)
    if not run.startswith(_TASKS):
        datasets = list(enumerate(partner_datasets(len(PARTNERS))))
        learners = interaction_learners(datasets, local_settings(), plan.method, plan.seed)
        return [(index, PARTNERS[index], learner) for index, _, learner in learners]
    data = [data_of(part, PLAIN, name) for part, name in zip(partners(len(PARTNERS)), PARTNERS, strict=True)]
    return [
        (index, PARTNERS[index], MultitaskLearner(own, PLAIN, plan.method, (plan.seed, index)))
        for index, own in enumerate(data)
    ]


def identity_of(partner: str) -> IdentityKey:
    """A key that every process of a test derives alike; real ones come from the system's randomness."""
    return IdentityKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(partner.encode()).digest()))


def members() -> tuple[Member, ...]:
    return tuple(Member(id=name, identity=identity_of(name).public) for name in sorted_ids(list(PARTNERS)))


def party_of(partner: str, run: str, folder: Path) -> Party:
    """A partner with its share of the small data."""
    _, _, learner = learners_of(run)[PARTNERS.index(partner)]
    terms = SecureTerms(
        partner=partner,
        identity=identity_of(partner),
        members=members(),
        n_colluders=n_colluders(len(PARTNERS)),
        ring_degree=RING_DEGREE,
        tier=Tier.COMMIT_THEN_MASK,
    )
    return Party(learner, Masked(terms, folder / run), folder / run)


class Obedient:
    """Does what a frame beginning with b"do " says; else it is the party of a run that a frame named."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._party: Party | None = None

    def handle(self, frame: bytes) -> bytes:
        match frame[:40].split():
            case [b"do", b"be", run]:
                self._party = party_of(self._folder.name, run.decode(), self._folder)
                return b"done"
            case [b"do", b"echo", *_]:
                return frame
            case [b"do", b"answer", length]:
                return bytes(int(length))
            case [b"do", b"break", b"store"]:
                raise StoreError(f"kept no state in {self._folder}")
            case [b"do", b"break", b"badly"]:
                raise ValueError("CC(=O)Oc1ccccc1C(=O)O has pIC50 7.3")
            case [b"do", b"wait", seconds]:
                time.sleep(float(seconds))
                return b"done"
            case _ if self._party is not None:
                return self._party.handle(frame)
            case _:
                raise StoreError("no party yet")


class CaseExecutor(PartyExecutor):
    """A site of the test federation; Ben's may also attack Ada's."""

    def open_party(self, folder: Path) -> FrameHandler:
        use_one_thread()
        return Obedient(folder)

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        reply = super().execute(task_name, shareable, fl_ctx, abort_signal)
        if shareable.get(BODY) == b"do echo attack" and fl_ctx.get_identity_name() == "Ben":
            reply[BODY] = attack(fl_ctx).encode()
        return reply


def attack(fl_ctx: FLContext) -> str:
    """What comes of a frame that Ben sends to Ada, in his own name and in the coordinator's."""
    core = fl_ctx.get_engine().get_cell().core_cell
    job = fl_ctx.get_job_id()
    fields = Request(run="run", number=10**6, start=0, length=7, part=b"").fields()
    forged = Shareable({FIELDS: fields, BODY: b"do echo"})
    forged.set_header(ReservedHeaderKey.TASK_NAME, Task.FRAME.value)
    forged.set_header(ReservedHeaderKey.TASK_ID, "forged")
    forged.set_header(ReservedHeaderKey.TOPIC, ReservedTopic.DO_TASK)
    forged.set_peer_props(fl_ctx.get_peer_context().get_all_public_props())  # the coordinator's own
    codes = []
    for name in (f"Ben.{job}", f"server.{job}"):
        own, core.my_info = core.my_info, FqcnInfo(name)
        try:
            answer = core.send_request(
                channel=CellChannel.AUX_COMMUNICATION,
                topic=ReservedTopic.DO_TASK,
                target=f"Ada.{job}",
                request=Message(payload=forged),
                timeout=1.5,
                optional=True,
            )
        finally:
            core.my_info = own
        form = answer.payload.get(FIELDS) if isinstance(answer.payload, Shareable) else None
        codes.append(f"{answer.get_header(MessageHeaderKey.RETURN_CODE)} {form}")
    return "; ".join(codes)


class CaseController(CoordinatorController):
    """Does the runs, then everything that should fail, and writes down what came of it."""

    def conduct(self, engine: NvflareEngine, folder: Path) -> None:
        results: dict[str, object] = {}
        use_one_thread()
        for run in ROUNDS:
            exchange(engine, f"do be {run}".encode())
            results[run] = train(engine, run, folder)
        long = b"do echo ".ljust(9_000_001, b".")  # three parts
        results["long"] = [reply == long for reply in exchange(engine, long).replies]
        results["one"] = engine.ask("Cleo", b"do echo one").decode()
        results["attack"] = engine.ask("Ben", b"do echo attack").decode()
        results["after attack"] = engine.ask("Ada", b"do echo fine").decode()
        results["too long"] = failure(lambda: engine.ask("Ada", bytes(MAX_FRAME_BYTES + 1)))
        results["answer too long"] = failure(lambda: engine.ask("Ada", f"do answer {MAX_FRAME_BYTES + 1}".encode()))
        results["store"] = failure(lambda: exchange(engine, b"do break store"))
        results["badly"] = failure(lambda: engine.ask("Ada", b"do break badly"))
        impatient = NvflareEngine(engine._link, self._run, engine.partners, Limits(timeout_s=0.5))
        impatient._numbers = engine._numbers
        results["late"] = failure(lambda: impatient.ask("Ada", b"do wait 2"))
        results["busy"] = failure(lambda: engine.ask("Ada", b"do echo"))
        stranger = NvflareEngine(engine._link, "another run", engine.partners, Limits())
        results["run"] = failure(lambda: stranger.hello(len(engine.partners)))
        task = cast(Task, SimpleNamespace(value="pharmonia.other"))
        hello = Request(run=self._run, number=0, start=0, length=0, part=b"")
        results["task"] = failure(lambda: engine._opened("Ben", engine._link.ask("Ben", task, hello, 9.0)))
        (folder / RESULTS_FILE).write_text(json.dumps(results), encoding="utf-8")


def train(engine: NvflareEngine, run: str, folder: Path) -> str:
    """Digest of the trained parameters."""
    home = folder / run
    home.mkdir(parents=True)
    sums = SecureSums(engine, members(), n_colluders=n_colluders(len(PARTNERS)), ring_degree=RING_DEGREE)
    coordinator = Coordinator(plan_of(run), sums, open_store(home), "run", NEVER)
    model = coordinator.train(lambda _: None)
    return hashlib.sha256(model.parameters.tobytes()).hexdigest()


def failure(work: Callable[[], object]) -> list[str]:
    """Class and message of what it raises."""
    try:
        work()
    except PharmoniaError as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]

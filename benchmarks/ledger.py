"""Verification and proofs of a ledger of a million events: CPU time on one core, and memory.

Run: python benchmarks/ledger.py [--quick]. The ledger is of eight data owners and one coordinator, whose entries hold
four rounds each under one signature; one signature an event is measured too. The last line is JSON.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from figures import Figure, at_least, at_most, cpu_s, publish
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey
from pharmonia.governance.agreement_history import (
    AgreementHistory,
    decode_history,
    encode_history,
    propose,
    sign_proposed,
)
from pharmonia.governance.checkpoint import Checkpoint, sign_checkpoint
from pharmonia.governance.events import AgreementAdopted, Event, PlanApproved, PlanFiled, RoundAggregated, RoundOpened
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import sign_entry
from pharmonia.governance.merkle import Frontier, leaf_hash
from pharmonia.governance.proofs import prove_consistency, prove_inclusion
from pharmonia.governance.terms import Credit, Partner, PlanRules, Role, Terms, Thresholds
from pharmonia.governance.verify import Delivered
from pharmonia.run.ledgerfile import CHECKPOINTS, ENTRIES, HASHES, StoredHashes, verify_folder

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2046, 1, 1, tzinfo=UTC)
OWNERS = tuple(f"owner-{i}" for i in range(8))
PLAN, SESSION, HEADER, AGGREGATE = (f"{i:02x}" * 32 for i in range(1, 5))
VERIFICATION = """
import resource, sys
from datetime import datetime, UTC
from pathlib import Path
from pharmonia.governance.agreement_history import decode_history
from pharmonia.governance.verify import Delivered
from pharmonia.run.ledgerfile import verify_folder
folder = Path(sys.argv[1])
history = decode_history((folder / "agreement.json").read_bytes(), "agreement.json")
verify_folder(folder, history, Delivered(), datetime(2046, 1, 1, tzinfo=UTC)).require()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def consortium(keys: dict[str, PrivateKey]) -> AgreementHistory:
    """An agreement of eight data owners and a coordinator, signed by all."""
    owners = tuple(Partner(id=one, name=one, roles=(Role.DATA_OWNER,), may_export=()) for one in OWNERS)
    coordinator = Partner(id="coordinator", name="coordinator", roles=(Role.COORDINATOR,), may_export=())
    terms = Terms(
        consortium="benchmark",
        title="Benchmark",
        purpose="To measure.",
        valid_until=END,
        thresholds=Thresholds(agreement=9, plan=8, checkpoint=9),
        min_cohort=8,
        plan_rules=PlanRules(secure_aggregation=True, n_colluders=1, privacy_budget=None, code_digest=True),
        trunk_recipients=OWNERS,
        publishable=(),
        metrics=("mse",),
        credit=Credit.EQUAL,
        partners=(coordinator, *owners),
    )
    named = tuple(
        PartnerKey(partner=one, public=key.public, state=KeyState.ACTIVE, valid_until=END)
        for one, key in sorted(keys.items())
    )
    history = propose(None, Agreement(version=1, previous=None, terms=terms, keys=named))
    for key in keys.values():
        history = sign_proposed(history, key, START)
    return history


def rounds(n_events: int, contributors: tuple[str, ...]) -> Iterator[Event]:
    """Headers and aggregates, in turn."""
    for index in range(n_events // 2):
        yield RoundOpened(plan=PLAN, session=SESSION, round_index=index, header=HEADER, contributors=contributors)
        yield RoundAggregated(session=SESSION, round_index=index, aggregate=AGGREGATE, contributors=contributors)


def statements(n_events: int, n_together: int, keys: dict[str, PrivateKey], ledger: str) -> Iterator[bytes]:
    """The lines of a ledger: agreement, plan, approvals, then rounds, so many events under one signature."""
    opening: list[tuple[str, tuple[Event, ...]]] = [
        ("coordinator", (AgreementAdopted(version=1, agreement=ledger), PlanFiled(plan=PLAN))),
        *((owner, (PlanApproved(plan=PLAN),)) for owner in OWNERS),
    ]
    for author, events in opening:
        yield sign_entry(ledger=ledger, number=0, at=START, events=events, key=keys[author]).to_line()
    stream = rounds(n_events - len(OWNERS) - 2, tuple(sorted(keys[owner].public.key_id for owner in OWNERS)))
    number = 1
    while events := tuple(islice(stream, n_together)):
        at = START + timedelta(seconds=number)
        yield sign_entry(ledger=ledger, number=number, at=at, events=events, key=keys["coordinator"]).to_line()
        number += 1


def write_ledger(folder: Path, n_events: int, n_together: int) -> None:
    """A ledger with one checkpoint, that everybody signed, and its agreement."""
    keys = {one: PrivateKey.generate() for one in ("coordinator", *OWNERS)}
    history = consortium(keys)
    ledger = history.versions[0].agreement.digest
    folder.mkdir()
    (folder / "agreement.json").write_bytes(encode_history(history))
    tree = Frontier()
    with (folder / ENTRIES).open("wb") as file:
        for line in statements(n_events, n_together, keys, ledger):
            file.write(line + b"\n")
            tree, _ = tree.append(leaf_hash(line))
    state = Checkpoint(ledger=ledger, size=tree.size, root=tree.root.hex(), at=END, previous=None)
    signed = sign_checkpoint(state, keys["coordinator"])
    for owner in OWNERS:
        signed = signed.signed_also_by(keys[owner])
    (folder / CHECKPOINTS).write_bytes(signed.to_line() + b"\n")


def events_per_s(folder: Path) -> float:
    """Events verified in a CPU second of one process."""
    history = decode_history((folder / "agreement.json").read_bytes(), "agreement.json")
    start = time.process_time()
    result = verify_folder(folder, history, Delivered(), END)
    used_s = time.process_time() - start
    result.require()
    return result.n_events / used_s


def peak_mib(folder: Path) -> float:
    """Peak memory of a process of its own that verifies a ledger."""
    done = subprocess.run([sys.executable, "-c", VERIFICATION, str(folder)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure_proofs(folder: Path, n_leaves: int) -> tuple[Figure, Figure]:
    """Milliseconds of a proof of inclusion, the slowest of many, and of consistency, read from disk and checked."""
    tree, old_size = Frontier(), n_leaves // 3
    old_root = tree.root
    leaf = leaf_hash(b"entry")
    with (folder / HASHES).open("wb") as file:
        for _ in range(n_leaves):
            tree, completed = tree.append(leaf)
            file.writelines(completed)
            if tree.size == old_size:
                old_root = tree.root
    old, new = (
        Checkpoint(ledger=PLAN, size=size, root=root.hex(), at=START, previous=None)
        for size, root in ((old_size, old_root), (n_leaves, tree.root))
    )
    nodes = StoredHashes(folder)

    def include(index: int) -> None:
        if not prove_inclusion(PLAN, index, n_leaves, nodes).shows(b"entry", new):
            raise SystemExit("a proof of inclusion does not hold")

    def extend() -> None:
        if not prove_consistency(PLAN, old_size, n_leaves, nodes).shows(old, new):
            raise SystemExit("a proof of consistency does not hold")

    slowest = max(wall_ms(include, index) for index in range(0, n_leaves, n_leaves // 200))
    return (
        at_most(f"inclusion proof in {n_leaves:,} entries, made and checked: slowest of 200, ms", slowest, 10.0),
        at_most(
            f"consistency proof up to {n_leaves:,} entries, made and checked: CPU ms", 1e3 * cpu_s(extend, 50), 10.0
        ),
    )


def wall_ms(work: Callable[[int], None], index: int) -> float:
    """Milliseconds by the clock on the wall, the better of two."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        work(index)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    """Measure, print a line per figure, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s on one core")
    parser.add_argument("--save", action="store_true", help="write results/ledger.json")
    options = parser.parse_args()
    n_events, n_single = (100_000, 10_000) if options.quick else (1_000_000, 100_000)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_ledger(folder / "small", n_events // 10, 8)
        write_ledger(folder / "whole", n_events, 8)
        write_ledger(folder / "single", n_single, 1)
        rate, single = events_per_s(folder / "whole"), events_per_s(folder / "single")
        small, whole = peak_mib(folder / "small"), peak_mib(folder / "whole")
        (folder / "proofs").mkdir()
        proofs = measure_proofs(folder / "proofs", 1_000_000)
    publish(
        "ledger",
        [
            at_least(f"{n_events:,} events, 8 under one signature, verified per CPU s of one core", rate, 10_000),
            at_least("events with a signature each, verified per CPU s of one core", single, 10_000),
            at_most(f"peak memory of a process that verifies {n_events:,} events, MiB", whole, 64.0),
            at_most("the same over that for a tenth of the events", whole / small, 1.1),
            *proofs,
        ],
        save=options.save,
    )


if __name__ == "__main__":
    main()

"""Each fault done for real to one run between processes: what it cost, what the ledger says, whether the end is exact.

Usage: python benchmarks/fault_matrix.py [--quick] [--save]

Three partners and the coordinator as services with mutual TLS, on this machine; one partner's line goes through a relay
(`relay.py`), and where root may mount, one partner's folder and the coordinator's are on small disks of their own. One
fault after the other is done to the same run, each in mid-round. At the end the model must be that of the run in one
process without faults, bit for bit, and all copies of the ledger the same. With --quick three faults. The last line is
JSON.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faulty_trial import (
    COORDINATOR,
    FaultyTrial,
    faulty_trial,
    relayed,
    stopped,
    undisturbed,
    until,
)
from figures import RESULTS, Figure, at_least, at_most, publish
from pharmonia.engines.nvflare.federation_state import Phase
from relay import Line, Relay
from small_disks import can_mount, disk_full

N_PARTNERS = 3
FAR, FULL, OTHER = "partner-02", "partner-03", "partner-01"
CUT_S, PAUSE_S = 45.0, 20.0
QUICK = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What faults are done to."""

    made: FaultyTrial
    relay: Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Args:
        name: What happens.
        do: Does it, and undoes it where it does not end by itself.
        is_endured: The run is expected to wait in the same session; else to go on in a new one.
        needs_mount: It fills a small disk.
    """

    name: str
    do: Callable[[Scene], None]
    is_endured: bool = False
    needs_mount: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a fault.

    Args:
        name: Of the fault.
        lasted_s: Seconds that it lasted.
        back_s: Seconds from its end until a round was finished again.
        codes: How often each code of failure stands on the ledger for it.
        n_sessions: Sessions of secure aggregation that began after it.
    """

    name: str
    lasted_s: float
    back_s: float
    codes: Counter[str]
    n_sessions: int


def kill_job(scene: Scene, member: str) -> None:
    """A member's job dies."""
    scene.made.job(member).kill()


def kill_service(scene: Scene, member: str) -> None:
    """A member's machine goes down and comes up."""
    scene.made.kill_all_of(member)
    scene.made.launch(member)


def cut(scene: Scene) -> None:
    """Nothing goes over the line."""
    scene.relay.cut()
    time.sleep(CUT_S)
    scene.relay.heal()


def delay(scene: Scene) -> None:
    """The line is slow."""
    scene.relay.become(Line(one_way_s=0.2, bytes_per_s=1e6))
    scene.made.await_rounds(2)
    scene.relay.become(Line())


def pause(scene: Scene) -> None:
    """A party lives and does nothing."""
    with stopped(scene.made.job(OTHER)):
        time.sleep(PAUSE_S)


def fill(scene: Scene, member: str) -> None:
    """Full until the ledger or the coordinator's service has said that something failed."""
    made = scene.made
    n_failures, n_started = len(made.failures()), made.state_of(COORDINATOR).n_attempts
    with disk_full(made.folder / member):
        until(
            "a failure",
            lambda: (
                len(made.failures()) > n_failures
                or made.phase() in (Phase.RESTARTING, Phase.REFUSED, Phase.STOPPED)
                or made.state_of(COORDINATOR).n_attempts > n_started
                or not made.is_served(member)
            ),
        )
        time.sleep(5.0)
    for each in made.trial.members:
        if not made.is_served(each):
            made.launch(each)


FAULTS = (
    Fault(name="kill -9 of a party's job in mid-round", do=lambda scene: kill_job(scene, OTHER)),
    Fault(name="kill -9 of the coordinator's job", do=lambda scene: kill_job(scene, COORDINATOR)),
    Fault(name=f"line to a party cut for {CUT_S:g} s, then healed", do=cut, is_endured=True),
    Fault(name="line delayed by 200 ms each way, at 1 MB/s, for two rounds", do=delay, is_endured=True),
    Fault(name=f"a party's job stopped for {PAUSE_S:g} s: it answers late", do=pause, is_endured=True),
    Fault(name="kill -9 of the coordinator's service, server and job", do=lambda s: kill_service(s, COORDINATOR)),
    Fault(name="kill -9 of a party's service, site and job", do=lambda scene: kill_service(scene, FULL)),
    Fault(name="disk full at a party", do=lambda scene: fill(scene, FULL), needs_mount=True),
    Fault(name="disk full at the coordinator", do=lambda scene: fill(scene, COORDINATOR), needs_mount=True),
)


def suffer(scene: Scene, fault: Fault) -> Outcome:
    """Do one fault in mid-round, and wait until the run goes on."""
    made = scene.made
    made.await_mid_round()
    n_failures, n_sessions = Counter(made.failures()), made.n_sessions()
    started = time.monotonic()
    fault.do(scene)
    lasted_s = time.monotonic() - started
    ended = time.monotonic()
    if not fault.is_endured:
        until("a new session", lambda: made.n_sessions() > n_sessions)
    made.await_rounds(1)
    back_s = time.monotonic() - ended
    codes = Counter({code.value: n for code, n in (Counter(made.failures()) - n_failures).items()})
    outcome = Outcome(
        name=fault.name, lasted_s=lasted_s, back_s=back_s, codes=codes, n_sessions=made.n_sessions() - n_sessions
    )
    print(outcome, file=sys.stderr, flush=True)
    return outcome


def measure(folder: Path, faults: list[Fault], rounds: int) -> tuple[list[Outcome], list[Figure]]:
    """All faults to one run, and what it came to."""
    disks = (FULL, COORDINATOR) if any(fault.needs_mount for fault in faults) else ()
    with faulty_trial(folder, n_partners=N_PARTNERS, rounds=rounds, small_disks=disks) as made:
        with relayed(made, FAR) as relay:
            scene = Scene(made=made, relay=relay)
            made.launch_all()
            made.await_rounds(1)
            outcomes = [suffer(scene, fault) for fault in faults]
            made.await_finish()
            made.end()
        figures = conclude(made, folder, rounds)
    return outcomes, figures


def conclude(made: FaultyTrial, folder: Path, rounds: int) -> list[Figure]:
    """What is to be true after all faults."""
    plain = folder / "plain"
    plain.mkdir()
    model, same = made.model(), undisturbed(plain, N_PARTNERS, rounds)
    is_same = np.array_equal(model.parameters, same.parameters) and [one.aggregate_digest for one in model.rounds] == [
        one.aggregate_digest for one in same.rounds
    ]
    for member in made.trial.partners:
        made.verify(member)
    return [
        at_least("rounds finished", len(model.rounds), rounds),
        at_least("model and every round's digest as without faults: 1 is yes", float(is_same), 1),
        at_least("all copies of the ledger the same and verified: 1 is yes", float(made.copies_are_one()), 1),
        at_most("processes left", len(made.processes_left()), 0),
    ]


def table(outcomes: list[Outcome]) -> str:
    """Markdown."""
    lines = [
        "| Fault | Lasted | Next round finished after | New sessions | On the ledger |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in outcomes:
        codes = ", ".join(f"{code} x {n}" for code, n in sorted(one.codes.items())) or "nothing"
        lines.append(f"| {one.name} | {one.lasted_s:.1f} s | {one.back_s:.1f} s | {one.n_sessions} | {codes} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK} faults")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/fault-matrix.json and .md")
    parser.add_argument("--only", type=int, help="one fault, counted from 0")
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if not fault.needs_mount or can_mount()]
    if len(faults) < len(FAULTS):
        print("no full disks: mounting needs root and `unshare`; run as root to have them", file=sys.stderr)
    faults = faults[:QUICK] if arguments.quick else faults
    faults = faults if arguments.only is None else [FAULTS[arguments.only]]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        outcomes, figures = measure(Path(folder), faults, rounds=4 + 3 * len(faults))
    said = f"{table(outcomes)}\n\nLoad average before: {load:.1f} of {os.cpu_count()} cores."
    print(said)
    figures.append(at_most("slowest return to work after a fault: s", max(one.back_s for one in outcomes), 90.0))
    if arguments.save:
        (RESULTS / "fault-matrix.md").write_text(
            f"# Faults, one after the other in one run\n\n{said}\n", encoding="utf-8"
        )
    publish("fault-matrix", figures, save=arguments.save)


if __name__ == "__main__":
    main()

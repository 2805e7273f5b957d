"""A partner lost for real in a run whose plan goes on without it: the others finish the round, and it comes back."""

from collections.abc import Iterator

import pytest

from faulty_trial import COORDINATOR, FaultyTrial, faulty_trial, stopped, until
from pharmonia.governance.events import FailureCode
from pharmonia.governance.plan import Tier

N_PARTNERS, ROUNDS = 4, 24  # a round takes a third of a second: the run must not end before a machine is down
LOST = "partner-03"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyTrial]:
    """A finished run, in which a partner's machine went down for some rounds and came up."""
    folder = tmp_path_factory.mktemp("survivors")
    with faulty_trial(folder, n_partners=N_PARTNERS, rounds=ROUNDS, tier=Tier.DROPOUT_TOLERANT) as made:
        made.launch_all()
        made.await_rounds(2)  # the first is saved
        made.kill_all_of(LOST)
        assert made.n_rounds() < ROUNDS - 2
        until("two rounds without it", lambda: made.cohorts().count(N_PARTNERS - 1) >= 2)
        with stopped(made.job(COORDINATOR)):  # or the run ends before the partner is back, on a fast machine
            made.launch(LOST)
            until("the service sees it", lambda: "partner.back" in made.log())
        made.await_finish()
        made.end()
        yield made


def test_the_round_ends_with_those_who_are_left_and_later_ones_have_all_again(done: FaultyTrial) -> None:
    cohorts = done.cohorts()
    assert len(cohorts) == ROUNDS  # none was repeated
    assert set(cohorts) == {N_PARTNERS - 1, N_PARTNERS}
    assert cohorts.count(N_PARTNERS - 1) >= 2
    assert cohorts[0] == N_PARTNERS


def test_the_run_begins_again_with_the_partner_and_no_step_is_lost(done: FaultyTrial) -> None:
    n_back = len(done.failures())  # one, unless this machine is so busy that a site is silent at two looks
    assert done.failures() == [FailureCode.PARTNER_BACK] * max(n_back, 1)
    assert done.n_sessions() == 1 + n_back


def test_every_copy_tells_the_same_and_verifies(done: FaultyTrial) -> None:
    assert done.copies_are_one()
    for partner in done.trial.partners:
        done.verify(partner)


def test_the_log_names_who_was_lost_and_came_back(done: FaultyTrial) -> None:
    told = [line for line in done.log().splitlines() if LOST in line]
    assert ["partner.lost" in line for line in told[:2]] == [True, False]
    assert ["partner.back" in line for line in told[:2]] == [False, True]


def test_everybody_has_the_model(done: FaultyTrial) -> None:
    models = [list((done.folder / partner).glob("state/*/model.safetensors")) for partner in done.trial.partners]
    assert len({one.read_bytes() for (one,) in models}) == 1

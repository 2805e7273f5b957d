"""The attack of a curious server: it works on plain runs and fails on secure ones."""

from pathlib import Path

import numpy as np
import pytest

from pharmonia.audit.transcript import Findings, Guess, Technique, attack, noise_p_value
from pharmonia.base.errors import DataFileError, EvidenceError, OptionError
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.cli.audit import audit
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.messages import decode, is_learning_frame
from pharmonia.learn.settings import Aggregation, Method
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import TrainingPlan
from pharmonia.run.transcript import (
    begin_recording,
    end_recording,
    read_transcript,
    read_transcripts,
    require_recordable,
)
from pharmonia.secagg.messages import MaskedUpdate
from pharmonia.secagg.messages import decode as decode_secure
from run_cases import NEVER, local_settings, open_store, partner_datasets


def recorded(folder: Path, aggregation: Aggregation, rounds: int = 2) -> dict[str, np.ndarray]:
    """Run and record three partners; the updates that they last contributed, in the clear."""
    plan = TrainingPlan(local=local_settings(), method=Method(), schedule=Schedule(rounds=rounds, patience=9), seed=3)
    parts = list(enumerate(partner_datasets(3)))
    learners = interaction_learners(parts, local_settings(), plan.method, plan.seed)
    simulation = simulate(learners, aggregation, folder / "home", folder / "seen")
    truth: dict[str, np.ndarray] = {}

    def note(_: object) -> float:
        truth.update({name: party.last_contribution.values.copy() for name, party in simulation.parties.items()})
        return 0.0

    run = Coordinator(plan, simulation.sums, open_store(folder), "run", NEVER, note)
    run.train(lambda _: None)
    return truth


def test_the_attack_reads_every_update_of_a_plain_run(tmp_path: Path) -> None:
    truth = recorded(tmp_path, Aggregation.PLAIN)
    transcript = read_transcript(tmp_path / "seen")
    findings = attack(transcript)
    as_sent = [guess for guess in findings.guesses if guess.technique is Technique.AS_SENT]
    assert len(as_sent) == 2 * 3
    assert all(guess.is_readable for guess in as_sent)
    with pytest.raises(EvidenceError, match="6 single updates can be read"):
        findings.require()
    last = [seen for seen in transcript.exchanges() if len(seen.replies[0]) > 10_000][-1]
    for name, frame in zip(transcript.partners, last.replies, strict=True):
        message = decode(frame)
        np.testing.assert_array_equal(message.values, truth[name])  # type: ignore[union-attr]


def test_the_attack_reads_no_update_of_a_secure_run_but_the_sum(tmp_path: Path) -> None:
    truth = recorded(tmp_path, Aggregation.SECURE)
    transcript = read_transcript(tmp_path / "seen")
    findings = attack(transcript)
    assert findings.n_sums == 2
    assert findings.n_short > 0
    assert {guess.technique for guess in findings.guesses} == set(Technique)
    assert not findings.readable
    assert all(control.is_readable for control in findings.controls)
    findings.require()
    last = [seen for seen in transcript.exchanges() if len(seen.replies[0]) > 10_000][-1]
    for name, frame in zip(transcript.partners, last.replies, strict=True):
        message = decode_secure(frame)
        assert isinstance(message, MaskedUpdate)
        guess = message.words[:-2].view("<i4").astype(np.float64)
        correlation = np.corrcoef(guess, truth[name])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(guess.size)  # five standard deviations of noise


def test_no_frame_of_a_secure_run_holds_an_update_in_the_clear(tmp_path: Path) -> None:
    truth = recorded(tmp_path, Aggregation.SECURE, rounds=1)
    needles = [values[1000:1004].tobytes() for values in truth.values()]
    for seen in read_transcript(tmp_path / "seen").exchanges():
        for frame in seen.replies:
            assert not any(needle in frame for needle in needles)
            assert len(frame) < 200 or not is_learning_frame(frame)


def test_noise_is_told_from_fixed_point_numbers() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(2**32, size=100_000, dtype=np.uint32)
    update = np.rint(rng.normal(scale=2**22, size=100_000)).astype("<i4").view("<u4")
    assert noise_p_value(noise) > 1e-6
    assert noise_p_value(update) == 0
    assert noise_p_value(noise + update) > 1e-6


def test_an_attack_that_sees_nothing_proves_nothing(tmp_path: Path) -> None:
    recorded(tmp_path, Aggregation.SECURE, rounds=1)
    for path in (tmp_path / "seen").glob("*.frame"):
        if path.stat().st_size > 10_000:
            path.unlink()
    with pytest.raises(DataFileError, match="is missing"):
        attack(read_transcript(tmp_path / "seen"))
    for path in (tmp_path / "seen").glob("*.frame"):
        path.unlink()
    with pytest.raises(EvidenceError, match="nothing can be said"):
        attack(read_transcript(tmp_path / "seen")).require()


def test_a_folder_that_is_no_transcript_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="--transcript"):
        read_transcript(tmp_path)
    (tmp_path / "transcript.json").write_text('{"format": "other", "version": 1, "partners": []}')
    with pytest.raises(DataFileError, match="version 1"):
        read_transcript(tmp_path)


def test_a_transcript_of_two_runs_is_refused(tmp_path: Path) -> None:
    one, other, seen = tmp_path / "one" / "run", tmp_path / "other" / "run", tmp_path / "seen"
    begin_recording(one, seen, ["a", "b"])
    (one / "state").write_bytes(b"begun")
    begin_recording(one, seen, ["a", "b"])  # the run goes on
    with pytest.raises(OptionError, match="another run"):  # of the same settings, elsewhere
        begin_recording(other, seen, ["a", "b"])
    (seen / "transcript.json").unlink()
    (seen / "000000-request.frame").write_bytes(b"frame")
    with pytest.raises(OptionError, match="another run"):
        require_recordable(other, seen)


def test_a_run_that_went_unrecorded_is_not_recorded_from_its_middle(tmp_path: Path) -> None:
    home, seen = tmp_path / "run", tmp_path / "seen"
    require_recordable(home, seen)
    home.mkdir()
    (home / "state").write_bytes(b"begun")
    with pytest.raises(OptionError, match="begun without --transcript; use another --out"):
        require_recordable(home, seen)
    (home / "state").unlink()
    begin_recording(home, seen, ["a", "b"])
    (home / "state").write_bytes(b"begun")
    with pytest.raises(OptionError, match="recorded so far"):
        require_recordable(home, tmp_path / "elsewhere")
    end_recording(home)  # it goes on without
    with pytest.raises(OptionError, match="begun without"):
        require_recordable(home, seen)


def test_frames_that_do_not_belong_together_fail_the_audit(tmp_path: Path) -> None:
    recorded(tmp_path, Aggregation.SECURE)
    seen = tmp_path / "seen"
    *_, first, second = sorted(
        {path.name[:6] for path in seen.glob("*-reply-000.frame") if path.stat().st_size > 10_000}
    )
    (seen / f"{second}-reply-000.frame").write_bytes((seen / f"{first}-reply-000.frame").read_bytes())
    findings = attack(read_transcript(seen))
    assert len(findings.controls) + len(findings.clipped) == findings.n_sums
    with pytest.raises(EvidenceError, match=f"blind.*exchange {int(second)}"):
        findings.require()


def test_a_clipped_sum_is_listed_and_another_must_follow() -> None:
    control = Guess(exchange=3, partner="", technique=Technique.ALL, p_value=0.0)
    Findings(guesses=(control,), n_sums=2, n_short=0, clipped=(2,)).require()
    with pytest.raises(EvidenceError, match="the sum of exchange 4 was clipped and none after it attacked"):
        Findings(guesses=(control,), n_sums=2, n_short=0, clipped=(4,)).require()


def test_the_audit_takes_the_folder_that_compare_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, Aggregation.SECURE, rounds=1)
    (tmp_path / "seen").rename(tmp_path / "seed-10")
    (tmp_path / "both").mkdir()
    (tmp_path / "seed-10").rename(tmp_path / "both" / "seed-10")
    recorded(tmp_path / "plain", Aggregation.PLAIN, rounds=1)
    (tmp_path / "plain" / "seen").rename(tmp_path / "both" / "seed-2")
    assert list(read_transcripts(tmp_path / "both")) == ["seed-2", "seed-10"]
    assert list(read_transcripts(tmp_path / "both" / "seed-10")) == ["seed-10"]
    with pytest.raises(EvidenceError, match="seed-2: 3 single updates"):
        audit(tmp_path / "both")
    audit(tmp_path / "both" / "seed-10")
    assert "seed-10: guesses" in capsys.readouterr().out

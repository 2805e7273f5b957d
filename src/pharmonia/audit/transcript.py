"""The attack of a curious server: read single updates out of what it saw of a run.

Each technique makes a guess at one partner's update from the frames of a transcript. A guess is *readable* when its
bytes are far from uniform noise: fixed-point updates fill a few of the 32 bits of a word, masked ones all. The sum over
all partners is guessed too, as a control: if the attack cannot read even that, it proves nothing. A sum with clipped
elements is noise by intention and is made again, so that it is no control; a count of clipped elements that there
cannot be is no such sum but a transcript whose frames do not belong together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.stats import chisquare

from pharmonia.base.errors import EvidenceError
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import decode, is_learning_frame
from pharmonia.run.transcript import Seen, Transcript
from pharmonia.secagg.header import N_TRAILING
from pharmonia.secagg.messages import MaskedUpdate
from pharmonia.secagg.messages import decode as decode_secure

Words = npt.NDArray[np.uint32]
MIN_WORDS = 4_096  # shorter vectors tell nothing by statistics
NOISE = 1e-9  # p below this is not noise; a run of 10,000 guesses then raises a false alarm once in 100,000 runs


class Technique(StrEnum):
    """How a guess is made."""

    AS_SENT = "as sent"
    LESS_ITS_LAST = "less the partner's last message"
    LESS_ANOTHER = "less another partner's message"
    OTHERS_TAKEN_OFF = "sum of the others"
    ALL = "sum of all (control)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One attempt.

    Args:
        exchange: Index in the transcript.
        partner: Whose update was guessed at; empty for the control.
        technique: How.
        p_value: Of the bytes being uniform noise; chi-square over the high bytes of the words.
    """

    exchange: int
    partner: str
    technique: Technique
    p_value: float

    @property
    def is_readable(self) -> bool:
        """Whether it is anything but noise."""
        return self.p_value < NOISE


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the attack found.

    Args:
        guesses: Every attempt.
        n_sums: Sums that were long enough to be judged.
        n_short: Sums that were too short.
        clipped: Exchanges of sums with clipped elements, which are noise by intention and no control.
    """

    guesses: tuple[Guess, ...]
    n_sums: int
    n_short: int
    clipped: tuple[int, ...]

    @property
    def readable(self) -> tuple[Guess, ...]:
        """Guesses at single updates that are not noise."""
        return tuple(g for g in self.guesses if g.is_readable and g.technique is not Technique.ALL)

    @property
    def controls(self) -> tuple[Guess, ...]:
        """Guesses at the sum over all partners."""
        return tuple(g for g in self.guesses if g.technique is Technique.ALL)

    def require(self) -> None:
        """Refuse a transcript that single updates can be read from, or that the attack is blind to.

        Raises:
            EvidenceError: Either is so.
        """
        if not self.controls:
            raise EvidenceError(
                f"no usable sum of {MIN_WORDS:,} values or more is in the transcript: nothing can be said"
            )
        if blind := [guess.exchange for guess in self.controls if not guess.is_readable]:
            raise EvidenceError(
                f"the attack is blind: it reads {len(blind)} of {self.n_sums} sums over all not at all, the first in "
                f"exchange {blind[0]}"
            )
        if self.clipped and self.clipped[-1] > self.controls[-1].exchange:
            raise EvidenceError(
                f"the sum of exchange {self.clipped[-1]} was clipped and none after it attacked: the transcript ends "
                "too soon"
            )
        if self.readable:
            of = sorted({(guess.exchange, guess.partner) for guess in self.readable})
            first, partner = of[0]
            raise EvidenceError(f"{len(of)} single updates can be read, the first from {partner} in exchange {first}")


def attack(transcript: Transcript) -> Findings:
    """Try every technique on every sum of a transcript.

    Raises:
        DataFileError: A frame is missing.
        MessageError: A frame is damaged.
    """
    guesses: list[Guess] = []
    last: dict[str, Words] = {}
    clipped: list[int] = []
    n_sums = n_short = 0
    for seen in transcript.exchanges():
        words, is_masked = _updates(seen, transcript.partners)
        if not words:
            continue
        if next(iter(words.values())).size < MIN_WORDS:
            n_short += 1
            continue
        n_sums += 1
        guesses += _guesses(seen.index, words, last)
        if is_masked and _is_clipped(words):
            clipped.append(seen.index)
        else:
            guesses.append(_control(seen.index, words))
        last = words
    return Findings(guesses=tuple(guesses), n_sums=n_sums, n_short=n_short, clipped=tuple(clipped))


def _updates(seen: Seen, partners: tuple[str, ...]) -> tuple[dict[str, Words], bool]:
    """The words of each partner's update, empty if the exchange carried none; and whether they are masked."""
    found, is_masked = {}, False
    for partner, frame in zip(partners, seen.replies, strict=True):
        message = decode(frame) if is_learning_frame(frame) else decode_secure(frame)
        match message:
            case Contribution():
                found[partner] = message.values.astype("<f4").view("<u4")
            case MaskedUpdate() if message.words.itemsize == 4:
                found[partner], is_masked = message.words.astype("<u4"), True
    return found, is_masked


def _total(words: dict[str, Words]) -> Words:
    total = np.zeros_like(next(iter(words.values())))
    for one in words.values():
        total += one
    return total


def _is_clipped(words: dict[str, Words]) -> bool:
    """Whether a masked sum has clipped elements: its last word counts them, at most all elements of all partners."""
    total = _total(words)
    return 0 < int(total[-1]) <= len(words) * (total.size - N_TRAILING)


def _control(index: int, words: dict[str, Words]) -> Guess:
    return Guess(exchange=index, partner="", technique=Technique.ALL, p_value=noise_p_value(_total(words)))


def _guesses(index: int, words: dict[str, Words], last: dict[str, Words]) -> Iterator[Guess]:
    total = _total(words)
    partners = list(words)
    for number, partner in enumerate(partners):
        mine = words[partner]
        attempts = {Technique.AS_SENT: mine, Technique.OTHERS_TAKEN_OFF: total - mine}
        if partner in last and last[partner].size == mine.size:
            attempts[Technique.LESS_ITS_LAST] = mine - last[partner]
        if len(partners) > 1:
            attempts[Technique.LESS_ANOTHER] = mine - words[partners[(number + 1) % len(partners)]]
        for technique, guess in attempts.items():
            yield Guess(exchange=index, partner=partner, technique=technique, p_value=noise_p_value(guess))


def noise_p_value(words: Words) -> float:
    """P of a chi-square test that the words' high bytes are uniform."""
    counts = np.bincount(words >> np.uint32(24), minlength=256)
    return float(chisquare(counts).pvalue)

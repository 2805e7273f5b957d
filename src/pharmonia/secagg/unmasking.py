"""What the server takes off a dropout-tolerant sum, from the survivors' answers. Server side only."""

from collections.abc import Mapping, Sequence

from pharmonia.base.errors import MessageError, RoundLostError
from pharmonia.secagg.header import RoundHeader, neighbours
from pharmonia.secagg.messages import Reveal
from pharmonia.secagg.shamir import combine, lagrange_weights
from pharmonia.secagg.streams import Stream, self_mask_key
from pharmonia.secagg.wire import digest


def lost_neighbours(header: RoundHeader, survivors: Sequence[str], partner: str) -> tuple[str, ...]:
    """Neighbours of a survivor whose masks with it stand in the sum, sorted by id."""
    return tuple(other for other in neighbours(header, partner) if other not in survivors)


def check_reveal(header: RoundHeader, survivors: Sequence[str], reveal: Reveal) -> None:
    """Refuse an answer that cannot be one to this round.

    Raises:
        MessageError: Of another round, or with a number of shares or keys that does not fit.
    """
    sizes = (len(reveal.shares), len(reveal.mask_keys))
    expected = (len(survivors), len(lost_neighbours(header, survivors, reveal.partner)))
    if reveal.round_digest != header.digest or sizes != expected:
        raise MessageError(f"{reveal.partner}: expected {expected} shares and keys for this round, got {sizes}")


def unmasking_streams(
    header: RoundHeader, seed_digests: Mapping[str, bytes], reveals: Sequence[Reveal], threshold: int
) -> list[Stream]:
    """Streams that cancel every self-mask and every mask shared with a lost partner.

    Args:
        header: Of the round.
        seed_digests: Commitments to the self-mask seeds, by survivor.
        reveals: Checked answers, at least `threshold`.
        threshold: Shares that open a seed.

    Raises:
        RoundLostError: A survivor with lost neighbours is silent, so that masks remain which only it can open.
        MessageError: Shares that do not give the seed that was committed to.
    """
    survivors = tuple(seed_digests)
    answered = {reveal.partner: reveal for reveal in reveals}
    streams = []
    for partner in survivors:
        lost = lost_neighbours(header, survivors, partner)
        if lost and partner not in answered:
            raise RoundLostError(f"{partner} is silent, and only it can open its masks with {', '.join(lost)}")
        for other, key in zip(lost, answered[partner].mask_keys if lost else (), strict=True):
            streams.append(Stream(key, partner.encode() > other.encode()))
    rh = header.digest
    return streams + [
        Stream(self_mask_key(seed, rh), False) for seed in _seeds(header, seed_digests, reveals[:threshold])
    ]


def _seeds(header: RoundHeader, seed_digests: Mapping[str, bytes], reveals: Sequence[Reveal]) -> list[bytes]:
    points = tuple(header.contributors.index(reveal.partner) + 1 for reveal in reveals)
    weights = lagrange_weights(points)
    seeds = []
    for place, (partner, committed) in enumerate(seed_digests.items()):
        shares = {point: reveal.shares[place] for point, reveal in zip(points, reveals, strict=True)}
        seed = combine(shares, weights)
        if digest("seed", seed) != committed:
            raise MessageError(f"the shares of {partner}'s self-mask do not give the seed that it committed to")
        seeds.append(seed)
    return seeds

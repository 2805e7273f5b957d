"""Among whom a site let its contribution be summed last, so that it can hold the ledger to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import HeaderError, LedgerError, StoreError
from pharmonia.governance.events import RoundAggregated, RoundOpened
from pharmonia.governance.ledger import Entry
from pharmonia.run.files import write_whole
from pharmonia.secagg.header import RoundHeader, Tier
from pharmonia.secagg.messages import Message, SurvivorSet

CONFIRMED_FILE = "confirmed-round.json"  # in what a site remembers of a plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmed:
    session: str
    round_index: int
    partners: tuple[str, ...]  # sorted


class ConfirmedRounds:
    """The rounds of one site: what the ledger may say of them.

    Guarantees:
        a_header_is_what_the_ledger_says: Of the same session, round and partners as the entry that opened the round.
        a_sum_is_of_those_whom_we_confirmed: No entry is taken that names others for the last round that we confirmed,
            also after a restart. Confirmed are all contributors of tier A, of tier B the survivors that we signed.
    """

    def __init__(self, partner: str, owners: Mapping[str, str], path: Path) -> None:
        """Owners: the partner of each key id, by the agreement; path: of the file, made when first needed."""
        self._partner = partner
        self._owners = owners
        self._path = path
        self._header: RoundHeader | None = None

    def require_opened(self, header: RoundHeader, opened: RoundOpened) -> None:
        """Refuse a header that is not of the round that the ledger's entry opens.

        Raises:
            HeaderError: Another session, round or partners; names both.
        """
        told = _Confirmed(
            session=header.session.hex(), round_index=header.round_index, partners=tuple(sorted(header.contributors))
        )
        said = _Confirmed(
            session=opened.session, round_index=opened.round_index, partners=self._partners(opened.contributors)
        )
        if told != said:
            raise HeaderError(
                f"{self._partner}: the header is of {_text(told)}; our copy of the ledger has {_text(said)}"
            )

    def note(self, message: Message) -> None:
        """What we have just answered to; on the disk when this returns, if it settles who is in the sum.

        Raises:
            InputError: The disk is full or cannot be written.
        """
        match message:
            case RoundHeader():
                self._header = message
                if message.tier is Tier.COMMIT_THEN_MASK:  # all contributors, or no sum
                    self._keep(message, message.contributors)
            case SurvivorSet() if self._header is not None:
                self._keep(self._header, message.survivors)
            case _:
                pass

    def require_taken(self, entry: Entry) -> None:
        """Refuse an entry that says that the last round that we confirmed was of others.

        Raises:
            LedgerError: It does; names both.
            StoreError: What we remember of the round is damaged.
        """
        events = [event for event in entry.events if isinstance(event, RoundAggregated)]
        last = self._last() if events else None
        for event in events:
            if last is None or (event.session, event.round_index) != (last.session, last.round_index):
                continue
            named = self._partners(event.contributors)
            if named != last.partners:
                raise LedgerError(
                    f"{self._partner}: an aggregate of {', '.join(named)}, but we confirmed {_text(last)}; keep our "
                    f"copy and ask the other partners"
                )

    def _partners(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(self._owners.get(key, key) for key in keys))

    def _keep(self, header: RoundHeader, partners: tuple[str, ...]) -> None:
        about: Json = {"partners": sorted(partners), "round_index": header.round_index, "session": header.session.hex()}
        write_whole(self._path, canonical_json(about) + b"\n")

    def _last(self) -> _Confirmed | None:
        try:
            match json.loads(self._path.read_bytes()):
                case {"partners": [*partners], "round_index": int() as index, "session": str() as session}:
                    return _Confirmed(session=session, round_index=index, partners=tuple(map(str, partners)))
                case other:
                    raise ValueError(f"{str(other)[:80]} is no round")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._path} is damaged ({error}); put it back, or delete it") from error


def _text(round_: _Confirmed) -> str:
    return f"round {round_.round_index} of session {round_.session[:16]} among {', '.join(round_.partners)}"

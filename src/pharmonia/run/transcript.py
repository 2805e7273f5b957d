"""What the coordinator saw of a run, frame by frame, in files: for auditors, and for attacks on our own sums."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import DataFileError, MessageError
from pharmonia.run.engine import Arrived, Engine, Exchange, Incoming, OnReply
from pharmonia.run.files import write_whole

ABOUT_FILE = "transcript.json"
FORMAT = "pharmonia/transcript"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One exchange as the coordinator saw it.

    Args:
        index: Counted from 0.
        request: The frame that went to every partner.
        replies: What came back, in order of the transcript's partners.
    """

    index: int
    request: bytes
    replies: tuple[bytes, ...]


class Recorder:
    """An engine that writes every frame down as it passes; a resumed run goes on where the files end."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Folder: made when the first frame passes."""
        self._engine = engine
        self._folder = folder
        self._n_seen = len(list(folder.glob("*-request.frame")))

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, in the order of replies."""
        return self._engine.partners

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        """Carry the frames, and write down what came back before anybody reads it.

        Raises:
            MessageError: Not the same frame for all: a transcript is of rounds in which nobody goes away.
        """
        if len(set(frames.values())) != 1 or len(frames) != len(self.partners):
            raise MessageError("a transcript holds frames that go to all partners alike")
        if self._n_seen == 0:
            about: dict[str, Json] = {"format": FORMAT, "version": FORMAT_VERSION, "partners": list(self.partners)}
            write_whole(self._folder / ABOUT_FILE, canonical_json(about))
        numbers = {partner: number for number, partner in enumerate(self.partners)}

        def write_down(partner: str, reply: Incoming) -> None:
            frame = reply.whole()
            write_whole(self._folder / f"{self._n_seen:06d}-reply-{numbers[partner]:03d}.frame", frame)
            on_reply(partner, Arrived(frame))

        exchange = self._engine.carry(frames, write_down)
        write_whole(self._folder / f"{self._n_seen:06d}-request.frame", next(iter(frames.values())))
        self._n_seen += 1
        return exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A folder that a `Recorder` wrote.

    Args:
        folder: Where the frames are.
        partners: Names, in the order of replies.
    """

    folder: Path
    partners: tuple[str, ...]

    def exchanges(self) -> Iterator[Seen]:
        """Every exchange in order, read one at a time."""
        for path in sorted(self.folder.glob("*-request.frame")):
            index = int(path.name.split("-")[0])
            replies = [self.folder / f"{index:06d}-reply-{number:03d}.frame" for number in range(len(self.partners))]
            missing = [reply.name for reply in replies if not reply.exists()]
            if missing:
                raise DataFileError(f"{self.folder}: {', '.join(missing)} is missing; copy the transcript again")
            yield Seen(index=index, request=path.read_bytes(), replies=tuple(map(Path.read_bytes, replies)))


def read_transcript(folder: Path) -> Transcript:
    """The transcript in a folder.

    Raises:
        DataFileError: None is there, or of another format.
    """
    path = folder / ABOUT_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if (about["format"], about["version"]) != (FORMAT, FORMAT_VERSION):
            raise DataFileError(f"{path}: expected {FORMAT} version {FORMAT_VERSION}")
        return Transcript(folder=folder, partners=tuple(str(name) for name in about["partners"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFileError(
            f"{path} is no transcript ({error}); `pharmonia compare --transcript DIR` writes one"
        ) from error

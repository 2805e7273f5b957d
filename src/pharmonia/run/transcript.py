"""What the coordinator saw of a run, frame by frame, in files: for auditors, and for attacks on our own sums."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import DataFileError, MessageError, OptionError
from pharmonia.run.engine import Arrived, Engine, Exchange, Incoming, OnReply
from pharmonia.run.files import write_whole

ABOUT_FILE = "transcript.json"
FORMAT = "pharmonia/transcript"
FORMAT_VERSION = 1
RECORDING_FILE = "recording.txt"  # beside a run's state: which transcript has all of the run's frames


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


def transcript_of(folder: Path, seed: int) -> Path:
    """The folder of one seed's transcript."""
    return folder / f"seed-{seed}"


def require_recordable(home: Path, folder: Path) -> None:
    """Refuse a folder for the transcript of a run, unless it holds all of that one or neither has begun.

    Args:
        home: Where the run keeps its state; may not exist.
        folder: For the transcript; may not exist.

    Raises:
        OptionError: The run has begun without this transcript, or the folder holds another run's.
    """
    recording = _recording_of(home)
    has_begun = home.is_dir() and any(path.name != RECORDING_FILE for path in home.iterdir())
    if has_begun and not recording:
        raise OptionError(f"the federated run in {home} has begun without --transcript; use another --out")
    held = [*folder.glob(ABOUT_FILE), *folder.glob("*.frame")]
    if not held and has_begun:
        raise OptionError(f"{folder} does not hold what the run in {home} has recorded so far; use another --out")
    if held and (not recording or _recording_in(folder) != recording):
        raise OptionError(f"{folder} holds the transcript of another run; name another folder with --transcript")


def begin_recording(home: Path, folder: Path, partners: Sequence[str]) -> None:
    """Bind a transcript's folder to a run, before the run's first frame or when it goes on.

    The two hold the same random name, since a run of equal settings elsewhere has the same run id.

    Raises:
        OptionError: As `require_recordable`.
    """
    require_recordable(home, folder)
    if (folder / ABOUT_FILE).exists():
        return
    recording = secrets.token_hex(16)
    write_whole(home / RECORDING_FILE, recording.encode())
    about: dict[str, Json] = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "partners": list(partners),
        "run": home.name,
        "recording": recording,
    }
    write_whole(folder / ABOUT_FILE, canonical_json(about))


def end_recording(home: Path) -> None:
    """Note that the run goes on unrecorded, so that no transcript can have all of its frames any more."""
    (home / RECORDING_FILE).unlink(missing_ok=True)


def _recording_of(home: Path) -> str:
    path = home / RECORDING_FILE
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _recording_in(folder: Path) -> str:
    """The name that a transcript was given; empty where it has none."""
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        return str(about.get("recording", ""))
    except (OSError, ValueError, AttributeError):
        return ""


class Recorder:
    """An engine that writes every frame down as it passes; a resumed run goes on where the files end."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Folder: bound to the run by `begin_recording`."""
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


def read_transcripts(folder: Path) -> dict[str, Transcript]:
    """By name, the transcript in a folder or, as `pharmonia compare --transcript` writes them, one of each seed in it.

    Raises:
        DataFileError: None is there, or one is of another format.
    """
    seeds = [] if (folder / ABOUT_FILE).exists() else [path for path in folder.glob("seed-*") if path.is_dir()]
    if not seeds:
        return {folder.resolve().name: read_transcript(folder)}
    return {path.name: read_transcript(path) for path in sorted(seeds, key=lambda path: (len(path.name), path.name))}


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

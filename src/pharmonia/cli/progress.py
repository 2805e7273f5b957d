"""What long commands share: bars on stderr, their own words for a report, and one on what is not installed."""

import math
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pharmonia.base.errors import MissingExtraError
from pharmonia.base.urls import without_passwords

if TYPE_CHECKING:
    from pharmonia.bench.progress import Progress as Done


def command_line() -> str:
    """The command as it was typed but for passwords of URLs, for a report."""
    return shlex.join(["pharmonia", *map(without_passwords, sys.argv[1:])])


class TimeLeftColumn(ProgressColumn):
    """The time until the work of a `WorkReport` is expected to end; dashes while that cannot be told."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        left_s = max(0.0, task.fields["ends_at"] - task.get_time())
        if math.isinf(left_s):
            return Text("-:--:--", style="progress.remaining")
        minutes, seconds = divmod(int(left_s), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"{hours}:{minutes:02}:{seconds:02}", style="progress.remaining")


class WorkReport:
    """Moves a bar and expects its end by all that was done since the first report, however rare reports are."""

    def __init__(self, bar: Progress) -> None:
        self._bar, self._began_at = bar, math.inf
        self._task = bar.add_task("starting", total=None, ends_at=math.inf)

    def __call__(self, done: "Done") -> None:
        """Show how far the work is."""
        now = self._bar.get_time()
        self._began_at = min(self._began_at, now)
        ends_at = now + done.time_left_s(now - self._began_at)
        self._bar.update(self._task, completed=done.done, total=done.total, description=done.what, ends_at=ends_at)


@contextmanager
def progress_bar(what: str) -> "Iterator[Callable[[Done], None]]":
    """A bar over all runs, with the time left."""
    columns = (
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeftColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield WorkReport(bar)


@contextmanager
def steps_bar() -> Iterator[Callable[[str, int, int], None]]:
    """One bar for each kind of step, for people only: told what it is, how much of it is done, and of how much."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        known: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bar.add_task(what, total=total)
            bar.update(known[what], completed=done, total=total)

        yield report


@contextmanager
def train_extra() -> Iterator[None]:
    """Names the extra to install where a package of it is missing.

    Raises:
        MissingExtraError: One is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        remedy = "run `pip install '.[train]'` in Pharmonia's checkout"
        raise MissingExtraError(f"this command needs {error.name}: {remedy}") from error

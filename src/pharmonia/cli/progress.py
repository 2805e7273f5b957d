"""What long commands share: bars on stderr, their own words for a report, and one on what is not installed."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pharmonia.base.errors import MissingExtraError
from pharmonia.base.urls import without_passwords

if TYPE_CHECKING:
    from pharmonia.bench.progress import Progress as Done


def command_line() -> str:
    """The command as it was typed but for passwords of URLs, for a report."""
    return shlex.join(["pharmonia", *map(without_passwords, sys.argv[1:])])


@contextmanager
def progress_bar(what: str) -> "Iterator[Callable[[Done], None]]":
    """A bar over all runs, with the time left."""
    columns = (
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done: bar.update(task, completed=done.done, total=done.total, description=done.what)


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
        remedy = "install Pharmonia with `pip install 'pharmonia[train]'`"
        raise MissingExtraError(f"this command needs {error.name}: {remedy}") from error

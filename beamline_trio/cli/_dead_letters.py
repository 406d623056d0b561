"""`beamline dlq`: what stands in a stream of dead letters, and sending it again.

Lines for people, or with --json one object a line. Payloads are shown by `show` only, and cut where they are long.

Must not decide what a dead letter is or how it is replayed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import typer

from ..client import Client
from ..jetstream import JetStream
from ..operation.dead_letters import (
    DeadLetterRecord,
    LetterFilter,
    Replayed,
    ReplayResult,
    find_place,
    next_letter,
    replay_letters,
)
from ._connection import ConfigOption, ServersOption, command_options, run_with_client
from ._exit_codes import FAILED
from ._failures import CommandError, guarded

Say: TypeAlias = Callable[[str], None]

_SHOWN_BYTES: Final = 4096
_CHARACTER_BYTES_MAX: Final = 4  # of UTF-8
_LIST_LIMIT: Final = 100
_NOTHING: Final = "-"

_Place: TypeAlias = Annotated[
    str, typer.Argument(metavar="STREAM|SUBJECT", help="The stream of dead letters, or the subject that they go to.")
]
_Cause: TypeAlias = Annotated[str | None, typer.Option(help="Only those whose cause or reason has this text.")]
_Route: TypeAlias = Annotated[str | None, typer.Option(help="Only those of this route.")]
_JSON: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def dead_letters_app(say: Say) -> typer.Typer:
    """The commands below `beamline dlq`; `say` prints a line."""
    app = typer.Typer(name="dlq", no_args_is_help=True, help="Look at dead letters, and replay them.")

    @app.command("list")
    def list_command(
        place: _Place,
        cause: _Cause = None,
        route: _Route = None,
        limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = _LIST_LIMIT,
        as_json: _JSON = False,
        nats: ServersOption = None,
        config: ConfigOption = None,
    ) -> None:
        """List dead letters, oldest first. Nothing is changed."""
        wanted = LetterFilter(cause=cause, route=route)
        command = partial(_list, say, place, wanted, limit, as_json)
        raise typer.Exit(guarded(lambda: run_with_client(command_options(nats, config), command)))

    @app.command("show")
    def show_command(
        place: _Place,
        sequence: Annotated[int, typer.Argument(min=1, metavar="SEQUENCE", help="Its number in `beamline dlq list`.")],
        as_json: _JSON = False,
        nats: ServersOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Show a dead letter: why, where from, its history, headers and payload. Nothing is changed."""
        command = partial(_show, say, place, sequence, as_json)
        raise typer.Exit(guarded(lambda: run_with_client(command_options(nats, config), command)))

    @app.command("replay")
    def replay_command(
        place: _Place,
        cause: _Cause = None,
        route: _Route = None,
        limit: Annotated[int | None, typer.Option(min=1, help="At most so many. Else all.")] = None,
        to: Annotated[
            str | None, typer.Option(metavar="SUBJECT", help="Where they go. Else each to where it came from.")
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
        nats: ServersOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Publish dead letters again, and remove each when a stream has confirmed it.

        Each has a fresh message id, so no duplicate window swallows it, and the same one when it is replayed again
        after a crash. Exit code 1: some were not replayed; they are still there.
        """
        wanted = LetterFilter(cause=cause, route=route)
        command = partial(_replay, say, place, wanted, to, limit, dry_run)
        raise typer.Exit(guarded(lambda: run_with_client(command_options(nats, config), command)))

    return app


async def _list(say: Say, target: str, wanted: LetterFilter, limit: int, as_json: bool, client: Client) -> int:
    js = JetStream(client)
    place = await find_place(js, target)
    behind = count = 0
    while (letter := await next_letter(js, place, behind, wanted)) is not None and count < limit:
        say(json.dumps(_fields(letter)) if as_json else _line(letter))
        behind, count = letter.sequence, count + 1
    if not as_json:
        more = "; there are more: --limit, or --cause and --route" if letter is not None else ""
        say(f"{count} dead letters of the {place.messages} messages in {place.stream}{more}")
    return 0


async def _show(say: Say, target: str, sequence: int, as_json: bool, client: Client) -> int:
    js = JetStream(client)
    place = await find_place(js, target)
    letter = await next_letter(js, place, sequence - 1, LetterFilter())
    if letter is None or letter.sequence != sequence:
        raise CommandError(
            f"there is no dead letter {sequence} in {place.stream}; see `beamline dlq list {target}`", code=FAILED
        )
    payload = _text(letter.message.payload)
    if as_json:
        say(json.dumps({**_fields(letter), "headers": letter.message.headers.items(), "payload": payload}))
        return 0
    for name, value in _fields(letter).items():
        say(f"{name:<12} {value if value not in ('', 0) else _NOTHING}")
    for name, value in letter.message.headers.items():
        say(f"header       {_printable(name)}: {_printable(value)}")
    say(f"payload      {payload}")
    return 0


async def _replay(
    say: Say, target: str, wanted: LetterFilter, to: str | None, limit: int | None, dry_run: bool, client: Client
) -> int:
    js = JetStream(client)
    place = await find_place(js, target)
    report = await replay_letters(
        js, place, wanted, subject=to, limit=limit, dry_run=dry_run, on_result=lambda result: say(_result_line(result))
    )
    counts = ", ".join(f"{count} {became}" for became, count in report.counts.items() if count)
    say(f"{place.stream}: {counts or 'no dead letter is meant'}")
    if report.stopped_by is not None:
        say(f"stopped: {report.stopped_by}; what was not replayed is still there")
    return 0 if report.complete else FAILED


def _fields(letter: DeadLetterRecord) -> dict[str, Any]:
    return {
        "sequence": letter.sequence,
        "time": letter.time,
        "route": _printable(letter.route),
        "cause": _printable(letter.cause),
        "reason": _printable(letter.reason),
        "subject": _printable(letter.subject),
        "stream": _printable(letter.stream),
        "from": letter.stream_sequence,
        "deliveries": letter.deliveries,
        "bytes": len(letter.message.payload),
        "history": [_printable(one) for one in letter.history],
    }


def _line(letter: DeadLetterRecord) -> str:
    if not letter.is_dead_letter:
        return f"{letter.sequence:>8}  no dead letter: {_printable(letter.message.subject)}"
    why = f"{letter.cause}: {letter.reason}" if letter.reason else letter.cause
    return (
        f"{letter.sequence:>8}  {letter.time or _NOTHING}  {_printable(letter.route)}  {_printable(letter.subject)}  "
        f"{letter.deliveries} deliveries  {len(letter.message.payload)} bytes  {_printable(why)}"
    )


def _result_line(result: ReplayResult) -> str:
    if result.became is Replayed.NOT_A_DEAD_LETTER:
        return f"{result.letter.sequence:>8}  {result.became}: it has no Beamline-Subject header; it stays"
    again = ", which had it already" if result.duplicate else ""
    why = f": {result.error}" if result.error is not None else ""
    return f"{result.letter.sequence:>8}  {result.became}: to {result.subject} as {result.message_id}{again}{why}"


def _text(payload: bytes) -> str:
    """A payload to look at: text where it is text, else its bytes; cut where it is long."""
    part = payload[:_SHOWN_BYTES]
    rest = f"... ({len(payload)} bytes)" if len(payload) > len(part) else ""
    try:
        return _printable(part.decode()) + rest
    except UnicodeDecodeError as error:
        if rest and error.start > len(part) - _CHARACTER_BYTES_MAX:  # cut within a character
            return _printable(part[: error.start].decode()) + rest
        return repr(part) + rest


def _printable(text: str) -> str:
    """What somebody else wrote, without what a terminal would obey."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)

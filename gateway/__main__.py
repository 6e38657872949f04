"""The command line: thin. Each verb parses its words and calls one function.

Exit codes: 0 done, 1 a fault found, 2 wrong usage or settings.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.errors import ConfigError, KuzetError

app = typer.Typer(
    name="kuzet",
    help="Operations-center device integration gateway.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
user = typer.Typer(help="Console accounts.", no_args_is_help=True)
quarantine = typer.Typer(help="What a sink refused.", no_args_is_help=True)
journal = typer.Typer(help="The journal on disk.", no_args_is_help=True)
alarm = typer.Typer(help="Alarms of the journal.", no_args_is_help=True)
app.add_typer(user, name="user")
app.add_typer(quarantine, name="quarantine")
app.add_typer(journal, name="journal")
app.add_typer(alarm, name="alarm")

Settings = Annotated[
    Path,
    typer.Option("-c", "--config", help="The settings file.", show_default=True),
]
DEFAULT = Path("gateway.toml")


@app.command()
def run(config: Settings = DEFAULT) -> None:
    """Run the gateway."""
    from gateway import process

    process.run_gateway(config)


@app.command()
def check(config: Settings = DEFAULT) -> None:
    """Validate settings and inventory: every error as file:line: column: message."""
    from gateway import process

    problems = process.check(config)
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        raise typer.Exit(2)
    typer.echo(f"{config}: settings and inventory are in order")


@app.command()
def demo() -> None:
    """Run the whole thing on embedded defaults, with simulated hardware (needs the checkout)."""
    from gateway import demo as showcase

    raise typer.Exit(asyncio.run(showcase.run()))


@user.command("add")
def user_add(
    name: str,
    role: Annotated[str, typer.Option(help="operator, technician, admin or viewer")],
    config: Settings = DEFAULT,
) -> None:
    """Add a console account; the password is asked for (or read from a pipe)."""
    from gateway import process

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    process.add_user(config, name, role, password)
    typer.echo(f"{name} may sign in as {role}")


@quarantine.command("list")
def quarantine_list(config: Settings = DEFAULT) -> None:
    """Every record set aside: sink, lane, sequence, since when, tries, why."""
    from gateway import offline

    for line in offline.quarantine_list(config):
        typer.echo(line)


@quarantine.command("retry")
def quarantine_retry(
    sink: str,
    sequences: Annotated[list[int] | None, typer.Argument(help="All of the sink if none.")] = None,
    config: Settings = DEFAULT,
) -> None:
    """Have the running gateway try records again now."""
    from gateway import offline

    typer.echo(f"{offline.quarantine_retry(config, sink, sequences or [])} to be tried again")


@quarantine.command("drop")
def quarantine_drop(
    sink: str,
    lane: Annotated[str, typer.Argument(help="alarm or telemetry")],
    sequences: list[int],
    config: Settings = DEFAULT,
) -> None:
    """Give records up for this sink. They stay in the journal."""
    from gateway import offline
    from gateway.model import Lane

    if lane not in tuple(Lane):
        raise typer.BadParameter(f"lane is one of {', '.join(Lane)}")
    typer.echo(f"{offline.quarantine_drop(config, sink, Lane(lane), sequences)} dropped")


@journal.command("verify")
def journal_verify(config: Settings = DEFAULT) -> None:
    """Check every record's checksum."""
    from gateway import offline

    checked, faults = offline.journal_verify(config)
    for line in faults:
        typer.echo(line, err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo(f"{checked} records, each as it was written")


@alarm.command("show")
def alarm_show(alarm_id: str, config: Settings = DEFAULT) -> None:
    """An alarm's whole story."""
    from gateway import offline

    for line in offline.alarm_story(config, alarm_id):
        typer.echo(line)


def main() -> NoReturn:
    """The console script `kuzet`."""
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        sys.exit(2)
    except KuzetError as error:
        typer.echo(f"kuzet: {error}", err=True)
        sys.exit(2)
    sys.exit(0)


if __name__ == "__main__":
    main()

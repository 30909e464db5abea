"""``conveyor connect``: signing in to the account that destinations use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, reading, session
from conveyor.errors import ConveyorError, Exit, UsageError

if TYPE_CHECKING:
    from conveyor.cli.checks import Outcome
    from conveyor.config import Destination
    from conveyor.installation import Installation
    from conveyor.oauth.application import Application, Granted
    from conveyor.oauth.enrolment import Enrolment

PATIENCE = 60.0
"""Seconds that a destination gets to make or find its folder."""

EXAMPLE_PORT = 8765
"""Of the redirect, where a provider wants to know it beforehand and nobody has chosen one."""

HELP = """Sign in to the account of a destination, and let what waited for it go on.

Opens the provider's page in the browser and waits for it to come back to this machine. With --no-browser the
address is printed; open it anywhere, and paste the address where the browser ended. With --device, where the
provider has it, a short code is typed at another device. All destinations with the same `connection` are
signed in at once. Then each makes or finds its folder, where its type does that.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "connect",
        help=HELP,
        epilog=filters.examples(
            "conveyor connect holiday-drive", "conveyor connect holiday-drive --no-browser"
        ),
    )(connect)


def connect(
    context: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION")],
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and take the pasted answer.")
    ] = False,
    device: Annotated[bool, typer.Option("--device", help="Type a short code at another device.")] = False,
    timeout: Annotated[
        float, typer.Option(parser=reading.seconds, metavar="TIME", help="How long to wait for you.")
    ] = "5m",  # type: ignore[assignment]  # typer parses defaults too
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Take the account, though it is another one than before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sign in."""
    from conveyor.cli.logins import as_error
    from conveyor.oauth.http import NoAnswer
    from conveyor.oauth.refusals import Refused

    with session.of(context).installation() as installation:
        chosen = installation.known(destination)
        try:
            enrolment, names = _connect(
                installation, chosen, device=device, browser=not no_browser, seconds=timeout, yes=yes
            )
        except (Refused, NoAnswer) as error:
            raise as_error(error, chosen.id) from None
        prepared = _prepare(installation, names)
    if as_json:
        document = {
            "connection": enrolment.connection,
            "account": enrolment.account.name,
            "account_id": enrolment.account.id,
            "destinations": names,
            "places": {each.destination: each.steps[0].detail for each in prepared if each.steps},
            "problems": [each.as_dict() for each in prepared if not each.ok],
        }
        session.print_json(document)
    else:
        _show(enrolment, names, prepared)
    raise typer.Exit(Exit.OK if all(each.ok for each in prepared) else Exit.FAILED)


def _show(enrolment: Enrolment, names: list[str], prepared: list[Outcome]) -> None:
    who = enrolment.account.name or enrolment.account.id or "the account"
    typer.echo(f"connected: {', '.join(names)} → {who}")
    for each in prepared:
        if each.steps:
            typer.echo(f"{each.destination}: {each.steps[0].detail}")
        elif not each.ok:
            typer.echo(str(ConveyorError(f"{each.destination}: {each.error}", cure=each.cure)), err=True)
    typer.echo(f"try it out: conveyor test {names[0]}")


def _prepare(installation: Installation, names: list[str]) -> list[Outcome]:
    """Have each destination of the account make or find its folder."""
    from conveyor.cli.checks import Checks

    checks = Checks(installation, PATIENCE)
    destinations = (installation.known(name) for name in names)
    return [checks.prepare(each) for each in destinations if each.problem is None]


def _connect(
    installation: Installation,
    destination: Destination,
    *,
    device: bool,
    browser: bool,
    seconds: float,
    yes: bool,
) -> tuple[Enrolment, list[str]]:
    from conveyor.cli import logins
    from conveyor.oauth import enrolment as after
    from conveyor.oauth.connections import linked

    connection = logins.need_connection(destination)
    application = logins.application(installation, destination)
    names = [each.id for each in linked(installation.source.list(), destination.connection or "")]
    if application.refresh_token is not None:
        raise UsageError(
            f"{destination.id} has a refresh_token in the config",
            cure="remove refresh_token from the config to sign in here instead",
        )
    form = application.unattended()
    if form is not None:
        granted = application.request_token(form, identify=False)
    elif device:
        granted = _by_device(application, seconds)
    else:
        granted = _by_code(application, seconds, browser=browser)
    enrolment = after.enrol(installation.ledger, connection, application, granted)
    _same_account(enrolment, yes)
    after.store(installation.ledger, application, enrolment, names, installation.clock)
    if granted.refresh is None and form is None:
        _tell(
            f"warning: {application.provider.title} gave no refresh token: this login ends in "
            f"{granted.expires_in / 60:.0f} min. Allow the application offline access and connect again."
        )
    return enrolment, names


def _by_code(application: Application, seconds: float, *, browser: bool) -> Granted:
    from conveyor.oauth import signin
    from conveyor.oauth.listener import Listener

    provider = application.provider
    if application.endpoint("authorize_url") is None:
        raise UsageError(f"{provider.title} has no sign-in by browser", cure="conveyor connect … --device")
    if provider.redirect_exact and not application.redirect_port:
        home = f"http://{provider.redirect_host}:{EXAMPLE_PORT}{provider.redirect_path}"
        raise UsageError(
            f"{provider.title} sends the browser back to registered addresses alone; the port is not set",
            cure=f"set redirect_port: {EXAMPLE_PORT} and register {home} as the application's redirect URI",
        )
    state = signin.new_state()
    listener = Listener(
        state, host=provider.redirect_host, port=application.redirect_port, path=provider.redirect_path
    )
    with listener:
        invitation = signin.invite(application, state, listener.redirect_uri)
        if browser:
            _open(invitation.url)
            answer = listener.wait(seconds)
            if answer is None:
                raise ConveyorError(
                    "nobody signed in in time",
                    cure="run it again; --no-browser works when the browser runs elsewhere",
                )
            return signin.redeem(application, invitation, answer)
    _tell(f"Open this address in any browser and sign in:\n\n{invitation.url}\n")
    _tell("The browser then ends at an address that begins with")
    _tell(f"{invitation.redirect_uri} and may show an error. Paste that whole address here:")
    return signin.redeem(application, invitation, signin.pasted(invitation, sys.stdin.readline()))


def _open(url: str) -> None:
    import webbrowser

    _tell(f"Sign in with the browser. If none opens, open this address on this machine:\n\n{url}\n")
    try:
        webbrowser.open(url)
    except webbrowser.Error:
        return


def _by_device(application: Application, seconds: float) -> Granted:
    from conveyor.oauth import signin

    if application.endpoint("device_url") is None:
        raise UsageError(
            f"{application.provider.title} has no sign-in at another device",
            cure="leave --device away; --no-browser works when the browser runs elsewhere",
        )
    code = signin.begin_device(application)
    _tell(f"Open {code.address} on any device and type the code {code.user_code}")
    return signin.poll_device(application, code, seconds)


def _same_account(enrolment: Enrolment, yes: bool) -> None:
    """Have a person confirm that from now on files go to another account than before."""
    if enrolment.earlier is None or yes:
        return
    now = enrolment.account.name or enrolment.account.id
    text = f"{enrolment.connection} was connected to {enrolment.earlier}; this is {now}"
    if not sys.stdin.isatty():
        raise UsageError(text, cure="run it again with --yes if files shall go to the other account")
    if not typer.confirm(f"{text}. Shall files go there from now on?"):
        raise ConveyorError("nothing was changed", cure="sign out of the other account in the browser first")


def _tell(text: str) -> None:
    typer.echo(text, err=True)

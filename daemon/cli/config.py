"""Commands about the config: check, schema, show, and a first one to begin with."""

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path

from config.errors import BadInput, UserError
from config.paths import SYSTEM_DATA_DIR, SYSTEM_SOCKET
from daemon.cli.secret_input import SIGNING, ask_secret, from_variable
from daemon.cli.words import Commands

SERVICE_CONFIGS = Path("/etc")
SERVICES = {"slack": "https://hooks.slack.com/", "discord": "https://discord.com/api/webhooks/"}
"""Whose webhooks are spoken to in their own way, by how their addresses begin."""
TEMPLATE = """\
# Written by nightdesk init. What else may stand here: nightdesk config show, and docs/configuring.md.
data_dir: {data_dir}
control: {{socket: {socket}}}
billing:
  listen: {listen}
  tenants:
    - name: {tenant}
      token: {token}
      webhook_secrets: [{secret}]
alerts:
  channels:
{channels}
"""


def register(commands: Commands) -> None:
    """Add the commands."""
    init_ = commands.add_parser(
        "init",
        help="write a first config",
        description="Writes a first config, for one Stripe account, with a token nobody can guess. Asks for what is "
        "not given; the signing secret is asked for or read from the environment, never taken from the command line.",
    )
    init_.add_argument("file", nargs="?", type=Path, default=Path("nightdesk.yaml"), help="nightdesk.yaml")
    init_.add_argument("--tenant", help="a short name for the account")
    init_.add_argument("--secret-from", metavar="VARIABLE", help="the variable that holds the signing secret")
    init_.add_argument(
        "--webhook", metavar="URL", help="where incidents are told; of Slack or Discord in their own way"
    )
    init_.add_argument("--webhook-from", metavar="VARIABLE", help="the variable that holds it, where it is a secret")
    init_.add_argument("--listen", default="127.0.0.1:8787", metavar="HOST:PORT")
    init_.add_argument("--data-dir", metavar="DIR", help="beside the file; of a file in /etc, the service's own")
    init_.set_defaults(run=init)

    doctor_ = commands.add_parser(
        "doctor",
        help="look at everything the daemon needs; exit 1 where something is wrong",
        description="Looks at config, secrets, data directory, disk, port and channels: a line each, with the remedy.",
    )
    doctor_.add_argument("--config", type=Path, metavar="FILE")
    doctor_.add_argument("--json", action="store_true", help="for scripts")
    doctor_.set_defaults(run=doctor)

    config_ = commands.add_parser("config", help="check, describe or show the settings")
    actions = config_.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, run, meaning in (
        ("check", check, "is every setting right? one line for each that is not; exit 1"),
        ("show", show, "the settings in force, from file, environment and credentials; secrets masked"),
    ):
        action = actions.add_parser(name, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}.")
        action.add_argument("--config", type=Path, metavar="FILE")
        action.set_defaults(run=run)
    schema_ = actions.add_parser("schema", help="JSON Schema of the config file, for editors")
    schema_.set_defaults(run=schema)


def check(arguments: argparse.Namespace) -> int:
    """0, or 1 with every fault."""
    from config.load import load  # noqa: PLC0415 - only this command needs the settings
    from daemon import desk_start  # noqa: PLC0415 - as above

    try:
        desk_start.opener(load(arguments.config))
    except BadInput as error:
        print(f"nightdesk: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.config or 'environment and defaults'}: all settings are right")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """As YAML, which can be read back but for the masked secrets."""
    import yaml  # noqa: PLC0415 - as check

    from config.load import load  # noqa: PLC0415 - as check

    settings = load(arguments.config).model_dump(mode="json", by_alias=True)
    print(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), end="")
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """For `yaml-language-server` and its like."""
    from config.settings import Settings  # noqa: PLC0415 - as check

    del arguments
    print(json.dumps(Settings.model_json_schema(), indent=2))
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """0, or 1 where something is wrong."""
    from config.load import load  # noqa: PLC0415 - as check
    from daemon.doctor import examine  # noqa: PLC0415 - as check

    sick = 0
    for finding in examine(load(arguments.config), arguments.config):
        sick += not finding.well
        if arguments.json:
            print(json.dumps({"what": finding.what, "well": finding.well, "says": finding.says}))
        else:
            print(f"{'ok   ' if finding.well else 'WRONG'}  {finding.what}: {finding.says}")
    return 1 if sick else 0


def init(arguments: argparse.Namespace) -> int:
    """Write the file, readable by its owner only, and say what comes next."""
    from actors.kernel.clock import token  # noqa: PLC0415 - as check
    from config.load import load  # noqa: PLC0415 - as check

    path: Path = arguments.file
    with suppress(PermissionError):  # told when it cannot be written
        if path.exists():
            raise UserError(f"{path}: exists already; choose another name")
    tenant = arguments.tenant or _ask("A short name for the Stripe account", "main")
    own_token = token(24)
    if sys.stdin.isatty() and arguments.secret_from is None:  # Stripe gives out the secret for an address only
        print(f"In Stripe → Developers → Webhooks, add the endpoint https://your.host/webhook/{own_token}.")
    secret = ask_secret(SIGNING, arguments.secret_from)
    channel = _channel(_webhook(arguments))
    of_service = path.absolute().is_relative_to(SERVICE_CONFIGS)
    text = TEMPLATE.format(
        data_dir=arguments.data_dir or (SYSTEM_DATA_DIR if of_service else "./data"),
        socket=SYSTEM_SOCKET if of_service else "./nightdesk.sock",
        listen=json.dumps(arguments.listen),
        tenant=json.dumps(tenant),
        token=json.dumps(own_token),
        secret=json.dumps(secret),
        channels=f"    - {channel}",
    )
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(text)
        load(draft)
        draft.rename(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    except BadInput as error:
        raise BadInput(str(error).replace(f"{draft}: ", "")) from None
    finally:
        with suppress(PermissionError):
            draft.unlink(missing_ok=True)
    print(f"{path} is written; only you may read it.")
    if "console" in channel:
        print("Incidents are told on the daemon's terminal; docs/channels.md has the other ways.")
    print(f"Its endpoint in Stripe is https://your.host/webhook/{own_token}, in front of {arguments.listen}.")
    print(f"Then: nightdesk {'install-service' if of_service else 'run'} --config {path}")
    return 0


def _webhook(arguments: argparse.Namespace) -> str:
    if arguments.webhook_from is not None:
        return from_variable("--webhook-from", arguments.webhook_from)
    return arguments.webhook or _ask("Where to tell incidents: the address of a webhook, Slack's or Discord's too", "")


def _channel(url: str) -> str:
    """The entry of alerts.channels for an address; without one, the terminal. Telegram and mail need more than that."""
    if not url:
        return "{name: terminal, type: console}"
    kind = next((kind for kind, beginning in SERVICES.items() if url.startswith(beginning)), "webhook")
    return f"{{name: {'ops' if kind == 'webhook' else kind}, type: {kind}, url: {json.dumps(url)}}}"


def _ask(question: str, default: str) -> str:
    if not sys.stdin.isatty():
        return default
    return input(f"{question} [{default or 'the terminal'}]: ").strip() or default

"""`nightdesk install-service`: the units of systemd/, with the paths of this machine in them."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from config.errors import UserError
from daemon.cli.words import Commands

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - not used, but recognised
TARGETS = {
    "nightdesk.service": Path("etc/systemd/system/nightdesk.service"),
    "nightdesk.socket": Path("etc/systemd/system/nightdesk.socket"),
    "nightdesk.service.d/newer-systemd.conf": Path("etc/systemd/system/nightdesk.service.d/newer-systemd.conf"),
    "nightdesk.sysusers": Path("etc/sysusers.d/nightdesk.conf"),
}
STEPS_SINCE = 254
"""The version of systemd that knows RestartSteps=; older ones would warn of it at every reload."""


def register(commands: Commands) -> None:
    """Add the command."""
    install = commands.add_parser(
        "install-service",
        help="install the daemon as a systemd service",
        description="Writes the units and the user of the service, with the paths of this installation and of the "
        "config. Needs root, except with --dry-run.",
    )
    install.add_argument("--config", type=Path, default=Path("/etc/nightdesk/nightdesk.yaml"), metavar="FILE")
    install.add_argument("--dry-run", action="store_true", help="print what would be written, change nothing")
    install.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write, or with --dry-run print, every file."""
    from config.load import load  # noqa: PLC0415 - only this command needs the settings

    config = arguments.config.absolute()
    listen = load(config if config.exists() else None).billing.listen
    files = {target: text for name, target in TARGETS.items() if (text := render(name, config, listen)) is not None}
    if arguments.dry_run:
        for target, text in files.items():
            print(f"# /{target}\n{text}")
        return 0
    if os.geteuid() != 0:
        raise UserError("only root can install a service; look first with --dry-run")
    for target, text in files.items():
        path = Path("/") / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path}")
    for command in (["systemd-sysusers"], ["systemctl", "daemon-reload"]):
        subprocess.run(command, check=False)  # noqa: S603 - constants; it says itself what is wrong
    if config.exists():
        # Not for the group: its members may read the control socket, but not the secrets.
        shutil.chown(config, user="nightdesk")
        config.chmod(0o600)
    else:
        print(f"next: nightdesk init {config} && nightdesk install-service")
    print("then: systemctl enable --now nightdesk.socket nightdesk.service")
    return 0


def render(name: str, config: Path, listen: str) -> str | None:
    """A unit with this machine's paths in it; None where this systemd does not know what it says."""
    if name.endswith("newer-systemd.conf") and _systemd_version() < STEPS_SINCE:
        return None
    text = (units() / name).read_text()
    return text.replace("@NIGHTDESK@", str(_executable())).replace("@CONFIG@", str(config)).replace("@LISTEN@", listen)


def units() -> Path:
    """In an installed package beside this code, in a checkout at the top."""
    installed = Path(__file__).parent.parent / "units"
    return installed if installed.is_dir() else Path(__file__).parent.parent.parent / "systemd"


def _executable() -> Path:
    path = Path(sys.executable).parent / "nightdesk"
    if str(path).startswith(HIDDEN):
        # ProtectHome= and PrivateTmp= hide these from the service.
        raise UserError(f"{path}: a service cannot see that directory; install nightdesk below /opt or /usr/local")
    return path


def _systemd_version() -> int:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return 0
    said = subprocess.run([systemctl, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - as above
    return int(said.split()[1]) if said.startswith("systemd ") and said.split()[1].isdigit() else 0

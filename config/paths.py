"""Where things are, above all when nobody says so."""

import os
from pathlib import Path

from config.errors import BadInput

SYSTEM_DATA_DIR = Path("/var/lib/nightdesk")
SYSTEM_SOCKET = Path("/run/nightdesk/control.sock")

BARS = "bars"
"""The folder of the bar store, in the data directory."""


def default_data_dir() -> Path:
    """systemd's StateDirectory, else the user's own state folder."""
    return Path(os.environ.get("STATE_DIRECTORY") or Path.home() / ".local/state/nightdesk")


def data_dir_of(config: Path | None) -> Path:
    """Where a daemon with this config keeps its data. Other keys are not looked at: secrets may be elsewhere."""
    from config.yaml_file import read_yaml  # noqa: PLC0415 - YAML is only needed where there is a file

    said = os.environ.get("NIGHTDESK_DATA_DIR") or (read_yaml(config).get("data_dir") if config else None)
    if said is not None and not isinstance(said, str):
        raise BadInput(f"{config}: data_dir: expected text; put it in quotes")
    return Path(said) if said else default_data_dir()


def default_socket() -> Path:
    """systemd's RuntimeDirectory; for a command, the service's socket where there is one; else beside the data."""
    if runtime := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(runtime) / "control.sock"
    return SYSTEM_SOCKET if _there_is_a_service() else default_data_dir() / "control.sock"


def _there_is_a_service() -> bool:
    try:
        return SYSTEM_SOCKET.exists()
    except PermissionError:
        return True  # for others than us: whoever connects is told so

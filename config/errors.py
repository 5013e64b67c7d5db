"""What goes wrong in a way the user can mend: one line that says what, where and what to do."""


class UserError(Exception):
    """Shown to the user as the one line it carries; the process ends with `exit_code`."""

    exit_code = 1


class BadInput(UserError):
    """A file, field, argument or setting is wrong; nothing was changed. The line names it."""

    exit_code = 2


class DaemonUnreachable(UserError):
    """No daemon answers on the control socket."""

    exit_code = 3

"""`--since`: an instant, or how long ago; the one place where a command asks what time it is."""

from router.cli.exits import USAGE, CommandError
from router.model.times import parse_duration, parse_instant


def now_ns() -> int:
    """Now, nanoseconds since 1970 UTC."""
    from router.clock import SystemClock

    return SystemClock().wall_ns()


def since(text: str | None) -> int:
    """`"30d"` ago or RFC 3339 -> nanoseconds since 1970 UTC; 0 when not given. Raises CommandError."""
    if text is None:
        return 0
    try:
        return parse_instant(text)
    except ValueError:
        pass
    try:
        ago = parse_duration(text)
    except ValueError:
        message = f"--since {text} is neither an instant nor a duration"
        raise CommandError(USAGE, message, "Write 2026-11-24T00:00:00Z, or 30d for so long ago.") from None
    return max(0, now_ns() - ago)

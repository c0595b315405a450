"""Children that hear of signals, however pytest was started."""

import signal


def heed_all() -> None:
    """To be called in a child before its program: background jobs of a shell ignore SIGINT, those of nohup SIGHUP, and
    so would what they start.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)

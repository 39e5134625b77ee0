"""A command that ends with whoever started it, however that ends: kill -9 included.

Run as a script with the command's words, as the leader of a process group. Its standard input
is a pipe whose other end the starter alone holds: the system closes it with the starter, and
then the whole group is killed.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the command to its end; return its exit status."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    # A signal to the group is the command's: its status is told once it has ended.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _outlive_nobody() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

"""A command that ends with the process that started it, even if that is killed by SIGKILL.

Run as a script with the command as arguments, as the leader of a process group. Its standard
input is a pipe whose other end only the starting process has open: the system closes it when
that process ends, and then the whole group is killed.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the command to its end; return its exit status."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    # A signal to the group is for the command, whose exit status this process then passes on.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_kill_at_end_of_input, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _kill_at_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

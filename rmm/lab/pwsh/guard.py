"""`python guard.py PARENT PROGRAM ARGUMENT...` becomes the program, which the system kills when PARENT ends.

For the case that a lab is killed and can clean up nothing. Linux alone has this (prctl(2), PR_SET_PDEATHSIG); the
setting survives exec but not fork, so it must be made in the child, by a program: this one, which loads nothing else.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG, SIGKILL = 1, 9  # the numbers of Linux


def main(parent: int, command: list[str]) -> None:
    """Never returns: the process becomes the program, or ends."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0):
        sys.exit("prctl: the system does not take PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it ended before we could ask for its death
        sys.exit("the lab is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is the purpose
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

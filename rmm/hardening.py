"""What a process does before it holds a secret: it leaves no core dump, and its environment holds none either."""

from __future__ import annotations

import os
import sys

PASSPHRASE = "RMM_PASSPHRASE"  # noqa: S105 - the name of a variable
_PR_SET_DUMPABLE = 4  # prctl(2)


def keep_memory_private() -> None:
    """No core dump of this process, and on Linux no debugger of the same account.

    Windows has neither; there Windows Error Reporting writes dumps only where an administrator turned them on.
    """
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def take_from_environment(name: str = PASSPHRASE) -> str:
    """The variable's value, which afterwards is neither in this environment nor in that of any child; empty without it.

    Linux shows the environment with which a process was started for as long as it lives, so there it is overwritten in
    place.
    """
    value = os.environ.get(name, "")
    if value and sys.platform == "linux":
        import ctypes

        library = ctypes.CDLL(None)
        library.getenv.restype = ctypes.c_void_p
        place = library.getenv(name.encode())
        if place:
            ctypes.memset(place, 0, len(os.fsencode(value)))
    os.environ.pop(name, None)
    return value

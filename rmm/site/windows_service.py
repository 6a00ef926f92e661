"""A site collector as a service of Windows: the service control protocol, by ctypes.

Written by the documentation of Windows (StartServiceCtrlDispatcherW, RegisterServiceCtrlHandlerExW, SetServiceStatus in
learn.microsoft.com/windows/win32/api/winsvc); it was never seen on Windows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from rmm.errors import ConfigError

STOPPED, START_PENDING, STOP_PENDING, RUNNING = 1, 2, 3, 4
CONTROL_STOP, CONTROL_INTERROGATE, CONTROL_SHUTDOWN = 1, 4, 5
ACCEPT_STOP, ACCEPT_SHUTDOWN = 1, 4
OWN_PROCESS = 0x10
SERVICE_SPECIFIC = 1066  # ERROR_SERVICE_SPECIFIC_ERROR
NOT_IMPLEMENTED = 120  # ERROR_CALL_NOT_IMPLEMENTED
STOP_WAIT_MS = 30_000


def serve(name: str, main: Callable[[], int], stop: Callable[[], None]) -> None:
    """Tell the service manager that this process is the service `name`, and be it until `main` returns.

    Args:
        name: of the service, as it was created.
        main: does the work in a thread of its own; returns an exit code.
        stop: called in another thread when the service is to stop; `main` ends soon after.

    Raises ConfigError where this process was not started by the service manager.
    """
    if sys.platform == "win32":
        _serve(name, main, stop)
    else:
        raise ConfigError("--service is for Windows", hint="On Linux use the systemd unit of `rmm site install`.")


if sys.platform == "win32":

    def _serve(name: str, main: Callable[[], int], stop: Callable[[], None]) -> None:
        import ctypes
        from ctypes import wintypes

        advapi = ctypes.WinDLL("advapi32", use_last_error=True)

        class ServiceStatus(ctypes.Structure):
            _fields_ = (
                ("dwServiceType", wintypes.DWORD),
                ("dwCurrentState", wintypes.DWORD),
                ("dwControlsAccepted", wintypes.DWORD),
                ("dwWin32ExitCode", wintypes.DWORD),
                ("dwServiceSpecificExitCode", wintypes.DWORD),
                ("dwCheckPoint", wintypes.DWORD),
                ("dwWaitHint", wintypes.DWORD),
            )

        main_type = ctypes.WINFUNCTYPE(None, wintypes.DWORD, ctypes.POINTER(wintypes.LPWSTR))
        handler_type = ctypes.WINFUNCTYPE(
            wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID, wintypes.LPVOID
        )

        class TableEntry(ctypes.Structure):
            _fields_ = (("lpServiceName", wintypes.LPWSTR), ("lpServiceProc", main_type))

        advapi.RegisterServiceCtrlHandlerExW.restype = wintypes.HANDLE
        advapi.RegisterServiceCtrlHandlerExW.argtypes = (wintypes.LPCWSTR, handler_type, wintypes.LPVOID)
        advapi.SetServiceStatus.argtypes = (wintypes.HANDLE, ctypes.POINTER(ServiceStatus))
        handle: list[int] = []

        def tell(state: int, code: int = 0) -> None:
            accepted = ACCEPT_STOP | ACCEPT_SHUTDOWN if state == RUNNING else 0
            wait = STOP_WAIT_MS if state in (START_PENDING, STOP_PENDING) else 0
            status = ServiceStatus(OWN_PROCESS, state, accepted, SERVICE_SPECIFIC if code else 0, code, 0, wait)
            advapi.SetServiceStatus(handle[0], ctypes.byref(status))

        def on_control(control: int, _event: int, _data: int, _context: int) -> int:
            if control in (CONTROL_STOP, CONTROL_SHUTDOWN):
                tell(STOP_PENDING)
                stop()
                return 0
            return 0 if control == CONTROL_INTERROGATE else NOT_IMPLEMENTED

        kept = handler_type(on_control)  # ctypes does not keep a callback alive by itself

        def on_start(_count: int, _words: object) -> None:
            handle.append(advapi.RegisterServiceCtrlHandlerExW(name, kept, None))
            tell(RUNNING)
            code = 1
            try:
                code = main()
            finally:
                tell(STOPPED, code)

        started = main_type(on_start)
        table = (TableEntry * 2)(TableEntry(name, started), TableEntry(None, main_type()))
        if not advapi.StartServiceCtrlDispatcherW(table):
            raise ConfigError(
                f"this process is no service: error {ctypes.get_last_error()}",
                hint="`rmm site run` without --service runs it in a console; `rmm site install` makes the service.",
            )

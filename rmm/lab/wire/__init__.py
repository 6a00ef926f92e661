"""The lab's side of the wire: HTTP, authentication, WSMan, PSRP and WinRS, as Windows answers them."""

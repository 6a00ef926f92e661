"""What Windows and Windows PowerShell 5.1 really have, as compressed data; README.md beside this names the sources."""

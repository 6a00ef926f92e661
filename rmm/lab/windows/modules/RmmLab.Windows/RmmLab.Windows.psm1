# Stand-ins for Windows' commands, which read one machine's state: see README.md two folders above.
using namespace System.Management.Automation

# A part that cannot be read is no module; commands take their caller's preference.
$ErrorActionPreference = 'Stop'
foreach ($part in 'state', 'types', 'objects', 'wql', 'cim', 'registry') { . "$PSScriptRoot/$part.ps1" }
Import-RmmLabState -Path "$env:RMM_LAB_STATE"
Register-RmmLabProvider

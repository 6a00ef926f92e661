# Stand-ins for Windows' commands, which read one machine's state: see README.md two folders above.
using namespace System.Management.Automation

# A part that cannot be read is no module; commands take their caller's preference.
$ErrorActionPreference = 'Stop'
$parts = 'state', 'types', 'objects', 'wql', 'cim', 'registry', 'certificates', 'events', 'tasks', 'files', 'commands'
$parts += 'methods', 'accounts', 'sql'
foreach ($part in $parts) { . "$PSScriptRoot/$part.ps1" }
Import-RmmLabState -Path "$env:RMM_LAB_STATE"

# The providers, under the names that they have on Windows.
$core = @{ Registry = 'Microsoft.PowerShell.Core'; Certificate = 'Microsoft.PowerShell.Security' }
foreach ($type in [RmmLabRegistryProvider], [RmmLabCertificateProvider], [RmmLabFileProvider]) { Import-Module -Assembly $type.Assembly -Global }
foreach ($provider in Get-PSProvider -PSProvider @($core.Keys)) {
    $provider.GetType().GetField('_fullName', 'NonPublic, Instance').SetValue($provider, "$($core[$provider.Name])\$($provider.Name)")
}

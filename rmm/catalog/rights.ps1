#rmm:rights
# Tries each place once and reads nothing else of it: one line of JSON per place. Constrained Language Mode is enough.
param([string]$Places)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
foreach ($line in $Places -split "`n") {
    $kind, $place, $name = $line -split '\|'
    $found = @()
    $failure = $null
    try {
        if ($kind -eq 'wmi') {
            $found = @(Get-CimInstance -Namespace $place -ClassName $name -OperationTimeoutSec 10 | Select-Object -First 1)
        } else {
            $found = @(Get-Item -LiteralPath "Registry::$place")
        }
    } catch { $failure = $_ }
    $facts = @{ place = $line; instances = $found.Count; id = ''; category = ''; hresult = 0 }
    if ($failure) {
        $facts.id = "$($failure.FullyQualifiedErrorId)"
        $facts.category = "$($failure.CategoryInfo.Category)"
        if ($failure.Exception.HResult) { $facts.hresult = $failure.Exception.HResult }
    }
    ConvertTo-Json -InputObject $facts -Compress
}

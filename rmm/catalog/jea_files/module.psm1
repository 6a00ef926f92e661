# Made by `rmm collector jea` from the same scripts that rmm runs in other sessions: see docs/jea.md.
{{prologue}}
# A restricted session replaces these commands by functions of fewer parameters; here Windows' own are meant.
{{aliases}}
$RmmCollectors = @{
{{scripts}}
}
function {{command}} {
[CmdletBinding()]
param(
[Parameter(Mandatory = $true)]
[ValidateCount(1, 200)]
[ValidatePattern('^[a-z][a-z0-9_]{0,63}$')]
[string[]]$Collector
)
foreach ($wanted in $Collector) {
if ($RmmCollectors.ContainsKey($wanted)) {
Invoke-RmmCollector $wanted $RmmCollectors[$wanted]
} else {
'{"collector":"' + $wanted + '","host":' + (ConvertTo-Json -InputObject "$env:COMPUTERNAME" -Compress) + ',"ms":0,"error":{"id":"RmmNoCollector","category":"InvalidArgument","message":"not in this profile"}}'
}
}
}
Export-ModuleMember -Function {{command}}

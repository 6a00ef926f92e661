# Runner of a bundle: each collector in its own scope and its own try, one output string per collector as soon as it
# ends. Only syntax and types that Constrained Language Mode allows, except where a comment says so.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
# Not allowed in Constrained Language Mode; there the scripts' own care (no formatting of numbers) must do.
try { [System.Threading.Thread]::CurrentThread.CurrentCulture = [System.Globalization.CultureInfo]::InvariantCulture } catch { $null = $_ }
function Invoke-RmmCollector {
param([string]$Name, [scriptblock]$Script)
$started = Get-Date
$failure = $null
$document = $null
# The loop catches a stray break or continue, which would otherwise end the whole bundle.
do {
try { $document = & $Script | Select-Object -Last 1 } catch { $failure = $_ }
} while ($false)
if ($null -eq $failure -and ($document -isnot [string] -or $document -notlike '{*}')) {
return '{"collector":"' + $Name + '","host":' + (ConvertTo-Json -InputObject "$env:COMPUTERNAME" -Compress) + ',"ms":0,"error":{"id":"NoDocument","category":"InvalidResult","message":"the script wrote no document"}}'
}
$head = '{"collector":"' + $Name + '","host":' + (ConvertTo-Json -InputObject "$env:COMPUTERNAME" -Compress)
$head += ',"ms":' + [int]((Get-Date) - $started).TotalMilliseconds
if ($null -eq $failure) { return $head + ',"document":' + $document + '}' }
$hresult = 0
if ($failure.Exception.HResult) { $hresult = $failure.Exception.HResult }
$facts = @{
id = "$($failure.FullyQualifiedErrorId)"
category = "$($failure.CategoryInfo.Category)"
hresult = $hresult
message = "$($failure.Exception.Message)"
}
$head + ',"error":' + (ConvertTo-Json -InputObject $facts -Compress) + '}'
}

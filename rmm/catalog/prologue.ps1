# Runner of a bundle: each collector in its own scope and its own try, one output string per collector as soon as it
# ends. Only syntax and types that Constrained Language Mode allows, except where a comment says so.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
# Not allowed in Constrained Language Mode; there the scripts' own care (no formatting of numbers) must do.
try { [System.Threading.Thread]::CurrentThread.CurrentCulture = [System.Globalization.CultureInfo]::InvariantCulture } catch { $null = $_ }
# Which installation this is, so that another machine under the same name is noticed; left out where it cannot be read.
$RmmMachine = ''
try { $RmmMachine = ',"machine":' + (ConvertTo-Json -InputObject "$((Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Cryptography' -Name 'MachineGuid').MachineGuid)" -Compress) } catch { $null = $_ }
function Invoke-RmmCollector {
param([string]$Name, [scriptblock]$Script, [hashtable]$Arguments = @{})
if ($null -eq $Arguments) { $Arguments = @{} }
$started = Get-Date
$facts = $null
$document = $null
# The loop catches a stray break or continue, which would otherwise end the whole bundle. Whatever is said beside the
# output goes nowhere: texts for a console would travel all the same.
do {
try { $document = & $Script @Arguments 3>$null 4>$null 5>$null 6>$null | Select-Object -Last 1 } catch {
$hresult = 0
if ($_.Exception.HResult) { $hresult = $_.Exception.HResult }
$facts = @{ id = "$($_.FullyQualifiedErrorId)"; category = "$($_.CategoryInfo.Category)"; hresult = $hresult; message = "$($_.Exception.Message)" }
}
} while ($false)
$ms = [int]((Get-Date) - $started).TotalMilliseconds
if ($null -ne $facts) { $document = $null }
elseif ($document -isnot [string] -or $document -notlike '{*}') {
$facts = @{ id = 'NoDocument'; category = 'InvalidResult'; hresult = 0; message = 'the script wrote no document' }
} elseif ($document.Length -gt 4194304) {
# The same limit as rmm.core.parts has: what is longer would be refused there, after its way through the network.
$facts = @{ id = 'DocumentTooLarge'; category = 'LimitsExceeded'; hresult = 0; message = "the script wrote $($document.Length) characters" }
}
$head = '{"collector":"' + $Name + '","host":' + (ConvertTo-Json -InputObject "$env:COMPUTERNAME" -Compress) + $RmmMachine + ',"ms":' + $ms
if ($null -eq $facts) { return $head + ',"document":' + $document + '}' }
# Texts of an error are bounded too: whatever is longer says nothing more.
foreach ($text in 'id', 'message') { if ($facts[$text].Length -gt 2000) { $facts[$text] = $facts[$text].Substring(0, 2000) } }
$head + ',"error":' + (ConvertTo-Json -InputObject $facts -Compress) + '}'
}

# Made by `rmm collector jea` from the same scripts that rmm runs in other sessions: see docs/jea.md.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
try { [System.Threading.Thread]::CurrentThread.CurrentCulture = [System.Globalization.CultureInfo]::InvariantCulture } catch { $null = $_ }
function Invoke-RmmCollector {
param([string]$Name, [scriptblock]$Script, [hashtable]$Arguments = @{})
if ($null -eq $Arguments) { $Arguments = @{} }
$started = Get-Date
$facts = $null
$document = $null
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
$facts = @{ id = 'DocumentTooLarge'; category = 'LimitsExceeded'; hresult = 0; message = "the script wrote $($document.Length) characters" }
}
$head = '{"collector":"' + $Name + '","host":' + (ConvertTo-Json -InputObject "$env:COMPUTERNAME" -Compress) + ',"ms":' + $ms
if ($null -eq $facts) { return $head + ',"document":' + $document + '}' }
foreach ($text in 'id', 'message') { if ($facts[$text].Length -gt 2000) { $facts[$text] = $facts[$text].Substring(0, 2000) } }
$head + ',"error":' + (ConvertTo-Json -InputObject $facts -Compress) + '}'
}
# A restricted session replaces these commands by functions of fewer parameters; here Windows' own are meant.
Set-Alias -Name Measure-Object -Value Microsoft.PowerShell.Utility\Measure-Object
Set-Alias -Name Select-Object -Value Microsoft.PowerShell.Utility\Select-Object
$RmmCollectors = @{
cpu = {
$perf = Get-CimInstance -Query 'SELECT Name, PercentProcessorTime, PercentUserTime, PercentPrivilegedTime, PercentInterruptTime, PercentDPCTime, ProcessorFrequency, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Counters_ProcessorInformation'
$document = @{
perf = @($perf | Select-Object -Property Name, PercentProcessorTime, PercentUserTime, PercentPrivilegedTime, PercentInterruptTime, PercentDPCTime, ProcessorFrequency, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
disk = {
$perf = Get-CimInstance -Query 'SELECT Name, DiskReadsPersec, DiskWritesPersec, DiskReadBytesPersec, DiskWriteBytesPersec, AvgDiskReadQueueLength, AvgDiskWriteQueueLength, AvgDiskQueueLength, PercentIdleTime, PercentIdleTime_Base, SplitIOPerSec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfDisk_LogicalDisk'
$document = @{
perf = @($perf | Select-Object -Property Name, DiskReadsPersec, DiskWritesPersec, DiskReadBytesPersec, DiskWriteBytesPersec, AvgDiskReadQueueLength, AvgDiskWriteQueueLength, AvgDiskQueueLength, PercentIdleTime, PercentIdleTime_Base, SplitIOPerSec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
hardware = {
$computer = Get-CimInstance -Query 'SELECT Manufacturer, Model, TotalPhysicalMemory FROM Win32_ComputerSystem'
$product = Get-CimInstance -Query 'SELECT UUID, IdentifyingNumber FROM Win32_ComputerSystemProduct'
$bios = Get-CimInstance -Query 'SELECT SerialNumber, SMBIOSBIOSVersion, ReleaseDate FROM Win32_BIOS'
$enclosure = Get-CimInstance -Query 'SELECT ChassisTypes FROM Win32_SystemEnclosure'
$processor = Get-CimInstance -Query 'SELECT Name, NumberOfCores, NumberOfLogicalProcessors FROM Win32_Processor'
$disk = Get-CimInstance -Query 'SELECT Model, Size FROM Win32_DiskDrive'
$document = @{
computer = @($computer | Select-Object -Property Manufacturer, Model, TotalPhysicalMemory)
product = @($product | Select-Object -Property UUID, IdentifyingNumber)
bios = @(foreach ($item in $bios) {
$released = $null
if ($item.ReleaseDate) { $released = $item.ReleaseDate.ToUniversalTime().ToString('o') }
@{ SerialNumber = $item.SerialNumber; SMBIOSBIOSVersion = $item.SMBIOSBIOSVersion; ReleaseDate = $released }
})
enclosure = @(foreach ($item in $enclosure) { @{ ChassisTypes = @($item.ChassisTypes) } })
processor = @($processor | Select-Object -Property Name, NumberOfCores, NumberOfLogicalProcessors)
disk = @($disk | Select-Object -Property Model, Size)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
memory = {
$os = Get-CimInstance -Query 'SELECT TotalVisibleMemorySize, FreePhysicalMemory FROM Win32_OperatingSystem'
$perf = Get-CimInstance -Query 'SELECT AvailableBytes, CommittedBytes, CommitLimit, PagesPersec, PoolPagedBytes, PoolNonpagedBytes, FreeSystemPageTableEntries, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfOS_Memory'
$pagefile = Get-CimInstance -Query 'SELECT Name, AllocatedBaseSize, CurrentUsage FROM Win32_PageFileUsage'
$document = @{
os = @($os | Select-Object -Property TotalVisibleMemorySize, FreePhysicalMemory)
perf = @($perf | Select-Object -Property AvailableBytes, CommittedBytes, CommitLimit, PagesPersec, PoolPagedBytes, PoolNonpagedBytes, FreeSystemPageTableEntries, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
pagefile = @($pagefile | Select-Object -Property Name, AllocatedBaseSize, CurrentUsage)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
network = {
$perf = Get-CimInstance -Query 'SELECT Name, BytesReceivedPersec, BytesSentPersec, PacketsReceivedPersec, PacketsSentPersec, PacketsReceivedErrors, PacketsOutboundErrors, PacketsReceivedDiscarded, PacketsOutboundDiscarded, OutputQueueLength, CurrentBandwidth, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_NetworkInterface'
$document = @{
perf = @($perf | Select-Object -Property Name, BytesReceivedPersec, BytesSentPersec, PacketsReceivedPersec, PacketsSentPersec, PacketsReceivedErrors, PacketsOutboundErrors, PacketsReceivedDiscarded, PacketsOutboundDiscarded, OutputQueueLength, CurrentBandwidth, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
os = {
$os = Get-CimInstance -Query 'SELECT CSName, Caption, Version, BuildNumber, InstallDate, Locale FROM Win32_OperatingSystem'
$computer = Get-CimInstance -Query 'SELECT Domain, PartOfDomain FROM Win32_ComputerSystem'
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' -ErrorAction SilentlyContinue
$zone = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' -ErrorAction SilentlyContinue
$environment = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment' -ErrorAction SilentlyContinue
$document = @{
os = @(foreach ($item in $os) {
$installed = $null
if ($item.InstallDate) { $installed = $item.InstallDate.ToUniversalTime().ToString('o') }
@{
CSName = $item.CSName
Caption = $item.Caption
Version = $item.Version
BuildNumber = $item.BuildNumber
InstallDate = $installed
Locale = $item.Locale
}
})
computer = @($computer | Select-Object -Property Domain, PartOfDomain)
version = @($version | Select-Object -Property UBR, EditionID)
zone = @($zone | Select-Object -Property TimeZoneKeyName)
environment = @($environment | Select-Object -Property PROCESSOR_ARCHITECTURE)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
pending_reboot = {
$names = 'HKLM:\SYSTEM\CurrentControlSet\Control\ComputerName'
$session = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager'
$active = Get-ItemProperty -LiteralPath "$names\ActiveComputerName"
$next = Get-ItemProperty -LiteralPath "$names\ComputerName"
$cbs = @()
if (Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') { $cbs = @(@{}) }
$update = @()
if (Test-Path -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') { $update = @(@{}) }
$netlogon = @()
$key = 'HKLM:\SYSTEM\CurrentControlSet\Services\Netlogon'
if (Test-Path -LiteralPath $key) {
$values = Get-ItemProperty -LiteralPath $key
$netlogon = @(@{ JoinDomain = $values.JoinDomain; AvoidSpnSet = $values.AvoidSpnSet })
}
$renames = @($session.PendingFileRenameOperations | Where-Object -FilterScript { $_ } | Select-Object -First 20)
if ($renames.Count -eq 0) { $renames = $null }
$document = @{
cbs = $cbs
update = $update
session = @(@{ PendingFileRenameOperations = $renames })
active_name = @(@{ ComputerName = $active.ComputerName })
next_name = @(@{ ComputerName = $next.ComputerName })
netlogon = $netlogon
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
services = {
$service = Get-CimInstance -Query 'SELECT Name, DisplayName, State, StartMode, DelayedAutoStart, StartName, ExitCode, ProcessId FROM Win32_Service'
$notes = @()
$triggers = @()
try {
$keys = Get-Item -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\*\TriggerInfo' -ErrorAction SilentlyContinue -ErrorVariable problems
if (-not $keys -and $problems) { throw $problems[0] }
$triggers = @(foreach ($key in $keys) { @{ KeyName = @($key.Name -split '\\')[-2] } })
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError') { $reason = 'access_denied' }
$notes = @(@{ Source = 'triggers'; Reason = $reason })
}
$document = @{
service = @($service | Select-Object -Property Name, DisplayName, State, StartMode, DelayedAutoStart, StartName, ExitCode, ProcessId)
triggers = $triggers
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
software = {
$roots = @(
'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\*'
'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall\*'
'Registry::HKEY_USERS\*\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\*'
)
$root = -1
$uninstall = @(foreach ($path in $roots) {
$root++
foreach ($item in Get-ItemProperty -Path $path -ErrorAction SilentlyContinue) {
if ($null -eq $item.DisplayName) { continue }
@{
KeyName = $item.PSChildName
Root = $root
DisplayName = $item.DisplayName
DisplayVersion = $item.DisplayVersion
Publisher = $item.Publisher
InstallDate = $item.InstallDate
SystemComponent = $item.SystemComponent
ParentKeyName = $item.ParentKeyName
}
}
})
ConvertTo-Json -InputObject @{ uninstall = $uninstall } -Compress -Depth 4
}
system = {
$os = Get-CimInstance -Query 'SELECT CSName, LastBootUpTime FROM Win32_OperatingSystem'
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$perf = Get-CimInstance -Query 'SELECT Processes, Threads, ProcessorQueueLength, ContextSwitchesPersec, SystemCallsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfOS_System'
$computer = Get-CimInstance -Query 'SELECT NumberOfLogicalProcessors FROM Win32_ComputerSystem'
$document = @{
os = @(foreach ($item in $os) {
$boot = $null
if ($item.LastBootUpTime) { $boot = $item.LastBootUpTime.ToUniversalTime().ToString('o') }
@{ CSName = $item.CSName; LastBootUpTime = $boot }
})
utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
perf = @($perf | Select-Object -Property Processes, Threads, ProcessorQueueLength, ContextSwitchesPersec, SystemCallsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
computer = @($computer | Select-Object -Property NumberOfLogicalProcessors)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
volumes = {
$volume = Get-CimInstance -Query 'SELECT Name, Label, FileSystem, Capacity, FreeSpace, DirtyBitSet FROM Win32_Volume WHERE DriveType = 3'
$document = @{
volume = @($volume | Select-Object -Property Name, Label, FileSystem, Capacity, FreeSpace, DirtyBitSet)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
}
function Get-RmmData {
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
Export-ModuleMember -Function Get-RmmData

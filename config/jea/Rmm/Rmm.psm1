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
disk_health = {
function Get-Reason {
param($Failure)
if ("$($Failure.CategoryInfo.Category)" -eq 'PermissionDenied') { return 'access_denied' }
if ($Failure.FullyQualifiedErrorId -match '0x80041010|0x8004100e|0x8004100c|0x80041002') { return 'unsupported' }
'unknown'
}
$notes = @()
$disk = Get-CimInstance -Namespace 'root/Microsoft/Windows/Storage' -Query 'SELECT DeviceId, FriendlyName, SerialNumber, FirmwareVersion, MediaType, BusType, Size, HealthStatus, OperationalStatus, Usage, SlotNumber FROM MSFT_PhysicalDisk'
$counter = @()
try {
$counter = Get-CimInstance -Namespace 'root/Microsoft/Windows/Storage' -Query 'SELECT DeviceId, Wear, Temperature, TemperatureMax, PowerOnHours, ReadErrorsTotal, ReadErrorsUncorrected, WriteErrorsTotal, WriteErrorsUncorrected, StartStopCycleCount FROM MSFT_StorageReliabilityCounter'
} catch {
$notes += @{ Source = 'counter'; Reason = (Get-Reason -Failure $_) }
}
$smart = @()
try {
$status = Get-CimInstance -Namespace 'root/wmi' -Query 'SELECT InstanceName, PredictFailure, Reason FROM MSStorageDriver_FailurePredictStatus'
$drives = Get-CimInstance -Query 'SELECT Index, PNPDeviceID FROM Win32_DiskDrive'
$smart = @(foreach ($one in $status) {
foreach ($drive in $drives) {
if ($one.InstanceName -eq "$($drive.PNPDeviceID)_0") {
@{ DeviceId = "$($drive.Index)"; PredictFailure = $one.PredictFailure; Reason = $one.Reason }
}
}
})
} catch {
$notes += @{ Source = 'smart'; Reason = (Get-Reason -Failure $_) }
}
$document = @{
disk = @($disk | Select-Object -Property DeviceId, FriendlyName, SerialNumber, FirmwareVersion, MediaType, BusType, Size, HealthStatus, OperationalStatus, Usage, SlotNumber)
counter = @($counter | Select-Object -Property DeviceId, Wear, Temperature, TemperatureMax, PowerOnHours, ReadErrorsTotal, ReadErrorsUncorrected, WriteErrorsTotal, WriteErrorsUncorrected, StartStopCycleCount)
smart = $smart
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
events = {
param([hashtable]$Bookmarks = @{}, [int]$Seconds = 3600, [int]$MostEvents = 200)
$channels = @(
@{ Log = 'System'; Filter = '(Level=1 or Level=2 or Level=3 or EventID=1074 or EventID=19 or EventID=104)' }
@{ Log = 'Application'; Filter = '(Level=1 or Level=2 or Level=3)' }
@{ Log = 'Security'; Filter = '(EventID=4625 or EventID=4720 or EventID=4732 or EventID=4740 or EventID=1102)' }
@{ Log = 'Microsoft-Windows-PowerShell/Operational'; Filter = '(EventID=4104 and Level=3)' }
@{ Log = 'Microsoft-Windows-Backup'; Filter = '(EventID=4 or EventID=5 or EventID=14)' }
)
$positions = @{ '4625' = @(5, 6, 19); '4720' = @(0, 1, 4); '4732' = @(1, 2, 6); '4740' = @(0, 1); '4104' = @(); '20' = @(0, 1) }
$events = @()
$logs = @()
foreach ($channel in $channels) {
$name = $channel.Log
$log = @{ Log = $name; Provider = '*'; Id = 0; Level = -1; Access = 'ok'; More = $false }
try {
$newest = Get-WinEvent -LogName $name -MaxEvents 1
$log.Record = $newest.RecordId
$log.Time = $newest.TimeCreated.ToUniversalTime().ToString('o')
if ($Bookmarks[$name] -ne $newest.RecordId) {
$where = "TimeCreated[timediff(@SystemTime) <= $([long]$Seconds * 1000)]"
if ($null -ne $Bookmarks[$name]) { $where = "(EventRecordID > $([long]$Bookmarks[$name]) or $where)" }
$found = @(Get-WinEvent -LogName $name -FilterXPath "*[System[$($channel.Filter) and $where]]" -MaxEvents ($MostEvents + 1))
$log.More = $found.Count -gt $MostEvents
$events += foreach ($one in ($found | Select-Object -First $MostEvents)) {
$wanted = 0, 1, 2
if ($null -ne $positions["$($one.Id)"]) { $wanted = $positions["$($one.Id)"] }
$values = foreach ($at in $wanted) {
$value = $one.Properties[$at].Value
if ($value -is [datetime]) { $value.ToUniversalTime().ToString('o') }
elseif ($value -is [string] -or $value -is [ValueType]) { "$value" }
}
$detail = "$($values -join ', ')"
if ($detail.Length -gt 200) { $detail = $detail.Substring(0, 200) }
@{
Log = $name
Record = $one.RecordId
Time = $one.TimeCreated.ToUniversalTime().ToString('o')
Provider = $one.ProviderName
Id = $one.Id
Level = [int]$one.Level
Kind = "$($one.ProviderName)/$($one.Id)"
Detail = $detail
}
}
}
} catch {
$reason = "$($_.FullyQualifiedErrorId)"
if ($reason -like 'NoMatchingEventsFound*') { $log.Access = 'ok' }
elseif ($reason -like 'NoMatchingLogsFound*') { $log.Access = 'absent' }
elseif ($reason -like 'LogInfoUnavailable*' -or $_.Exception.HResult -eq -2147024891) { $log.Access = 'access_denied' }
else { $log.Access = 'unknown' }
}
$logs += $log
}
ConvertTo-Json -InputObject @{ event = @($events); log = @($logs) } -Compress -Depth 4
}
gpu = {
$notes = @()
$memory = @()
$engines = @()
try {
$memory = Get-CimInstance -Query 'SELECT Name, DedicatedUsage, SharedUsage FROM Win32_PerfRawData_GPUPerformanceCounters_GPUAdapterMemory'
$engines = Get-CimInstance -Query 'SELECT Name, UtilizationPercentage FROM Win32_PerfFormattedData_GPUPerformanceCounters_GPUEngine WHERE UtilizationPercentage > 0'
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
$notes = @(@{ Source = 'adapter'; Reason = $reason })
$memory = @()
}
$known = @{}
foreach ($key in Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\DirectX\*' -ErrorAction SilentlyContinue) {
if ($null -eq $key.AdapterLuid -or $null -eq $key.Description) { continue }
$luid = [long]$key.AdapterLuid
$high = ($luid -shr 32) -band 4294967295
$low = $luid -band 4294967295
$known['luid_0x' + $high.ToString('X8') + '_0x' + $low.ToString('X8')] = $key
}
$drivers = @{}
foreach ($item in Get-CimInstance -Query 'SELECT Name, DriverVersion FROM Win32_VideoController') {
if ($item.Name) { $drivers[$item.Name] = $item.DriverVersion }
}
$load = @{}
$kind = @{}
foreach ($item in $engines) {
if ("$($item.Name)" -notmatch '(luid_0x[0-9A-F]+_0x[0-9A-F]+)_phys_([0-9]+)_eng_([0-9]+)_engtype_(.*)$') { continue }
$engine = $Matches[1] + '|' + $Matches[2] + '|' + $Matches[3]
$load[$engine] = [double]$item.UtilizationPercentage + $load[$engine]
$kind[$engine] = $Matches[4]
}
$seen = @{}
$adapter = @(foreach ($item in $memory | Sort-Object -Property Name) {
if ("$($item.Name)" -notmatch '^(luid_0x[0-9A-F]+_0x[0-9A-F]+)_phys_([0-9]+)$') { continue }
$luid = $Matches[1]
$prefix = $luid + '|' + $Matches[2] + '|'
$found = $known[$luid]
if ($found.VendorId -eq 5140 -and $found.DeviceId -eq 140) { continue }
$name = $luid
if ($found) { $name = $found.Description }
$seen[$name] = 1 + $seen[$name]
$most = @{ Busiest = 0; Graphics = 0; Compute = 0; Copy = 0; Decode = 0; Encode = 0 }
foreach ($engine in @($load.Keys)) {
if ($engine -notlike "$prefix*") { continue }
$percent = $load[$engine]
if ($percent -gt 100) { $percent = 100 }
$type = 'Other'
if ($kind[$engine] -match '3D$') { $type = 'Graphics' }
if ($kind[$engine] -match '^(Compute|Cuda)') { $type = 'Compute' }
if ($kind[$engine] -match '^Copy') { $type = 'Copy' }
if ($kind[$engine] -match '^Video ?Decode') { $type = 'Decode' }
if ($kind[$engine] -match '^Video ?Encode') { $type = 'Encode' }
foreach ($place in 'Busiest', $type) {
if ($most.ContainsKey($place) -and $percent -gt $most[$place]) { $most[$place] = $percent }
}
}
$driver = $null
if ($drivers.ContainsKey($name)) { $driver = $drivers[$name] }
$size = $null
if ($found.DedicatedVideoMemory) { $size = $found.DedicatedVideoMemory }
if ($seen[$name] -gt 1) { $name = $name + ' #' + $seen[$name] }
@{
Name = $name
Driver = $driver
Busiest = $most['Busiest']
Graphics = $most['Graphics']
Compute = $most['Compute']
Copy = $most['Copy']
Decode = $most['Decode']
Encode = $most['Encode']
DedicatedUsage = $item.DedicatedUsage
DedicatedSize = $size
SharedUsage = $item.SharedUsage
}
})
ConvertTo-Json -InputObject @{ adapter = $adapter; notes = $notes } -Compress -Depth 4
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
net_config = {
function Get-Reason {
param($Failure)
if ("$($Failure.CategoryInfo.Category)" -eq 'PermissionDenied') { return 'access_denied' }
if ($Failure.FullyQualifiedErrorId -match '0x80041010|0x8004100e|0x8004100c|0x80041002') { return 'unsupported' }
'unknown'
}
$notes = @()
$adapter = Get-CimInstance -Namespace 'root/StandardCimv2' -Query 'SELECT Name, InterfaceDescription, InterfaceIndex, NetworkAddresses, HardwareInterface, Virtual, InterfaceAdminStatus, InterfaceOperationalStatus, MediaConnectState, MediaDuplexState, NdisPhysicalMedium, ReceiveLinkSpeed, MtuSize, VlanID, DriverProvider, DriverVersionString, DriverDate FROM MSFT_NetAdapter WHERE Hidden = FALSE'
$config = @()
try {
$config = Get-CimInstance -Query 'SELECT InterfaceIndex, IPAddress, IPSubnet, DefaultIPGateway, DNSServerSearchOrder, DNSDomain, DHCPEnabled, DHCPServer, DHCPLeaseExpires FROM Win32_NetworkAdapterConfiguration WHERE IPEnabled = TRUE'
} catch {
$notes += @{ Source = 'config'; Reason = (Get-Reason -Failure $_) }
}
$profiles = @()
try {
$profiles = Get-CimInstance -Namespace 'root/StandardCimv2' -Query 'SELECT InterfaceIndex, Name, NetworkCategory, IPv4Connectivity, IPv6Connectivity FROM MSFT_NetConnectionProfile'
} catch {
$notes += @{ Source = 'profile'; Reason = (Get-Reason -Failure $_) }
}
$route4 = @()
try {
$route4 = Get-CimInstance -Namespace 'root/StandardCimv2' -Query "SELECT InterfaceIndex, NextHop, RouteMetric, InterfaceMetric FROM MSFT_NetRoute WHERE DestinationPrefix = '0.0.0.0/0'"
} catch {
$notes += @{ Source = 'route4'; Reason = (Get-Reason -Failure $_) }
}
$route6 = @()
try {
$route6 = Get-CimInstance -Namespace 'root/StandardCimv2' -Query "SELECT InterfaceIndex, NextHop, RouteMetric, InterfaceMetric FROM MSFT_NetRoute WHERE DestinationPrefix = '::/0'"
} catch {
$notes += @{ Source = 'route6'; Reason = (Get-Reason -Failure $_) }
}
$document = @{
adapter = @($adapter | Select-Object -Property Name, InterfaceDescription, InterfaceIndex, NetworkAddresses, HardwareInterface, Virtual, InterfaceAdminStatus, InterfaceOperationalStatus, MediaConnectState, MediaDuplexState, NdisPhysicalMedium, ReceiveLinkSpeed, MtuSize, VlanID, DriverProvider, DriverVersionString, DriverDate)
config = @(foreach ($item in $config) {
$expires = $null
if ($item.DHCPLeaseExpires) { $expires = $item.DHCPLeaseExpires.ToUniversalTime().ToString('o') }
@{
InterfaceIndex = $item.InterfaceIndex
IPAddress = $item.IPAddress
IPSubnet = $item.IPSubnet
DefaultIPGateway = $item.DefaultIPGateway
DNSServerSearchOrder = $item.DNSServerSearchOrder
DNSDomain = $item.DNSDomain
DHCPEnabled = $item.DHCPEnabled
DHCPServer = $item.DHCPServer
DHCPLeaseExpires = $expires
}
})
profile = @($profiles | Select-Object -Property InterfaceIndex, Name, NetworkCategory, IPv4Connectivity, IPv6Connectivity)
route4 = @($route4 | Select-Object -Property InterfaceIndex, NextHop, RouteMetric, InterfaceMetric)
route6 = @($route6 | Select-Object -Property InterfaceIndex, NextHop, RouteMetric, InterfaceMetric)
notes = $notes
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
printers = {
function Get-Reason {
param($Failure)
if ("$($Failure.CategoryInfo.Category)" -eq 'PermissionDenied') { return 'access_denied' }
if ($Failure.FullyQualifiedErrorId -match '0x80041010|0x8004100e|0x8004100c|0x80041002') { return 'unsupported' }
'unknown'
}
$notes = @()
$printer = @()
try {
$printer = Get-CimInstance -Query 'SELECT Name, DriverName, PortName, Location, Shared, ShareName, Published, Network, Default, WorkOffline, PrinterStatus, PrinterState, DetectedErrorState FROM Win32_Printer'
} catch {
$notes += @{ Source = 'printer'; Reason = (Get-Reason -Failure $_) }
}
$queue = @()
try {
$queue = Get-CimInstance -Query 'SELECT Name, Jobs, JobsSpooling, JobErrors, NotReadyErrors, OutofPaperErrors, TotalJobsPrinted, TotalPagesPrinted FROM Win32_PerfRawData_Spooler_PrintQueue'
} catch {
$notes += @{ Source = 'queue'; Reason = (Get-Reason -Failure $_) }
}
$document = @{
printer = @($printer | Select-Object -Property Name, DriverName, PortName, Location, Shared, ShareName, Published, Network, Default, WorkOffline, PrinterStatus, PrinterState, DetectedErrorState)
queue = @($queue | Select-Object -Property Name, Jobs, JobsSpooling, JobErrors, NotReadyErrors, OutofPaperErrors, TotalJobsPrinted, TotalPagesPrinted)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
processes = {
$process = Get-CimInstance -Query 'SELECT Name, IDProcess, ElapsedTime, PercentProcessorTime, WorkingSet, PrivateBytes, IODataBytesPersec, HandleCount, ThreadCount, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfProc_Process'
$computer = Get-CimInstance -Query 'SELECT NumberOfLogicalProcessors FROM Win32_ComputerSystem'
$document = @{
process = @($process | Select-Object -Property Name, IDProcess, ElapsedTime, PercentProcessorTime, WorkingSet, PrivateBytes, IODataBytesPersec, HandleCount, ThreadCount, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
computer = @($computer | Select-Object -Property NumberOfLogicalProcessors)
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
shares = {
$share = Get-CimInstance -Query 'SELECT Name, Path, Description, Type, MaximumAllowed FROM Win32_Share'
$notes = @()
$smb = @()
try {
$smb = Get-CimInstance -Namespace 'root/Microsoft/Windows/SMB' -Query 'SELECT Name, SecurityDescriptor, EncryptData, FolderEnumerationMode, CachingMode, ContinuouslyAvailable FROM MSFT_SmbShare'
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
$notes = @(@{ Source = 'smb'; Reason = $reason })
}
$document = @{
share = @($share | Select-Object -Property Name, Path, Description, Type, MaximumAllowed)
smb = @($smb | Select-Object -Property Name, SecurityDescriptor, EncryptData, FolderEnumerationMode, CachingMode, ContinuouslyAvailable)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
smb = {
$notes = @()
$server = @()
try {
$server = Get-CimInstance -Query 'SELECT ServerSessions, FilesOpen, BytesReceivedPersec, BytesTransmittedPersec, LogonPersec, ErrorsLogon, ErrorsAccessPermissions, ErrorsGrantedAccess, ErrorsSystem, SessionsErroredOut, SessionsTimedOut, SessionsForcedOff, WorkItemShortages, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfNet_Server'
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
$notes = @(@{ Source = 'server'; Reason = $reason })
}
$document = @{
server = @($server | Select-Object -Property ServerSessions, FilesOpen, BytesReceivedPersec, BytesTransmittedPersec, LogonPersec, ErrorsLogon, ErrorsAccessPermissions, ErrorsGrantedAccess, ErrorsSystem, SessionsErroredOut, SessionsTimedOut, SessionsForcedOff, WorkItemShortages, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
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
tcp = {
$v4 = Get-CimInstance -Query 'SELECT ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_TCPv4'
$notes = @()
$v6 = @()
try {
$v6 = Get-CimInstance -Query 'SELECT ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_TCPv6'
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
$notes = @(@{ Source = 'v6'; Reason = $reason })
}
$document = @{
v4 = @($v4 | Select-Object -Property ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
v6 = @($v6 | Select-Object -Property ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
tcp_states = {
$connections = Get-CimInstance -Namespace 'root/StandardCimv2' -Query 'SELECT State, LocalPort FROM MSFT_NetTCPConnection'
$setting = Get-CimInstance -Namespace 'root/StandardCimv2' -Query "SELECT DynamicPortRangeStartPort, DynamicPortRangeNumberOfPorts FROM MSFT_NetTCPSetting WHERE SettingName = 'Internet'" | Select-Object -First 1
$first = [int]$setting.DynamicPortRangeStartPort
$ports = [int]$setting.DynamicPortRangeNumberOfPorts
$count = @{}
$taken = @{}
foreach ($item in $connections) {
$state = "$([int]$item.State)"
$count[$state] = 1 + $count[$state]
$port = [int]$item.LocalPort
if ($port -ge $first -and $port -lt $first + $ports) { $taken["$port"] = $true }
}
$dynamic = $null
$used = $null
if ($ports -gt 0) {
$dynamic = $ports
$used = $taken.Count
}
$states = @{
Listen = 0 + $count['2']
SynSent = 0 + $count['3']
SynReceived = 0 + $count['4']
Established = 0 + $count['5']
FinWait = 0 + $count['6'] + $count['7']
CloseWait = 0 + $count['8']
Closing = 0 + $count['9'] + $count['10']
TimeWait = 0 + $count['11']
Bound = 0 + $count['100']
Total = @($connections).Count
DynamicPorts = $dynamic
DynamicUsed = $used
}
ConvertTo-Json -InputObject @{ states = @($states) } -Compress -Depth 4
}
thermal = {
$notes = @()
$zone = @()
try {
$zone = Get-CimInstance -Query 'SELECT Name, HighPrecisionTemperature, PercentPassiveLimit, ThrottleReasons FROM Win32_PerfRawData_Counters_ThermalZoneInformation'
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
$notes = @(@{ Source = 'zone'; Reason = $reason })
}
$document = @{
zone = @($zone | Select-Object -Property Name, HighPrecisionTemperature, PercentPassiveLimit, ThrottleReasons)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
ups = {
$battery = Get-CimInstance -Query 'SELECT DeviceID, Name, EstimatedChargeRemaining, EstimatedRunTime, BatteryStatus, DesignVoltage FROM Win32_Battery'
$computer = Get-CimInstance -Query 'SELECT PCSystemType FROM Win32_ComputerSystem'
$document = @{
battery = @($battery | Select-Object -Property DeviceID, Name, EstimatedChargeRemaining, EstimatedRunTime, BatteryStatus, DesignVoltage)
computer = @($computer | Select-Object -Property PCSystemType)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
users = {
$notes = @()
$sessions = @()
try {
$sessions = Get-CimInstance -Query 'SELECT ActiveSessions, InactiveSessions, TotalSessions FROM Win32_PerfRawData_LocalSessionManager_TerminalServices'
} catch {
$reason = 'unknown'
if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
$notes += @{ Source = 'sessions'; Reason = $reason }
}
$computer = Get-CimInstance -Query 'SELECT UserName FROM Win32_ComputerSystem'
$keys = Get-ItemProperty -Path 'Registry::HKEY_USERS\*\Volatile Environment' -ErrorAction SilentlyContinue -ErrorVariable failures
$logons = @(foreach ($key in $keys) {
@{ KeyName = @($key.PSPath -split '\\')[-2]; USERDOMAIN = $key.USERDOMAIN; USERNAME = $key.USERNAME }
})
if (@($failures | Where-Object -FilterScript { "$($_.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' }).Count -gt 0) {
$logons = @()
$notes += @{ Source = 'logons'; Reason = 'access_denied' }
}
$document = @{
sessions = @($sessions | Select-Object -Property ActiveSessions, InactiveSessions, TotalSessions)
computer = @($computer | Select-Object -Property UserName)
logons = $logons
notes = $notes
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

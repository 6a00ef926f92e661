# Made by `rmm collector jea` from the same scripts that rmm runs in other sessions: see docs/jea.md.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
try { [System.Threading.Thread]::CurrentThread.CurrentCulture = [System.Globalization.CultureInfo]::InvariantCulture } catch { $null = $_ }
$RmmMachine = ''
try { $RmmMachine = ',"machine":' + (ConvertTo-Json -InputObject "$((Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Cryptography' -Name 'MachineGuid').MachineGuid)" -Compress) } catch { $null = $_ }
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
$head = '{"collector":"' + $Name + '","host":' + (ConvertTo-Json -InputObject "$env:COMPUTERNAME" -Compress) + $RmmMachine + ',"ms":' + $ms
if ($null -eq $facts) { return $head + ',"document":' + $document + '}' }
foreach ($text in 'id', 'message') { if ($facts[$text].Length -gt 2000) { $facts[$text] = $facts[$text].Substring(0, 2000) } }
$head + ',"error":' + (ConvertTo-Json -InputObject $facts -Compress) + '}'
}
function Get-Reason {
param($Failure)
$id = "$($Failure.FullyQualifiedErrorId)"
if ($id -match 'ConstrainedLanguage|^ConversionSupportedOnlyToCoreTypes') { return 'unsupported' }
if ("$($Failure.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' -or $id -match '^HRESULT 0x80041003') { return 'access_denied' }
for ($inner = $Failure.Exception; $inner; $inner = $inner.InnerException) {
if ($inner.HResult -eq -2147024891 -or $inner.Number -in 229, 262, 297, 300, 371, 916, 4060, 18452, 18456) { return 'access_denied' }
}
if ($id -match '^(HRESULT 0x800410(02|0C|0E|10)|NoMatchingLogsFound|CommandNotFoundException|CouldNotAutoloadMatchingModule)') { return 'unsupported' }
'unknown'
}
function ConvertTo-Utc {
param($Value)
if ($Value -is [datetime]) { return $Value.ToUniversalTime().ToString('o') }
$Value
}
function Get-Newest {
param([string]$Log, [string]$XPath, [int]$Most = 1)
try {
Get-WinEvent -LogName $Log -FilterXPath $XPath -MaxEvents $Most -ErrorAction Stop
} catch {
if ("$($_.FullyQualifiedErrorId)" -notlike 'NoMatchingEventsFound*') { throw }
}
}
function Read-Key {
param([hashtable]$Document, [string]$Source, [string[]]$Keys, [string[]]$Names)
$found = @{}
try {
foreach ($key in $Keys) {
if (-not (Test-Path -LiteralPath $key)) { continue }
foreach ($name in $Names) {
if (-not $found.ContainsKey($name)) { $found[$name] = $null }
}
$item = Get-ItemProperty -LiteralPath $key -ErrorAction Stop | Select-Object -Property $Names
if ($null -eq $item) { continue }
foreach ($entry in $item.PSObject.Properties) {
if ($null -ne $entry.Value) { $found[$entry.Name] = $entry.Value }
}
}
} catch {
$Document.notes += @(@{ Source = $Source; Reason = (Get-Reason -Failure $_) })
$found = @{}
}
$Document[$Source] = @(if ($found.Count -gt 0) { $found })
}
function Read-SqlRow {
param($Connection, [string]$Text)
$command = New-Object -TypeName System.Data.SqlClient.SqlCommand -ArgumentList $Text, $Connection
$command.CommandTimeout = 10
$reader = $command.ExecuteReader()
try {
while ($reader.Read()) {
$row = @{}
for ($place = 0; $place -lt $reader.FieldCount; $place++) {
$value = $reader.GetValue($place)
if ($value -is [System.DBNull]) { $value = $null }
$row[$reader.GetName($place)] = $value
}
$row
}
} finally {
$reader.Close()
}
}
# A restricted session replaces these commands by functions of fewer parameters; here Windows' own are meant.
Set-Alias -Name Measure-Object -Value Microsoft.PowerShell.Utility\Measure-Object
Set-Alias -Name Select-Object -Value Microsoft.PowerShell.Utility\Select-Object
$RmmCollectors = @{
accounts = {
$notes = @()
$account = @()
$times = @()
$system = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem'
if ($system.ProductType -eq 2) {
$notes = @(@{ Source = 'account'; Reason = 'unsupported' }, @{ Source = 'times'; Reason = 'unsupported' })
} else {
try {
$account = @(Get-CimInstance -Query 'SELECT SID, Name, FullName, Disabled, Lockout, PasswordRequired, PasswordExpires, PasswordChangeable FROM Win32_UserAccount WHERE LocalAccount = TRUE' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'account'; Reason = (Get-Reason -Failure $_) }) }
try {
$times = @(foreach ($user in Get-LocalUser -ErrorAction Stop) {
@{
SID = "$($user.SID)"
PasswordLastSet = ConvertTo-Utc -Value $user.PasswordLastSet
LastLogon = ConvertTo-Utc -Value $user.LastLogon
AccountExpires = ConvertTo-Utc -Value $user.AccountExpires
}
})
} catch { $notes += @(@{ Source = 'times'; Reason = (Get-Reason -Failure $_) }) }
}
$document = @{
account = @($account | Select-Object -Property SID, Name, FullName, Disabled, Lockout, PasswordRequired, PasswordExpires, PasswordChangeable)
times = $times
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
ad_dc = {
$notes = @()
$perf = Get-CimInstance -Query 'SELECT LDAPSearchesPersec, LDAPSuccessfulBindsPersec, LDAPWritesPersec, LDAPClientSessions, LDAPActiveThreads, LDAPBindTime, DSDirectoryReadsPersec, DSDirectoryWritesPersec, DRAInboundBytesTotalPersec, DRAOutboundBytesTotalPersec, DRAPendingReplicationOperations, DRAPendingReplicationSynchronizations, ATQOutstandingQueuedRequests, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_DirectoryServices_DirectoryServices'
$dc = @()
try {
$dc = @(Get-CimInstance -Namespace root/MicrosoftActiveDirectory -Query 'SELECT SiteName, IsGC, IsAdvertisingToLocator, IsSysVolReady, IsRegisteredInDNS, PercentOfRIDsLeft, IsNextRIDPoolAvailable FROM MSAD_DomainController')
} catch {
$notes += @{ Source = 'dc'; Reason = Get-Reason $_ }
}
$computer = Get-CimInstance -Query 'SELECT Name, Domain, DomainRole FROM Win32_ComputerSystem'
$sysvol = @()
try {
$sysvol = @(Get-CimInstance -Namespace root/MicrosoftDFS -Query "SELECT ReplicatedFolderName, State, LastErrorCode FROM DfsrReplicatedFolderInfo WHERE ReplicatedFolderName = 'SYSVOL Share'")
} catch {
$notes += @{ Source = 'sysvol'; Reason = Get-Reason $_ }
}
$sysvol_share = @()
try {
$sysvol_share = @(Get-CimInstance -Query "SELECT Name FROM Win32_Share WHERE Name = 'SYSVOL'")
} catch {
$notes += @{ Source = 'sysvol_share'; Reason = Get-Reason $_ }
}
$netlogon_share = @()
try {
$netlogon_share = @(Get-CimInstance -Query "SELECT Name FROM Win32_Share WHERE Name = 'NETLOGON'")
} catch {
$notes += @{ Source = 'netlogon_share'; Reason = Get-Reason $_ }
}
$document = @{
perf = @($perf | Select-Object -Property LDAPSearchesPersec, LDAPSuccessfulBindsPersec, LDAPWritesPersec, LDAPClientSessions, LDAPActiveThreads, LDAPBindTime, DSDirectoryReadsPersec, DSDirectoryWritesPersec, DRAInboundBytesTotalPersec, DRAOutboundBytesTotalPersec, DRAPendingReplicationOperations, DRAPendingReplicationSynchronizations, ATQOutstandingQueuedRequests, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
dc = @($dc | Select-Object -Property SiteName, IsGC, IsAdvertisingToLocator, IsSysVolReady, IsRegisteredInDNS, PercentOfRIDsLeft, IsNextRIDPoolAvailable)
computer = @($computer | Select-Object -Property Name, Domain, DomainRole)
sysvol = @($sysvol | Select-Object -Property ReplicatedFolderName, State, LastErrorCode)
sysvol_share = @($sysvol_share | Select-Object -Property Name)
netlogon_share = @($netlogon_share | Select-Object -Property Name)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
ad_replication = {
$neighbor = Get-CimInstance -Namespace root/MicrosoftActiveDirectory -Query 'SELECT NamingContextDN, SourceDsaCN, SourceDsaObjGuid, SourceDsaSite, TimeOfLastSyncSuccess, TimeOfLastSyncAttempt, LastSyncResult, NumConsecutiveSyncFailures, NeverSynced, IsDeletedSourceDsa FROM MSAD_ReplNeighbor'
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
neighbor = @(foreach ($item in $neighbor) {
@{
NamingContextDN = $item.NamingContextDN
SourceDsaCN = $item.SourceDsaCN
SourceDsaObjGuid = $item.SourceDsaObjGuid
SourceDsaSite = $item.SourceDsaSite
TimeOfLastSyncSuccess = ConvertTo-Utc $item.TimeOfLastSyncSuccess
TimeOfLastSyncAttempt = ConvertTo-Utc $item.TimeOfLastSyncAttempt
LastSyncResult = $item.LastSyncResult
NumConsecutiveSyncFailures = $item.NumConsecutiveSyncFailures
NeverSynced = $item.NeverSynced
IsDeletedSourceDsa = $item.IsDeletedSourceDsa
}
})
utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
ad_trusts = {
$trust = Get-CimInstance -Namespace root/MicrosoftActiveDirectory -Query 'SELECT TrustedDomain, TrustDirection, TrustType, TrustAttributes, TrustedDCName, TrustIsOk, TrustStatus FROM Microsoft_DomainTrustStatus'
$document = @{
trust = @($trust | Select-Object -Property TrustedDomain, TrustDirection, TrustType, TrustAttributes, TrustedDCName, TrustIsOk, TrustStatus)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
antivirus = {
$notes = @()
$product = @()
try {
$product = @(Get-CimInstance -Namespace root/securitycenter2 -Query 'SELECT instanceGuid, displayName, productState FROM AntiVirusProduct' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'product'; Reason = (Get-Reason -Failure $_) }) }
$service = Get-CimInstance -Query "SELECT Name, State, StartMode FROM Win32_Service WHERE Name = 'WinDefend' OR Name = 'SAVService' OR Name = 'Sophos Endpoint Defense Service' OR Name = 'Sophos File Scanner Service' OR Name = 'ekrn' OR Name LIKE 'AVP%' OR Name = 'KAVFS' OR Name = 'SepMasterService' OR Name = 'McShield' OR Name = 'mfetp' OR Name = 'ntrtscan' OR Name = 'TMBMServer' OR Name = 'ds_agent' OR Name = 'Amsp' OR Name = 'EPSecurityService' OR Name = 'VSSERV' OR Name = 'CSFalconService' OR Name = 'SentinelAgent' OR Name = 'CylanceSvc' OR Name = 'CbDefense' OR Name = 'cyserver' OR Name = 'fshoster' OR Name = 'avast! Antivirus' OR Name = 'AVG Antivirus' OR Name = 'AntiVirService' OR Name = 'AVKWCtl' OR Name = 'MBAMService' OR Name = 'WRSVC' OR Name = 'PSUAService' OR Name = 'xagt' OR Name = 'ElasticEndpoint' OR Name LIKE 'CiscoAMP%' OR Name = 'SBAMSvc'"
$os = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem'
$document = @{
product = @($product | Select-Object -Property instanceGuid, displayName, productState)
service = @($service | Select-Object -Property Name, State, StartMode)
os = @($os | Select-Object -Property ProductType)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
appx = {
$notes = @()
$package = @()
try {
$package = @(foreach ($item in Get-AppxPackage -AllUsers -ErrorAction Stop) {
@{
PackageFamilyName = $item.PackageFamilyName
Version = "$($item.Version)"
Architecture = "$($item.Architecture)"
Name = $item.Name
Publisher = $item.Publisher
IsFramework = $item.IsFramework
SignatureKind = "$($item.SignatureKind)"
Status = "$($item.Status)"
}
})
} catch {
if ((Get-Reason $_) -ne 'unsupported') { throw }
$notes = @(@{ Source = 'package'; Reason = 'unsupported' })
}
ConvertTo-Json -InputObject @{ package = $package; notes = $notes } -Compress -Depth 4
}
backup = {
function Get-Later {
param($One, $Other)
if (-not $Other -or ($One -and $One -gt $Other)) { return $One }
$Other
}
$product = @()
$notes = @()
$vss = $null
try {
$vss = ConvertTo-Utc (Get-Newest -Log 'Application' -XPath '*[System[Provider[@Name="VSS"] and Level=2]]').TimeCreated
} catch { $notes += @{ Source = 'product'; Reason = Get-Reason $_ } }
$kinds = @(
@{
Name = 'windows server backup'
Log = 'Microsoft-Windows-Backup'
Good = '*[System[Provider[@Name="Microsoft-Windows-Backup"] and EventID=4]]'
Bad = '*[System[Provider[@Name="Microsoft-Windows-Backup"] and Level=2]]'
}
@{
Name = 'veeam agent'
Log = 'Veeam Agent'
Good = '*[System[Provider[@Name="Veeam Agent"] and EventID=190 and (Level=0 or Level=3 or Level=4)]]'
Bad = '*[System[Provider[@Name="Veeam Agent"] and EventID=190 and Level=2]]'
}
@{
Name = 'veeam backup'
Log = 'Veeam Backup'
Good = '*[System[Provider[@Name="Veeam MP"] and EventID=190 and (Level=0 or Level=3 or Level=4)]]'
Bad = '*[System[Provider[@Name="Veeam MP"] and EventID=190 and Level=2]]'
}
)
foreach ($kind in $kinds) {
$good = $null
$bad = $null
try {
$good = Get-Newest -Log $kind['Log'] -XPath $kind['Good']
$bad = Get-Newest -Log $kind['Log'] -XPath $kind['Bad']
} catch {
$reason = Get-Reason $_
if ($reason -ne 'unsupported') { $notes += @{ Source = 'product'; Reason = $reason } }
}
if (-not $good -and -not $bad) { continue }
$failure = $null
if ($bad) { $failure = $bad.Id }
$warned = $null
if ($good) { $warned = $good.Level -eq 3 }
$product += @{
Product = $kind['Name']
LastSuccess = ConvertTo-Utc $good.TimeCreated
LastFailure = ConvertTo-Utc $bad.TimeCreated
LastAttempt = Get-Later (ConvertTo-Utc $good.TimeCreated) (ConvertTo-Utc $bad.TimeCreated)
FailureId = $failure
Warned = $warned
Copies = $null
LastVssError = $vss
}
}
$found = @()
try {
$found = @(Get-CimInstance -Query 'SELECT ID, InstallDate FROM Win32_ShadowCopy' -ErrorAction Stop)
} catch {
$reason = Get-Reason $_
if ($_.FullyQualifiedErrorId -like 'HRESULT 0x80041014*') { $reason = 'access_denied' }
$notes += @{ Source = 'product'; Reason = $reason }
}
$newest = $null
foreach ($copy in $found) {
$newest = Get-Later $newest (ConvertTo-Utc $copy.InstallDate)
}
if ($found.Count -gt 0) {
$product += @{
Product = 'shadow copies'
LastSuccess = $newest
LastFailure = $null
LastAttempt = $newest
FailureId = $null
Warned = $null
Copies = $found.Count
LastVssError = $vss
}
}
ConvertTo-Json -InputObject @{ product = $product; notes = $notes } -Compress -Depth 4
}
bitlocker = {
$notes = @()
$volume = @()
try {
$volume = @(Get-CimInstance -Namespace root/cimv2/security/microsoftvolumeencryption -Query 'SELECT DeviceID, DriveLetter, ProtectionStatus, ConversionStatus, EncryptionMethod, VolumeType FROM Win32_EncryptableVolume' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'volume'; Reason = (Get-Reason -Failure $_) }) }
$rows = @(foreach ($item in $volume) {
$percent = $null
$types = $null
try {
$answer = Invoke-CimMethod -InputObject $item -MethodName GetConversionStatus -ErrorAction Stop
if ($answer.ReturnValue -eq 0) { $percent = $answer.EncryptionPercentage }
$answer = Invoke-CimMethod -InputObject $item -MethodName GetKeyProtectors -ErrorAction Stop
if ($answer.ReturnValue -eq 0) {
$types = @(foreach ($id in $answer.VolumeKeyProtectorID) {
$kind = Invoke-CimMethod -InputObject $item -MethodName GetKeyProtectorType -Arguments @{ VolumeKeyProtectorID = $id } -ErrorAction Stop
if ($kind.ReturnValue -eq 0) { $kind.KeyProtectorType }
})
$types = @($types | Sort-Object)
}
} catch { $null = $_ }
@{
DeviceID = $item.DeviceID
DriveLetter = $item.DriveLetter
ProtectionStatus = $item.ProtectionStatus
ConversionStatus = $item.ConversionStatus
EncryptionMethod = $item.EncryptionMethod
VolumeType = $item.VolumeType
EncryptionPercentage = $percent
Protectors = $types
}
})
ConvertTo-Json -InputObject @{ volume = $rows; notes = $notes } -Compress -Depth 4
}
certificates = {
function Get-Length {
param($Data, [int]$At)
$length = [int]$Data[$At]
if ($length -lt 128) { return @($length, ($At + 1)) }
$more = $length - 128
$length = 0
foreach ($place in ($At + 1)..($At + $more)) { $length = $length * 256 + [int]$Data[$place] }
@($length, ($At + 1 + $more))
}
function Get-Name {
param($Data)
$null, $at = Get-Length $Data 1
$names = @()
while ($at -lt $Data.Count - 1 -and $names.Count -lt 100) {
$kind = [int]$Data[$at]
$length, $start = Get-Length $Data ($at + 1)
$at = $start + $length
if ($length -eq 0 -or $at -gt $Data.Count) { continue }
$part = @($Data[$start..($at - 1)])
if ($kind -in 129, 130, 134) { $names += -join @(foreach ($byte in $part) { [char][int]$byte }) }
if ($kind -eq 135 -and $length -eq 4) { $names += $part -join '.' }
}
$names
}
function Get-KeySize {
param($Key)
if ($Key.Oid.Value -eq '1.2.840.113549.1.1.1') {
$data = $Key.EncodedKeyValue.RawData
$null, $at = Get-Length $data 1
$length, $start = Get-Length $data ($at + 1)
if ([int]$data[$start] -eq 0) { $length-- }
return $length * 8
}
$curve = @(foreach ($byte in $Key.EncodedParameters.RawData) { $byte.ToString('X2') }) -join ''
@{ '06082A8648CE3D030107' = 256; '06052B81040022' = 384; '06052B81040023' = 521 }[$curve]
}
$notes = @()
$certificate = @()
foreach ($store in 'My', 'WebHosting', 'Remote Desktop') {
$path = "Cert:\LocalMachine\$store"
if (-not (Test-Path -LiteralPath $path)) { continue }
$certificate += @(foreach ($item in Get-ChildItem -LiteralPath $path | Select-Object -First 500) {
$names = @()
foreach ($extension in $item.Extensions) {
if ($extension.Oid.Value -eq '2.5.29.17') { try { $names = @(Get-Name $extension.RawData) } catch { $names = @() } }
}
$bits = $null
try { $bits = Get-KeySize $item.PublicKey } catch { $bits = $null }
@{
Store = $store
Thumbprint = $item.Thumbprint
Subject = $item.Subject
Issuer = $item.Issuer
SelfSigned = $item.Subject -eq $item.Issuer
Names = $names
SerialNumber = $item.SerialNumber
NotBefore = $item.NotBefore.ToUniversalTime().ToString('o')
NotAfter = $item.NotAfter.ToUniversalTime().ToString('o')
HasPrivateKey = $item.HasPrivateKey
KeyAlgorithm = $item.PublicKey.Oid.Value
KeyBits = $bits
SignatureAlgorithm = $item.SignatureAlgorithm.Value
}
})
}
$listener = @()
try {
$path = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener'
if (Test-Path -LiteralPath $path) {
$listener = @(foreach ($item in Get-ItemProperty -Path "$path\*" -ErrorAction Stop) {
@{ KeyName = $item.PSChildName; Root = 0; certThumbprint = $item.certThumbprint; enabled = $item.enabled }
})
}
} catch { $notes += @{ Source = 'listener'; Reason = Get-Reason $_ } }
$desktop = @()
try {
$found = Get-CimInstance -Namespace 'root/cimv2/TerminalServices' -Query 'SELECT SSLCertificateSHA1Hash FROM Win32_TSGeneralSetting' -ErrorAction Stop
$desktop = @($found | Select-Object -Property SSLCertificateSHA1Hash)
} catch { $notes += @{ Source = 'desktop'; Reason = Get-Reason $_ } }
$address = @()
try {
foreach ($kind in 'SslBindingInfo', 'SslSniBindingInfo') {
$path = "HKLM:\SYSTEM\CurrentControlSet\Services\HTTP\Parameters\$kind"
if (-not (Test-Path -LiteralPath $path)) { continue }
$address += @(foreach ($item in Get-ItemProperty -Path "$path\*" -ErrorAction Stop) {
if ($null -eq $item.SslCertHash) { continue }
@{ KeyName = $item.PSChildName; Thumbprint = @(foreach ($byte in $item.SslCertHash) { $byte.ToString('X2') }) -join '' }
})
}
} catch { $notes += @{ Source = 'address'; Reason = Get-Reason $_ } }
ConvertTo-Json -InputObject @{ certificate = $certificate; listener = $listener; desktop = $desktop; address = $address; notes = $notes } -Compress -Depth 4
}
cluster = {
$notes = @()
$cluster = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, QuorumType, QuorumPath, DynamicQuorumEnabled, WitnessDynamicWeight FROM MSCluster_Cluster'
$computer = Get-CimInstance -Query 'SELECT Name FROM Win32_ComputerSystem'
$core = @()
try {
$core = @(Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, OwnerNode FROM MSCluster_ResourceGroup WHERE GroupType = 1')
} catch {
$notes += @{ Source = 'core'; Reason = Get-Reason $_ }
}
$node = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State, DynamicWeight FROM MSCluster_Node'
$network = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State FROM MSCluster_Network'
$resource = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State, OwnerGroup FROM MSCluster_Resource'
$document = @{
cluster = @($cluster | Select-Object -Property Name, QuorumType, QuorumPath, DynamicQuorumEnabled, WitnessDynamicWeight)
computer = @($computer | Select-Object -Property Name)
core = @($core | Select-Object -Property Name, OwnerNode)
node = @($node | Select-Object -Property Name, State, DynamicWeight)
network = @($network | Select-Object -Property Name, State)
resource = @($resource | Select-Object -Property Name, State, OwnerGroup)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
cluster_groups = {
$group = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State, OwnerNode, GroupType, IsCore, PersistentState, Priority FROM MSCluster_ResourceGroup'
$computer = Get-CimInstance -Query 'SELECT Name FROM Win32_ComputerSystem'
$document = @{
group = @($group | Select-Object -Property Name, State, OwnerNode, GroupType, IsCore, PersistentState, Priority)
computer = @($computer | Select-Object -Property Name)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
cluster_volumes = {
$notes = @()
$csv = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, VolumeName, FaultState, BackupState FROM MSCluster_ClusterSharedVolume'
$volume = @()
try {
$volume = @(Get-CimInstance -Query "SELECT DeviceID, Label, Capacity, FreeSpace FROM Win32_Volume WHERE FileSystem = 'CSVFS'")
} catch {
$notes += @{ Source = 'volume'; Reason = Get-Reason $_ }
}
$document = @{
csv = @($csv | Select-Object -Property Name, VolumeName, FaultState, BackupState)
volume = @($volume | Select-Object -Property DeviceID, Label, Capacity, FreeSpace)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
components = {
function Get-Chars {
param($Codes)
(-join @(foreach ($code in $Codes) { if ($code) { [char][int]$code } })).Trim()
}
$component = @()
foreach ($item in Get-CimInstance -Query 'SELECT Tag, DeviceLocator, BankLabel, Capacity, ConfiguredClockSpeed, Manufacturer, PartNumber, SerialNumber FROM Win32_PhysicalMemory') {
$component += @{ Kind = 'memory'; Id = "$($item.Tag) $($item.DeviceLocator)"; Name = $item.BankLabel; Maker = $item.Manufacturer; Serial = $item.SerialNumber; Size = $item.Capacity; Speed = $item.ConfiguredClockSpeed; Detail = $item.PartNumber }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Model, SerialNumber, FirmwareRevision, Size, InterfaceType FROM Win32_DiskDrive') {
$component += @{ Kind = 'disk'; Id = $item.DeviceID; Name = $item.Model; Serial = $item.SerialNumber; Version = $item.FirmwareRevision; Size = $item.Size; Detail = $item.InterfaceType }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, AdapterCompatibility, DriverVersion, VideoProcessor, ConfigManagerErrorCode FROM Win32_VideoController') {
$component += @{ Kind = 'graphics'; Id = $item.DeviceID; Name = $item.Name; Maker = $item.AdapterCompatibility; Version = $item.DriverVersion; Detail = $item.VideoProcessor; Error = $item.ConfigManagerErrorCode }
}
try {
foreach ($item in Get-CimInstance -Namespace 'root/wmi' -Query 'SELECT InstanceName, ManufacturerName, ProductCodeID, SerialNumberID, UserFriendlyName, YearOfManufacture FROM WmiMonitorID' -ErrorAction Stop) {
$component += @{ Kind = 'monitor'; Id = $item.InstanceName; Name = Get-Chars $item.UserFriendlyName; Maker = Get-Chars $item.ManufacturerName; Serial = Get-Chars $item.SerialNumberID; Version = Get-Chars $item.ProductCodeID; Detail = $item.YearOfManufacture }
}
} catch {
$null = $_
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, DriverName, PortName FROM Win32_Printer') {
$component += @{ Kind = 'printer'; Id = $item.DeviceID; Name = $item.DriverName; Detail = $item.PortName }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, Manufacturer, ConfigManagerErrorCode FROM Win32_USBController') {
$component += @{ Kind = 'usb'; Id = $item.DeviceID; Name = $item.Name; Maker = $item.Manufacturer; Error = $item.ConfigManagerErrorCode }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, Manufacturer, ConfigManagerErrorCode FROM Win32_SoundDevice') {
$component += @{ Kind = 'sound'; Id = $item.DeviceID; Name = $item.Name; Maker = $item.Manufacturer; Error = $item.ConfigManagerErrorCode }
}
foreach ($item in Get-CimInstance -Query 'SELECT DeviceID, Name, DesignCapacity, FullChargeCapacity FROM Win32_Battery') {
$component += @{ Kind = 'battery'; Id = $item.DeviceID; Name = $item.Name; Design = $item.DesignCapacity; Full = $item.FullChargeCapacity }
}
foreach ($item in Get-CimInstance -Query 'SELECT Tag, Manufacturer, Product, SerialNumber, Version FROM Win32_BaseBoard') {
$component += @{ Kind = 'board'; Id = $item.Tag; Name = $item.Product; Maker = $item.Manufacturer; Serial = $item.SerialNumber; Version = $item.Version }
}
foreach ($item in Get-CimInstance -Query 'SELECT Tag, Manufacturer, Model, SerialNumber, SMBIOSAssetTag, ChassisTypes FROM Win32_SystemEnclosure') {
$component += @{ Kind = 'chassis'; Id = $item.Tag; Name = $item.Model; Maker = $item.Manufacturer; Serial = $item.SerialNumber; Version = $item.SMBIOSAssetTag; Detail = "$($item.ChassisTypes)" }
}
ConvertTo-Json -InputObject @{ component = $component } -Compress -Depth 4
}
cpu = {
$perf = Get-CimInstance -Query 'SELECT Name, PercentProcessorTime, PercentUserTime, PercentPrivilegedTime, PercentInterruptTime, PercentDPCTime, ProcessorFrequency, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Counters_ProcessorInformation'
$document = @{
perf = @($perf | Select-Object -Property Name, PercentProcessorTime, PercentUserTime, PercentPrivilegedTime, PercentInterruptTime, PercentDPCTime, ProcessorFrequency, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
defender = {
$notes = @()
$status = @()
$threat = @()
$service = @()
try {
$status = @(Get-CimInstance -Namespace root/microsoft/windows/defender -Query 'SELECT AMServiceEnabled, AMRunningMode, AMProductVersion, AMEngineVersion, AntivirusEnabled, RealTimeProtectionEnabled, BehaviorMonitorEnabled, IoavProtectionEnabled, NISEnabled, IsTamperProtected, AntivirusSignatureVersion, AntivirusSignatureLastUpdated, AntivirusSignatureAge, QuickScanEndTime, QuickScanAge, FullScanEndTime, FullScanAge FROM MSFT_MpComputerStatus' -ErrorAction Stop)
} catch {
$failure = $_
if ("$($failure.FullyQualifiedErrorId)" -like 'HRESULT 0x80041017*') {
try {
$older = @(Get-CimInstance -Namespace root/microsoft/windows/defender -Query 'SELECT AMServiceEnabled, AMProductVersion, AMEngineVersion, AntivirusEnabled, RealTimeProtectionEnabled, BehaviorMonitorEnabled, IoavProtectionEnabled, NISEnabled, AntivirusSignatureVersion, AntivirusSignatureLastUpdated, AntivirusSignatureAge, QuickScanEndTime, QuickScanAge, FullScanEndTime, FullScanAge FROM MSFT_MpComputerStatus' -ErrorAction Stop)
$status = $older
$failure = $null
} catch { $failure = $_ }
}
if ($null -ne $failure) { $notes += @(@{ Source = 'status'; Reason = (Get-Reason -Failure $failure) }) }
}
try {
$threat = @(Get-CimInstance -Namespace root/microsoft/windows/defender -Query 'SELECT ThreatID, SeverityID FROM MSFT_MpThreat WHERE IsActive = TRUE' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'threat'; Reason = (Get-Reason -Failure $_) }) }
try {
$service = @(Get-CimInstance -Query "SELECT State, StartMode FROM Win32_Service WHERE Name = 'WinDefend'" -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'service'; Reason = (Get-Reason -Failure $_) }) }
$document = @{
status = @(foreach ($item in $status) {
@{
AMServiceEnabled = $item.AMServiceEnabled
AMRunningMode = $item.AMRunningMode
AMProductVersion = $item.AMProductVersion
AMEngineVersion = $item.AMEngineVersion
AntivirusEnabled = $item.AntivirusEnabled
RealTimeProtectionEnabled = $item.RealTimeProtectionEnabled
BehaviorMonitorEnabled = $item.BehaviorMonitorEnabled
IoavProtectionEnabled = $item.IoavProtectionEnabled
NISEnabled = $item.NISEnabled
IsTamperProtected = $item.IsTamperProtected
AntivirusSignatureVersion = $item.AntivirusSignatureVersion
AntivirusSignatureLastUpdated = ConvertTo-Utc -Value $item.AntivirusSignatureLastUpdated
AntivirusSignatureAge = $item.AntivirusSignatureAge
QuickScanEndTime = ConvertTo-Utc -Value $item.QuickScanEndTime
QuickScanAge = $item.QuickScanAge
FullScanEndTime = ConvertTo-Utc -Value $item.FullScanEndTime
FullScanAge = $item.FullScanAge
}
})
threat = @($threat | Select-Object -Property ThreatID, SeverityID)
service = @($service | Select-Object -Property State, StartMode)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
dhcp = {
$perf = Get-CimInstance -Query 'SELECT PacketsReceivedPersec, DuplicatesDroppedPersec, PacketsExpiredPersec, ActiveQueueLength, ConflictCheckQueueLength, DiscoversPersec, OffersPersec, RequestsPersec, AcksPersec, NacksPersec, DeclinesPersec, ReleasesPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_dhcpserver_DHCPServer'
$document = @{
perf = @($perf | Select-Object -Property PacketsReceivedPersec, DuplicatesDroppedPersec, PacketsExpiredPersec, ActiveQueueLength, ConflictCheckQueueLength, DiscoversPersec, OffersPersec, RequestsPersec, AcksPersec, NacksPersec, DeclinesPersec, ReleasesPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
dhcp_scopes = {
$scopes = Invoke-CimMethod -Namespace root/Microsoft/Windows/DHCP -ClassName PS_DhcpServerv4Scope -MethodName Get
$counts = Invoke-CimMethod -Namespace root/Microsoft/Windows/DHCP -ClassName PS_DhcpServerv4ScopeStatistics -MethodName Get
$document = @{
scope = @(foreach ($item in $scopes.cmdletOutput) {
@{
ScopeId = "$($item.ScopeId)"
Name = $item.Name
State = "$($item.State)"
SuperscopeName = $item.SuperscopeName
StartRange = "$($item.StartRange)"
EndRange = "$($item.EndRange)"
SubnetMask = "$($item.SubnetMask)"
}
})
statistics = @(foreach ($item in $counts.cmdletOutput) {
@{
ScopeId = "$($item.ScopeId)"
AddressesInUse = $item.AddressesInUse
AddressesFree = $item.AddressesFree
PercentageInUse = $item.PercentageInUse
PendingOffers = $item.PendingOffers
ReservedAddress = $item.ReservedAddress
}
})
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
dns = {
$perf = Get-CimInstance -Query 'SELECT TotalQueryReceived, TotalResponseSent, UDPQueryReceived, TCPQueryReceived, RecursiveQueries, RecursiveQueryFailure, RecursiveSendTimeOuts, DynamicUpdateReceived, DynamicUpdateRejected, DynamicUpdateQueued, SecureUpdateFailure, ZoneTransferFailure, CachingMemory, DatabaseNodeMemory, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_DNS_DNS'
$document = @{
perf = @($perf | Select-Object -Property TotalQueryReceived, TotalResponseSent, UDPQueryReceived, TCPQueryReceived, RecursiveQueries, RecursiveQueryFailure, RecursiveSendTimeOuts, DynamicUpdateReceived, DynamicUpdateRejected, DynamicUpdateQueued, SecureUpdateFailure, ZoneTransferFailure, CachingMemory, DatabaseNodeMemory, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
dns_zones = {
$zone = Get-CimInstance -Namespace root/MicrosoftDNS -Query 'SELECT Name, ZoneType, DsIntegrated, Reverse, Paused, Shutdown, AutoCreated, Aging, AllowUpdate, SecureSecondaries, MasterServers, LastSuccessfulSoaCheck, LastSuccessfulXfr FROM MicrosoftDNS_Zone'
$document = @{
zone = @(foreach ($item in $zone) {
@{
Name = $item.Name
ZoneType = $item.ZoneType
DsIntegrated = $item.DsIntegrated
Reverse = $item.Reverse
Paused = $item.Paused
Shutdown = $item.Shutdown
AutoCreated = $item.AutoCreated
Aging = $item.Aging
AllowUpdate = $item.AllowUpdate
SecureSecondaries = $item.SecureSecondaries
MasterServers = @($item.MasterServers | Where-Object -FilterScript { $_ })
LastSuccessfulSoaCheck = $item.LastSuccessfulSoaCheck
LastSuccessfulXfr = $item.LastSuccessfulXfr
}
})
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
firewall = {
$notes = @()
$profiles = @()
$service = @()
$policy = @()
try {
$profiles = @(Get-CimInstance -Namespace root/standardcimv2 -Query 'SELECT Name, Enabled, DefaultInboundAction, DefaultOutboundAction, LogBlocked, LogAllowed, LogMaxSizeKilobytes FROM MSFT_NetFirewallProfile' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'profile'; Reason = (Get-Reason -Failure $_) }) }
try {
$service = @(Get-CimInstance -Query "SELECT State FROM Win32_Service WHERE Name = 'MpsSvc'" -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'service'; Reason = (Get-Reason -Failure $_) }) }
try {
$root = 'HKLM:\SOFTWARE\Policies\Microsoft\WindowsFirewall'
$names = @(@('Domain', 'DomainProfile'), @('Private', 'StandardProfile'), @('Private', 'PrivateProfile'), @('Public', 'PublicProfile'))
$found = @{}
foreach ($pair in $names) {
$key = "$root\$($pair[1])"
if (-not (Test-Path -LiteralPath $key)) { continue }
$values = Get-ItemProperty -LiteralPath $key -ErrorAction Stop | Select-Object -Property EnableFirewall, DefaultInboundAction, DefaultOutboundAction
if ($null -ne $values) { $found[$pair[0]] = $values }
}
$policy = @(foreach ($name in 'Domain', 'Private', 'Public') {
$values = $found[$name]
if ($null -eq $values) { continue }
@{
Name = $name
EnableFirewall = $values.EnableFirewall
DefaultInboundAction = $values.DefaultInboundAction
DefaultOutboundAction = $values.DefaultOutboundAction
}
})
} catch { $notes += @(@{ Source = 'policy'; Reason = (Get-Reason -Failure $_) }) }
$document = @{
profile = @($profiles | Select-Object -Property Name, Enabled, DefaultInboundAction, DefaultOutboundAction, LogBlocked, LogAllowed, LogMaxSizeKilobytes)
policy = $policy
service = @($service | Select-Object -Property State)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
gpu = {
$notes = @()
$memory = @()
$engines = @()
try {
$memory = Get-CimInstance -Query 'SELECT Name, DedicatedUsage, SharedUsage FROM Win32_PerfRawData_GPUPerformanceCounters_GPUAdapterMemory'
$engines = Get-CimInstance -Query 'SELECT Name, UtilizationPercentage FROM Win32_PerfFormattedData_GPUPerformanceCounters_GPUEngine WHERE UtilizationPercentage > 0'
} catch {
$notes = @(@{ Source = 'adapter'; Reason = Get-Reason $_ })
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
hardening = {
$software = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion'
$policies = 'HKLM:\SOFTWARE\Policies\Microsoft'
$control = 'HKLM:\SYSTEM\CurrentControlSet\Control'
$services = 'HKLM:\SYSTEM\CurrentControlSet\Services'
$terminal = "$policies\Windows NT\Terminal Services"
$document = @{ notes = @(); features = @(); autologon = @() }
Read-Key $document 'uac' "$software\Policies\System" EnableLUA, ConsentPromptBehaviorAdmin, PromptOnSecureDesktop, LocalAccountTokenFilterPolicy
Read-Key $document 'smb_server' "$services\LanmanServer\Parameters" SMB1, RequireSecuritySignature
Read-Key $document 'smb_client' "$services\LanmanWorkstation\Parameters" RequireSecuritySignature, AllowInsecureGuestAuth
Read-Key $document 'rdp' "$control\Terminal Server", $terminal fDenyTSConnections
Read-Key $document 'rdp_listener' "$control\Terminal Server\WinStations\RDP-Tcp", $terminal UserAuthentication, SecurityLayer, PortNumber
Read-Key $document 'lsa' "$control\Lsa" RunAsPPL, LmCompatibilityLevel, NoLMHash, RestrictAnonymous, LimitBlankPasswordUse
Read-Key $document 'ntlm' "$control\Lsa\MSV1_0" NtlmMinClientSec, NtlmMinServerSec, RestrictSendingNTLMTraffic, RestrictReceivingNTLMTraffic
Read-Key $document 'wdigest' "$control\SecurityProviders\WDigest" UseLogonCredential
Read-Key $document 'laps_legacy' 'HKLM:\SOFTWARE\Policies\Microsoft Services\AdmPwd' AdmPwdEnabled
Read-Key $document 'laps' "$software\LAPS\Config", "$software\Policies\LAPS", 'HKLM:\SOFTWARE\Microsoft\Policies\LAPS' BackupDirectory
Read-Key $document 'script_block' "$policies\Windows\PowerShell\ScriptBlockLogging" EnableScriptBlockLogging
Read-Key $document 'llmnr' "$policies\Windows NT\DNSClient" EnableMulticast
try {
$features = Get-CimInstance -Query "SELECT Name, InstallState FROM Win32_OptionalFeature WHERE Name = 'SMB1Protocol' OR Name = 'MicrosoftWindowsPowerShellV2'" -ErrorAction Stop
$document.features = @($features | Select-Object -Property Name, InstallState)
} catch { $document.notes += @(@{ Source = 'features'; Reason = (Get-Reason -Failure $_) }) }
try {
$key = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon'
$names = @((Get-Item -LiteralPath $key -ErrorAction Stop).Property)
$mode = $null
if ('AutoAdminLogon' -in $names) { $mode = (Get-ItemProperty -LiteralPath $key -Name AutoAdminLogon -ErrorAction Stop).AutoAdminLogon }
$document.autologon = @(@{ AutoAdminLogon = $mode; PasswordStored = ('DefaultPassword' -in $names) })
} catch { $document.notes += @(@{ Source = 'autologon'; Reason = (Get-Reason -Failure $_) }) }
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
hardware = {
$computer = Get-CimInstance -Query 'SELECT Manufacturer, Model, TotalPhysicalMemory FROM Win32_ComputerSystem'
$product = Get-CimInstance -Query 'SELECT UUID, IdentifyingNumber FROM Win32_ComputerSystemProduct'
$bios = Get-CimInstance -Query 'SELECT SerialNumber, SMBIOSBIOSVersion, ReleaseDate FROM Win32_BIOS'
$enclosure = Get-CimInstance -Query 'SELECT ChassisTypes, SMBIOSAssetTag FROM Win32_SystemEnclosure'
$processor = Get-CimInstance -Query 'SELECT Name, NumberOfCores, NumberOfLogicalProcessors FROM Win32_Processor'
$disk = Get-CimInstance -Query 'SELECT Model, Size FROM Win32_DiskDrive'
$slots = Get-CimInstance -Query 'SELECT MemoryDevices FROM Win32_PhysicalMemoryArray'
$module = Get-CimInstance -Query 'SELECT Tag, Capacity FROM Win32_PhysicalMemory'
$document = @{
computer = @($computer | Select-Object -Property Manufacturer, Model, TotalPhysicalMemory)
product = @($product | Select-Object -Property UUID, IdentifyingNumber)
bios = @(foreach ($item in $bios) {
@{ SerialNumber = $item.SerialNumber; SMBIOSBIOSVersion = $item.SMBIOSBIOSVersion; ReleaseDate = ConvertTo-Utc $item.ReleaseDate }
})
enclosure = @(foreach ($item in $enclosure) { @{ ChassisTypes = @($item.ChassisTypes); SMBIOSAssetTag = $item.SMBIOSAssetTag } })
processor = @($processor | Select-Object -Property Name, NumberOfCores, NumberOfLogicalProcessors)
slots = @($slots | Select-Object -Property MemoryDevices)
module = @($module | Select-Object -Property Tag, Capacity)
disk = @($disk | Select-Object -Property Model, Size)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
hyperv = {
$notes = @()
$summary = Get-CimInstance -Namespace root/virtualization/v2 -Query 'SELECT Name, ElementName, EnabledState, HealthState, Heartbeat, UpTime, ProcessorLoad, MemoryUsage, MemoryAvailable, NumberOfProcessors, GuestOperatingSystem, Version, ReplicationMode, ReplicationState, ReplicationHealth FROM Msvm_SummaryInformation'
$system = Get-CimInstance -Namespace root/virtualization/v2 -Query 'SELECT Name, LastReplicationTime FROM Msvm_ComputerSystem'
$checkpoint = @()
try {
$checkpoint = @(Get-CimInstance -Namespace root/virtualization/v2 -Query "SELECT VirtualSystemIdentifier, CreationTime FROM Msvm_VirtualSystemSettingData WHERE VirtualSystemType = 'Microsoft:Hyper-V:Snapshot:Realized' OR VirtualSystemType = 'Microsoft:Hyper-V:Snapshot:Recovery'")
} catch {
$notes += @{ Source = 'checkpoint'; Reason = Get-Reason $_ }
}
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
summary = @($summary | Select-Object -Property Name, ElementName, EnabledState, HealthState, Heartbeat, UpTime, ProcessorLoad, MemoryUsage, MemoryAvailable, NumberOfProcessors, GuestOperatingSystem, Version, ReplicationMode, ReplicationState, ReplicationHealth)
system = @(foreach ($item in $system) {
@{
Name = $item.Name
LastReplicationTime = ConvertTo-Utc $item.LastReplicationTime
}
})
checkpoint = @(foreach ($item in $checkpoint) {
@{
VirtualSystemIdentifier = $item.VirtualSystemIdentifier
CreationTime = ConvertTo-Utc $item.CreationTime
}
})
utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
hyperv_host = {
$notes = @()
$service = @()
try {
$service = @(Get-CimInstance -Query "SELECT Name, State FROM Win32_Service WHERE Name = 'vmms'")
} catch {
$notes += @{ Source = 'service'; Reason = Get-Reason $_ }
}
$processor = @()
try {
$processor = @(Get-CimInstance -Query "SELECT Name, PercentTotalRunTime, PercentTotalRunTime_Base, PercentGuestRunTime, PercentGuestRunTime_Base, PercentHypervisorRunTime, PercentHypervisorRunTime_Base, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_HvStats_HyperVHypervisorLogicalProcessor WHERE Name = '_Total'")
} catch {
$notes += @{ Source = 'processor'; Reason = Get-Reason $_ }
}
$machines = @()
try {
$machines = @(Get-CimInstance -Query 'SELECT HealthOk, HealthCritical FROM Win32_PerfRawData_VmmsVirtualMachineStats_HyperVVirtualMachineHealthSummary')
} catch {
$notes += @{ Source = 'machines'; Reason = Get-Reason $_ }
}
$memory = @()
try {
$memory = @(Get-CimInstance -Query 'SELECT Name, AvailableMemory, AveragePressure FROM Win32_PerfRawData_BalancerStats_HyperVDynamicMemoryBalancer')
} catch {
$notes += @{ Source = 'memory'; Reason = Get-Reason $_ }
}
$document = @{
service = @($service | Select-Object -Property Name, State)
processor = @($processor | Select-Object -Property Name, PercentTotalRunTime, PercentTotalRunTime_Base, PercentGuestRunTime, PercentGuestRunTime_Base, PercentHypervisorRunTime, PercentHypervisorRunTime_Base, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
machines = @($machines | Select-Object -Property HealthOk, HealthCritical)
memory = @($memory | Select-Object -Property Name, AvailableMemory, AveragePressure)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
iis = {
$notes = @()
$web = Get-CimInstance -Query "SELECT Name, CurrentConnections, TotalMethodRequestsPersec, GetRequestsPersec, PostRequestsPersec, NotFoundErrorsPersec, BytesReceivedPersec, BytesSentPersec, ServiceUptime, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_W3SVC_WebService WHERE Name != '_Total'"
$setup = @()
$key = 'HKLM:\SOFTWARE\Microsoft\InetStp'
if (Test-Path -LiteralPath $key) {
$values = Get-ItemProperty -LiteralPath $key
$setup = @(@{ InstallPath = $values.InstallPath; VersionString = $values.VersionString })
}
$site = @()
try {
$lines = Get-Content -LiteralPath "$($setup[0].InstallPath)\config\applicationHost.config" -TotalCount 50000 -Encoding UTF8 -ErrorAction Stop
$sites = ([xml]($lines -join "`n")).configuration['system.applicationHost'].sites
$site = @(foreach ($item in $sites.site) {
$root = @($item.application | Where-Object -FilterScript { $_.path -eq '/' })[0]
$pool = $root.applicationPool
if (-not $pool) { $pool = $sites.applicationDefaults.applicationPool }
@{
Name = "$($item.name)"
Id = [long]"$($item.id)"
AutoStart = "$($item.serverAutoStart)" -ne 'false'
Pool = $pool
Bindings = @(foreach ($binding in $item.bindings.binding) { "$($binding.protocol) $($binding.bindingInformation)" })
}
})
} catch {
$notes += @{ Source = 'site'; Reason = Get-Reason $_ }
}
$state = @()
try {
$known = Get-CimInstance -Namespace root/WebAdministration -Query 'SELECT Name FROM Site'
$state = @(foreach ($item in $known | Select-Object -First 200) {
@{ Name = $item.Name; State = (Invoke-CimMethod -InputObject $item -MethodName GetState).ReturnValue }
})
} catch {
$notes += @{ Source = 'state'; Reason = Get-Reason $_ }
}
$document = @{
web = @($web | Select-Object -Property Name, CurrentConnections, TotalMethodRequestsPersec, GetRequestsPersec, PostRequestsPersec, NotFoundErrorsPersec, BytesReceivedPersec, BytesSentPersec, ServiceUptime, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
setup = $setup
site = $site
state = $state
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
iis_pools = {
$notes = @()
$pool = Get-CimInstance -Query "SELECT Name, CurrentApplicationPoolState, CurrentWorkerProcesses, TotalApplicationPoolRecycles, TotalWorkerProcessFailures, TotalWorkerProcessPingFailures, TotalWorkerProcessStartupFailures, RecentWorkerProcessFailures, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_APPPOOLCountersProvider_APPPOOLWAS WHERE Name != '_Total'"
$worker = @()
try {
$counted = Get-CimInstance -Query 'SELECT Name FROM Win32_PerfRawData_W3SVCW3WPCounterProvider_W3SVCW3WP'
$pools = @{}
foreach ($item in $counted) {
$number, $name = $item.Name -split '_', 2
if ($number) { $pools[$number] = $name }
}
$process = Get-CimInstance -Query "SELECT ProcessId, WorkingSetSize, PrivatePageCount FROM Win32_Process WHERE Name = 'w3wp.exe'"
$worker = @(foreach ($item in $process) {
@{ ProcessId = $item.ProcessId; Pool = $pools["$($item.ProcessId)"]; WorkingSetSize = $item.WorkingSetSize; PrivatePageCount = $item.PrivatePageCount }
})
} catch {
$notes += @{ Source = 'worker'; Reason = Get-Reason $_ }
}
$document = @{
pool = @($pool | Select-Object -Property Name, CurrentApplicationPoolState, CurrentWorkerProcesses, TotalApplicationPoolRecycles, TotalWorkerProcessFailures, TotalWorkerProcessPingFailures, TotalWorkerProcessStartupFailures, RecentWorkerProcessFailures, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
worker = $worker
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
local_admins = {
function ConvertTo-Sid {
param($Bytes)
if ($null -eq $Bytes -or $Bytes.Count -lt 12) { return }
$text = "S-$($Bytes[0])-$($Bytes[7])"
for ($at = 8; $at + 3 -lt $Bytes.Count; $at += 4) {
$part = [long]$Bytes[$at] + 256 * [long]$Bytes[$at + 1] + 65536 * [long]$Bytes[$at + 2] + 16777216 * [long]$Bytes[$at + 3]
$text = "$text-$part"
}
$text
}
function Find-Sid {
param($Entry, [string]$Domain, [string]$Name)
try { return ([System.Security.Principal.NTAccount]"$Domain\$Name").Translate([System.Security.Principal.SecurityIdentifier]).Value } catch { $null = $_ }
try { ConvertTo-Sid -Bytes $Entry.objectSid.Value } catch { $null = $_ }
}
function Get-Origin {
param([string]$Sid, [bool]$Local, [bool]$Gone)
if ($Sid -like 'S-1-12-1-*') { return 'entra' }
if ($Gone) { return 'orphan' }
if ($Sid -notlike 'S-1-5-21-*' -and $Sid) { return 'builtin' }
if ($Local) { return 'local' }
'domain'
}
function Get-Member544 {
param([string]$Group, [string]$Computer)
foreach ($member in ([ADSI]"WinNT://$Computer/$Group,group").Members()) {
$entry = [ADSI]$member
$parts = @("$($entry.Path)" -replace '^WinNT://', '' -split '/')
$gone = $parts[-1] -like 'S-1-*'
$class = $null
$domain = $null
if ($gone) { $sid = $parts[-1] } else {
$domain = "$($parts[-2])"
$sid = Find-Sid -Entry $entry -Domain $domain -Name $parts[-1]
try { $class = "$($entry.SchemaClassName)" } catch { $null = $_ }
}
$account = $parts[-1]
if ($domain) { $account = "$domain\$account" }
@{
SID = $sid
Account = $account
Class = $class
Origin = Get-Origin -Sid $sid -Local ($domain -eq $Computer) -Gone $gone
Builtin = ($sid -like 'S-1-5-21-*-500' -and $domain -eq $Computer)
}
}
}
function Get-Member544Plain {
param([string]$Computer)
foreach ($member in Get-LocalGroupMember -SID 'S-1-5-32-544' -ErrorAction Stop) {
$sid = "$($member.SID)"
$local = "$($member.PrincipalSource)" -eq 'Local'
@{
SID = $sid
Account = "$($member.Name)"
Class = $null
Origin = Get-Origin -Sid $sid -Local $local -Gone $false
Builtin = ($sid -like 'S-1-5-21-*-500' -and $local)
}
}
}
$notes = @()
$members = @()
$user = @()
try {
$system = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem' -ErrorAction Stop
if ($system.ProductType -eq 2) {
$notes = @(@{ Source = 'member'; Reason = 'unsupported' }, @{ Source = 'user'; Reason = 'unsupported' })
} else {
$group = Get-CimInstance -Query "SELECT Name, Domain FROM Win32_Group WHERE LocalAccount = TRUE AND SID = 'S-1-5-32-544'" -ErrorAction Stop
$user = @(Get-CimInstance -Query 'SELECT SID, Disabled FROM Win32_UserAccount WHERE LocalAccount = TRUE' -ErrorAction Stop)
try { $members = @(Get-Member544 -Group $group.Name -Computer $env:COMPUTERNAME) } catch { $members = @(Get-Member544Plain -Computer $env:COMPUTERNAME) }
foreach ($member in $members) {
if (-not $member.SID) { $notes = @(@{ Source = 'member'; Reason = 'unknown' }) }
}
}
} catch {
$notes = @(@{ Source = 'member'; Reason = (Get-Reason -Failure $_) })
}
$document = @{
member = $members
user = @($user | Select-Object -Property SID, Disabled)
notes = $notes
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
missing_updates = {
$most = 1048576
$folder = $env:ProgramData
if (-not $folder) { $folder = 'C:\ProgramData' }
$path = "$folder\rmm\missing-updates.json"
$categories = @{
'0fa1201d-4330-4fa8-8ae9-b877473b6441' = 'Security'
'e6cf1350-c01b-414d-a61f-263d14d133b4' = 'CriticalUpdates'
'28bc880e-0592-4cbf-8f95-c79b17911d5f' = 'Rollups'
'e0789628-ce08-4437-be74-2495b842f43b' = 'Definitions'
'ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0' = 'Drivers'
'3689bdc8-b205-4af4-8d4a-a63924c5e9d5' = 'Features'
'b54e7d24-7add-428f-8b75-90a396fa584f' = 'Features'
}
function Get-Iso {
param($Value)
try {
if ($Value) { return ([datetime]$Value).ToUniversalTime().ToString('o') }
} catch { $null = $_ }
$null
}
function Get-Count {
param($Content)
$counts = @{
Missing = 0; Critical = 0; Important = 0; Moderate = 0; Low = 0; Unrated = 0; Downloaded = 0
Security = 0; CriticalUpdates = 0; Rollups = 0; Definitions = 0; Drivers = 0; Features = 0; Other = 0
Oldest = $null; OldestSecurity = $null; Articles = @()
}
foreach ($update in @($Content.updates | Select-Object -First 1000)) {
$counts['Missing']++
$severity = 'Unrated'
if ("$($update.severity)" -in 'Critical', 'Important', 'Moderate', 'Low') { $severity = "$($update.severity)" }
$counts[$severity]++
$category = $categories["$($update.category)"]
if (-not $category) { $category = 'Other' }
$counts[$category]++
if ($update.downloaded -eq $true) { $counts['Downloaded']++ }
if ($category -eq 'Definitions') { continue }
if ("$($update.article)" -match '^[0-9]{1,10}$' -and $counts['Articles'].Count -lt 100) { $counts['Articles'] += "KB$($update.article)" }
$published = Get-Iso $update.published
if (-not $published) { continue }
if ($category -ne 'Drivers' -and (-not $counts['Oldest'] -or $published -lt $counts['Oldest'])) { $counts['Oldest'] = $published }
if ($category -ne 'Security' -and $severity -notin 'Critical', 'Important') { continue }
if (-not $counts['OldestSecurity'] -or $published -lt $counts['OldestSecurity']) { $counts['OldestSecurity'] = $published }
}
$counts
}
$notes = @()
$scan = @()
$status = 'absent'
try {
if (Test-Path -LiteralPath $path -ErrorAction Stop) {
$status = 'invalid'
if ((Get-Item -LiteralPath $path -ErrorAction Stop).Length -gt $most) {
$status = 'too large'
} else {
$content = ConvertFrom-Json -InputObject (Get-Content -LiteralPath $path -Raw -Encoding UTF8 -ErrorAction Stop) -ErrorAction Stop
if ($content.format -eq 1 -and (Get-Iso $content.scanned_at)) {
$found = @{}
if ($null -ne $content.updates) { $found = Get-Count $content }
$found['ScannedAt'] = Get-Iso $content.scanned_at
$found['Failed'] = $content.failed -eq $true
$found['Error'] = $content.error -as [long]
$found['Seconds'] = $content.seconds -as [double]
$found['Server'] = "$($content.server)"
$scan = @($found)
$status = 'ok'
}
}
}
} catch {
if ((Get-Reason $_) -eq 'access_denied') {
$status = 'denied'
$notes = @(@{ Source = 'scan'; Reason = 'access_denied' })
}
}
if ($status -in 'invalid', 'too large') { $notes = @(@{ Source = 'scan'; Reason = 'unknown' }) }
ConvertTo-Json -InputObject @{ file = @(@{ Status = $status }); scan = $scan; notes = $notes } -Compress -Depth 4
}
net_config = {
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
@{
InterfaceIndex = $item.InterfaceIndex
IPAddress = $item.IPAddress
IPSubnet = $item.IPSubnet
DefaultIPGateway = $item.DefaultIPGateway
DNSServerSearchOrder = $item.DNSServerSearchOrder
DNSDomain = $item.DNSDomain
DHCPEnabled = $item.DHCPEnabled
DHCPServer = $item.DHCPServer
DHCPLeaseExpires = ConvertTo-Utc $item.DHCPLeaseExpires
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
optional_features = {
$feature = Get-CimInstance -Query 'SELECT Name, InstallState FROM Win32_OptionalFeature WHERE InstallState = 1'
ConvertTo-Json -InputObject @{ feature = @($feature | Select-Object -Property Name, InstallState) } -Compress -Depth 4
}
os = {
$os = Get-CimInstance -Query 'SELECT CSName, Caption, Version, BuildNumber, InstallDate, Locale, OSLanguage, ProductType, CurrentTimeZone FROM Win32_OperatingSystem'
$computer = Get-CimInstance -Query 'SELECT Domain, PartOfDomain, DomainRole FROM Win32_ComputerSystem'
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' -ErrorAction SilentlyContinue
$zone = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' -ErrorAction SilentlyContinue
$environment = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment' -ErrorAction SilentlyContinue
$notes = @()
$entra = @()
try {
$key = 'HKLM:\SYSTEM\CurrentControlSet\Control\CloudDomainJoin\JoinInfo'
if (Test-Path -LiteralPath $key) {
$entra = @(foreach ($item in Get-ItemProperty -Path "$key\*" -ErrorAction Stop) { @{ KeyName = $item.PSChildName; Root = 0; TenantId = $item.TenantId } })
}
} catch {
$notes += @{ Source = 'entra'; Reason = Get-Reason $_ }
}
$licence = @()
try {
$found = Get-CimInstance -Query "SELECT LicenseStatus, ProductKeyChannel, PartialProductKey, GracePeriodRemaining FROM SoftwareLicensingProduct WHERE ApplicationID = '55c92734-d682-4d71-983e-d6ec3f16059f' AND PartialProductKey IS NOT NULL AND LicenseIsAddon = FALSE" -ErrorAction Stop
$licence = @($found | Select-Object -Property LicenseStatus, ProductKeyChannel, PartialProductKey, GracePeriodRemaining)
} catch {
$notes += @{ Source = 'licence'; Reason = Get-Reason $_ }
}
$document = @{
os = @(foreach ($item in $os) {
@{
CSName = $item.CSName
Caption = $item.Caption
Version = $item.Version
BuildNumber = $item.BuildNumber
InstallDate = ConvertTo-Utc $item.InstallDate
Locale = $item.Locale
OSLanguage = $item.OSLanguage
ProductType = $item.ProductType
CurrentTimeZone = $item.CurrentTimeZone
}
})
computer = @($computer | Select-Object -Property Domain, PartOfDomain, DomainRole)
version = @($version | Select-Object -Property UBR, EditionID, DisplayVersion, ReleaseId, InstallationType)
zone = @($zone | Select-Object -Property TimeZoneKeyName)
environment = @($environment | Select-Object -Property PROCESSOR_ARCHITECTURE)
entra = $entra
licence = $licence
notes = $notes
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
$manager = @()
$notes = @()
if (Test-Path -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Services\CcmExec') {
try {
$answer = Invoke-CimMethod -Namespace root/ccm/clientsdk -ClassName CCM_ClientUtilities -MethodName DetermineIfRebootPending -ErrorAction Stop
if ($answer.RebootPending -or $answer.IsHardRebootPending) {
$manager = @(@{ RebootPending = $answer.RebootPending; IsHardRebootPending = $answer.IsHardRebootPending })
}
} catch {
$notes = @(@{ Source = 'manager'; Reason = Get-Reason $_ })
}
}
$renames = $session.PendingFileRenameOperations
if ($null -ne $renames) { $renames = @($renames | Select-Object -First 20) }
$document = @{
cbs = $cbs
update = $update
session = @(@{ PendingFileRenameOperations = $renames })
active_name = @(@{ ComputerName = $active.ComputerName })
next_name = @(@{ ComputerName = $next.ComputerName })
netlogon = $netlogon
manager = $manager
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
platform_security = {
$notes = @()
$tpm = @()
$guard = @()
$secure_boot = @()
$servicing = @()
try {
$tpm = @(Get-CimInstance -Namespace root/cimv2/security/microsofttpm -Query 'SELECT IsEnabled_InitialValue, IsActivated_InitialValue, IsOwned_InitialValue, SpecVersion, ManufacturerIdTxt, ManufacturerVersion FROM Win32_Tpm' -ErrorAction Stop)
} catch { $notes += @{ Source = 'tpm'; Reason = (Get-Reason -Failure $_) } }
try {
$guard = @(Get-CimInstance -Namespace root/microsoft/windows/deviceguard -Query 'SELECT VirtualizationBasedSecurityStatus, SecurityServicesConfigured, SecurityServicesRunning, CodeIntegrityPolicyEnforcementStatus FROM Win32_DeviceGuard' -ErrorAction Stop)
} catch { $notes += @{ Source = 'guard'; Reason = (Get-Reason -Failure $_) } }
$key = 'HKLM:\SYSTEM\CurrentControlSet\Control\SecureBoot'
try {
if (Test-Path -LiteralPath "$key\State") {
$values = Get-ItemProperty -LiteralPath "$key\State" -ErrorAction Stop
$secure_boot = @(@{ UEFISecureBootEnabled = $values.UEFISecureBootEnabled })
}
} catch { $notes += @{ Source = 'secure_boot'; Reason = (Get-Reason -Failure $_) } }
try {
if (Test-Path -LiteralPath "$key\Servicing") {
$values = Get-ItemProperty -LiteralPath "$key\Servicing" -ErrorAction Stop
$servicing = @(@{
UEFICA2023Status = $values.UEFICA2023Status
UEFICA2023Error = $values.UEFICA2023Error
WindowsUEFICA2023Capable = $values.WindowsUEFICA2023Capable
})
}
} catch { $notes += @{ Source = 'servicing'; Reason = (Get-Reason -Failure $_) } }
$document = @{
tpm = @($tpm | Select-Object -Property IsEnabled_InitialValue, IsActivated_InitialValue, IsOwned_InitialValue, SpecVersion, ManufacturerIdTxt, ManufacturerVersion)
secure_boot = $secure_boot
servicing = $servicing
guard = @($guard | Select-Object -Property VirtualizationBasedSecurityStatus, SecurityServicesConfigured, SecurityServicesRunning, CodeIntegrityPolicyEnforcementStatus)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
policy = {
$document = @{ notes = @(); account = @(); rsop = @() }
try {
$system = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem' -ErrorAction Stop
if ($system.ProductType -eq 2) {
$document.notes += @(@{ Source = 'account'; Reason = 'unsupported' })
} else {
$users = Get-CimInstance -Query 'SELECT Name, SID FROM Win32_UserAccount WHERE LocalAccount = TRUE' -ErrorAction Stop
$first = @($users | Where-Object -FilterScript { $_.SID -like '*-500' })[0]
$entry = [ADSI]"WinNT://$env:COMPUTERNAME/$($first.Name),user"
$document.account = @(@{
MinPasswordLength = $entry.MinPasswordLength.Value
PasswordHistoryLength = $entry.PasswordHistoryLength.Value
MinPasswordAge = $entry.MinPasswordAge.Value
MaxPasswordAge = $entry.MaxPasswordAge.Value
MaxBadPasswordsAllowed = $entry.MaxBadPasswordsAllowed.Value
AutoUnlockInterval = $entry.AutoUnlockInterval.Value
LockoutObservationInterval = $entry.LockoutObservationInterval.Value
})
}
} catch { $document.notes += @(@{ Source = 'account'; Reason = (Get-Reason -Failure $_) }) }
try {
$settings = Get-CimInstance -Namespace root/rsop/computer -Query 'SELECT KeyName, Setting FROM RSOP_SecuritySettingBoolean WHERE precedence = 1' -ErrorAction Stop
$document.rsop = @($settings | Select-Object -Property KeyName, Setting)
} catch { $document.notes += @(@{ Source = 'rsop'; Reason = (Get-Reason -Failure $_) }) }
$services = 'HKLM:\SYSTEM\CurrentControlSet\Services'
Read-Key $document 'lsa' 'HKLM:\SYSTEM\CurrentControlSet\Control\Lsa' SCENoApplyLegacyAuditPolicy, CrashOnAuditFail
Read-Key $document 'process_audit' 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System\Audit' ProcessCreationIncludeCmdLine_Enabled
Read-Key $document 'log' "$services\EventLog\Security" MaxSize
Read-Key $document 'log_policy' 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\EventLog\Security' MaxSize, Retention
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
printers = {
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
rds = {
$notes = @()
$setting = @()
try {
$setting = @(Get-CimInstance -Namespace root/cimv2/TerminalServices -Query 'SELECT TerminalServerMode, AllowTSConnections, LicensingType, SessionBrokerDrainMode, SingleSession FROM Win32_TerminalServiceSetting WHERE TerminalServerMode = 1')
} catch {
$notes += @{ Source = 'setting'; Reason = Get-Reason $_ }
}
$sessions = @()
try {
$sessions = @(Get-CimInstance -Query 'SELECT ActiveSessions, InactiveSessions, TotalSessions FROM Win32_PerfRawData_LocalSessionManager_TerminalServices')
} catch {
$notes += @{ Source = 'sessions'; Reason = Get-Reason $_ }
}
$document = @{
setting = @($setting | Select-Object -Property TerminalServerMode, AllowTSConnections, LicensingType, SessionBrokerDrainMode, SingleSession)
sessions = @($sessions | Select-Object -Property ActiveSessions, InactiveSessions, TotalSessions)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
roles = {
$notes = @()
$feature = @()
try {
$found = Get-CimInstance -Query 'SELECT ID, Name, ParentID FROM Win32_ServerFeature' -ErrorAction Stop
$feature = @($found | Select-Object -Property ID, Name, ParentID)
} catch {
if ((Get-Reason $_) -ne 'unsupported') { throw }
$notes = @(@{ Source = 'feature'; Reason = 'unsupported' })
}
ConvertTo-Json -InputObject @{ feature = $feature; notes = $notes } -Compress -Depth 4
}
scheduled_tasks = {
$service = New-Object -ComObject Schedule.Service
$service.Connect()
function Get-When {
param($Time)
if ($Time.Year -gt 2000) { return ConvertTo-Utc $Time }
$null
}
$folders = @($service.GetFolder('\'))
$task = @()
for ($place = 0; $place -lt $folders.Count -and $task.Count -lt 2000; $place++) {
foreach ($folder in $folders[$place].GetFolders(0)) { $folders += $folder }
$task += @(foreach ($item in $folders[$place].GetTasks(1)) {
$result = $item.LastTaskResult
if ($result -lt 0) { $result += 4294967296 }
$text = "$($item.Xml)"
$account = $null
if ($text -match '(?s)<Principals>.*?<(UserId|GroupId)>([^<]{1,300})</') { $account = $Matches[2] }
@{
Path = $item.Path
Own = $item.Path -like '\Microsoft\*'
State = [int]$item.State
Enabled = $item.Enabled
Hidden = $text -match '<Hidden>true</Hidden>'
Account = $account
Elevated = $text -match '<RunLevel>HighestAvailable</RunLevel>'
LastRun = Get-When $item.LastRunTime
LastResult = $result
NextRun = Get-When $item.NextRunTime
MissedRuns = $item.NumberOfMissedRuns
}
})
}
ConvertTo-Json -InputObject @{ task = $task } -Compress -Depth 4
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
$notes = @(@{ Source = 'triggers'; Reason = Get-Reason $_ })
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
$notes = @(@{ Source = 'smb'; Reason = Get-Reason $_ })
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
$notes = @(@{ Source = 'server'; Reason = Get-Reason $_ })
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
sql = {
$services = Get-CimInstance -Query "SELECT Name, State, StartMode, StartName FROM Win32_Service WHERE Name LIKE 'MSSQL%'"
$keys = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Microsoft SQL Server\MSSQL*.*\Setup' -ErrorAction SilentlyContinue
$instance = @(foreach ($setup in $keys) {
$name = (@($setup.PSPath -split '\\')[-2] -split '\.', 2)[1]
$service = 'MSSQL$' + $name
$first = $name -replace '[^A-Za-z0-9]', ''
$second = "MSSQL$first"
if ($name -eq 'MSSQLSERVER') { $service = 'MSSQLSERVER'; $first = 'SERVER'; $second = 'SQLServer' }
$found = $null
foreach ($item in $services) { if ($item.Name -eq $service) { $found = $item } }
$counters = 'none'
$buffer = $null; $general = $null; $statistics = $null; $locks = $null; $memory = $null
if ($found.State -eq 'Running') {
try {
$buffer = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}BufferManager" -Property Buffercachehitratio, Buffercachehitratio_Base, Pagelifeexpectancy
$general = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}GeneralStatistics" -Property UserConnections, LoginsPersec, Processesblocked
$statistics = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}SQLStatistics" -Property BatchRequestsPersec, SQLCompilationsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime
$locks = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}Locks" -Filter "Name = '_Total'" -Property NumberofDeadlocksPersec, LockWaitsPersec
$memory = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}MemoryManager" -Property TotalServerMemoryKB, TargetServerMemoryKB, MemoryGrantsPending
$counters = 'ok'
} catch { $counters = Get-Reason $_ }
}
@{
Name = $name
Service = $service
State = $found.State
StartMode = $found.StartMode
StartName = $found.StartName
Version = $setup.Version
PatchLevel = $setup.PatchLevel
Edition = $setup.Edition
Counters = $counters
Buffercachehitratio = $buffer.Buffercachehitratio
Buffercachehitratio_Base = $buffer.Buffercachehitratio_Base
Pagelifeexpectancy = $buffer.Pagelifeexpectancy
UserConnections = $general.UserConnections
LoginsPersec = $general.LoginsPersec
Processesblocked = $general.Processesblocked
BatchRequestsPersec = $statistics.BatchRequestsPersec
SQLCompilationsPersec = $statistics.SQLCompilationsPersec
NumberofDeadlocksPersec = $locks.NumberofDeadlocksPersec
LockWaitsPersec = $locks.LockWaitsPersec
TotalServerMemoryKB = $memory.TotalServerMemoryKB
TargetServerMemoryKB = $memory.TargetServerMemoryKB
MemoryGrantsPending = $memory.MemoryGrantsPending
Timestamp_Sys100NS = $statistics.Timestamp_Sys100NS
Timestamp_PerfTime = $statistics.Timestamp_PerfTime
Frequency_PerfTime = $statistics.Frequency_PerfTime
}
})
ConvertTo-Json -InputObject @{ instance = $instance } -Compress -Depth 4
}
sql_databases = {
$database = @()
$backup = @()
$log = @()
$replica = @()
$notes = @()
$services = Get-CimInstance -Query "SELECT Name, State FROM Win32_Service WHERE Name LIKE 'MSSQL%'"
foreach ($service in $services | Where-Object -FilterScript { $_.Name -eq 'MSSQLSERVER' -or $_.Name -like 'MSSQL$*' } | Select-Object -First 8) {
$instance = @($service.Name -split '\$', 2)[-1]
$server = '.'
if ($instance -ne 'MSSQLSERVER') { $server = ".\$instance" }
if ($service.State -ne 'Running' -or $instance -notmatch '^[A-Za-z_#][A-Za-z0-9_#$]{0,15}$') {
$notes += @{ Source = 'database'; Reason = 'unknown' }
continue
}
$connection = $null
try {
$connection = New-Object -TypeName System.Data.SqlClient.SqlConnection -ArgumentList "Server=$server;Integrated Security=true;Connect Timeout=3;Application Name=rmm;Pooling=false"
$connection.Open()
try {
$database += @(foreach ($row in Read-SqlRow $connection "/* databases */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 name AS Name, CAST(state AS int) AS State, CAST(recovery_model AS int) AS Recovery, is_read_only AS IsReadOnly, database_id AS Number FROM sys.databases WHERE source_database_id IS NULL ORDER BY name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
} catch {
$notes += @{ Source = 'database'; Reason = Get-Reason $_ }
}
try {
$backup += @(foreach ($row in Read-SqlRow $connection "/* backups */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 d.name AS Name, CASE WHEN MAX(b.backup_finish_date) IS NULL THEN 0 ELSE 1 END AS BackedUp, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), MAX(CASE WHEN b.type = 'D' THEN b.backup_finish_date END)), 126) + 'Z' AS LastFull, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), MAX(CASE WHEN b.type IN ('D', 'I') THEN b.backup_finish_date END)), 126) + 'Z' AS LastData, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), MAX(CASE WHEN b.type = 'L' THEN b.backup_finish_date END)), 126) + 'Z' AS LastLog FROM sys.databases d LEFT JOIN msdb.dbo.backupset b ON b.database_name = d.name WHERE d.name <> 'tempdb' AND d.source_database_id IS NULL GROUP BY d.name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
} catch {
$notes += @{ Source = 'backup'; Reason = Get-Reason $_ }
}
try {
$log += @(foreach ($row in Read-SqlRow $connection "/* logs */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 RTRIM(instance_name) AS Name, cntr_value AS UsedPct FROM sys.dm_os_performance_counters WHERE counter_name LIKE 'Percent Log Used%' AND object_name LIKE '%:Databases%'") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
} catch {
$notes += @{ Source = 'log'; Reason = Get-Reason $_ }
}
try {
$replica += @(foreach ($row in Read-SqlRow $connection "/* replicas */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 DB_NAME(r.database_id) AS Name, g.name AS GroupName, CAST(r.synchronization_state AS int) AS Sync, CAST(r.synchronization_health AS int) AS Health, r.is_suspended AS IsSuspended FROM sys.dm_hadr_database_replica_states r JOIN sys.availability_groups g ON g.group_id = r.group_id WHERE r.is_local = 1") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
} catch {
$notes += @{ Source = 'replica'; Reason = Get-Reason $_ }
}
} catch {
$notes += @{ Source = 'database'; Reason = Get-Reason $_ }
} finally {
if ($connection) { $connection.Dispose() }
}
}
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
database = $database
backup = $backup
log = $log
replica = $replica
utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
sql_jobs = {
$job = @()
$notes = @()
$services = Get-CimInstance -Query "SELECT Name, State FROM Win32_Service WHERE Name LIKE 'MSSQL%'"
foreach ($service in $services | Where-Object -FilterScript { $_.Name -eq 'MSSQLSERVER' -or $_.Name -like 'MSSQL$*' } | Select-Object -First 8) {
$instance = @($service.Name -split '\$', 2)[-1]
$server = '.'
if ($instance -ne 'MSSQLSERVER') { $server = ".\$instance" }
if ($service.State -ne 'Running' -or $instance -notmatch '^[A-Za-z_#][A-Za-z0-9_#$]{0,15}$') {
$notes += @{ Source = 'job'; Reason = 'unknown' }
continue
}
$connection = $null
try {
$connection = New-Object -TypeName System.Data.SqlClient.SqlConnection -ArgumentList "Server=$server;Integrated Security=true;Connect Timeout=3;Application Name=rmm;Pooling=false"
$connection.Open()
try {
$job += @(foreach ($row in Read-SqlRow $connection "/* jobs */ SET LOCK_TIMEOUT 2000; SELECT TOP 1000 j.name AS Name, CAST(j.enabled AS int) AS Enabled, CAST(h.run_status AS int) AS Outcome, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), msdb.dbo.agent_datetime(h.run_date, h.run_time)), 126) + 'Z' AS LastRun, h.run_duration / 10000 * 3600 + h.run_duration / 100 % 100 * 60 + h.run_duration % 100 AS Duration FROM msdb.dbo.sysjobs j OUTER APPLY (SELECT TOP 1 run_status, run_date, run_time, run_duration FROM msdb.dbo.sysjobhistory WHERE job_id = j.job_id AND step_id = 0 ORDER BY instance_id DESC) h ORDER BY j.name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
} catch {
$notes += @{ Source = 'job'; Reason = Get-Reason $_ }
}
} catch {
$notes += @{ Source = 'job'; Reason = Get-Reason $_ }
} finally {
if ($connection) { $connection.Dispose() }
}
}
ConvertTo-Json -InputObject @{ job = $job; notes = $notes } -Compress -Depth 4
}
system = {
$os = Get-CimInstance -Query 'SELECT CSName, LastBootUpTime FROM Win32_OperatingSystem'
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$perf = Get-CimInstance -Query 'SELECT Processes, Threads, ProcessorQueueLength, ContextSwitchesPersec, SystemCallsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfOS_System'
$computer = Get-CimInstance -Query 'SELECT NumberOfLogicalProcessors FROM Win32_ComputerSystem'
$document = @{
os = @(foreach ($item in $os) {
@{ CSName = $item.CSName; LastBootUpTime = ConvertTo-Utc $item.LastBootUpTime }
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
$notes = @(@{ Source = 'v6'; Reason = Get-Reason $_ })
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
$notes = @(@{ Source = 'zone'; Reason = Get-Reason $_ })
}
$document = @{
zone = @($zone | Select-Object -Property Name, HighPrecisionTemperature, PercentPassiveLimit, ThrottleReasons)
notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
}
time_sync = {
$notes = @()
$counters = @()
try {
$found = Get-CimInstance -Query 'SELECT ComputedTimeOffset, NTPRoundtripDelay, NTPClientTimeSourceCount FROM Win32_PerfRawData_MicrosoftWindowsW32TimePerf_WindowsTimeService' -ErrorAction Stop
$counters = @($found | Select-Object -Property ComputedTimeOffset, NTPRoundtripDelay, NTPClientTimeSourceCount)
} catch { $notes += @{ Source = 'counters'; Reason = Get-Reason $_ } }
$service = @()
try {
$found = Get-CimInstance -Query "SELECT State, StartMode FROM Win32_Service WHERE Name = 'W32Time'" -ErrorAction Stop
$service = @($found | Select-Object -Property State, StartMode)
} catch { $notes += @{ Source = 'service'; Reason = Get-Reason $_ } }
$settings = @()
foreach ($key in 'HKLM:\SYSTEM\CurrentControlSet\Services\W32Time\Parameters', 'HKLM:\SOFTWARE\Policies\Microsoft\W32Time\Parameters') {
if (-not (Test-Path -LiteralPath $key)) { continue }
if ($settings.Count -eq 0) { $settings = @(@{ Type = $null; NtpServer = $null }) }
$values = Get-ItemProperty -LiteralPath $key
if ($null -ne $values.Type) { $settings[0]['Type'] = $values.Type }
if ($null -ne $values.NtpServer) { $settings[0]['NtpServer'] = $values.NtpServer }
}
$hosted = @()
$key = 'HKLM:\SYSTEM\CurrentControlSet\Services\W32Time\TimeProviders\VMICTimeProvider'
if (Test-Path -LiteralPath $key) { $hosted = @(Get-ItemProperty -LiteralPath $key | Select-Object -Property Enabled) }
$status = @()
try {
$record = Get-Newest -Log 'Microsoft-Windows-Time-Service/Operational' -XPath '*[System[Provider[@Name="Microsoft-Windows-Time-Service"] and EventID=260]]'
$values = @($record.Properties)
if ($values.Count -ge 17) {
$status = @(@{
TimeCreated = ConvertTo-Utc $record.TimeCreated
Stratum = $values[3].Value
LastSync = $values[8].Value
Source = $values[9].Value
SyncError = $values[16].Value
})
}
} catch { $notes += @{ Source = 'status'; Reason = Get-Reason $_ } }
ConvertTo-Json -InputObject @{ counters = $counters; service = $service; settings = $settings; host = $hosted; status = $status; notes = $notes } -Compress -Depth 4
}
updates = {
function Get-Part {
param($Record, [int]$Index)
if ($Record -and @($Record.Properties).Count -gt $Index) { return @($Record.Properties)[$Index].Value }
$null
}
$notes = @()
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$hotfix = @()
try {
$found = Get-CimInstance -Query 'SELECT HotFixID, InstalledOn FROM Win32_QuickFixEngineering' -ErrorAction Stop
$hotfix = @(foreach ($item in $found) {
$on = $null
try { $on = $item.InstalledOn } catch { $null = $_ }
if ($on -is [datetime]) { $on = $on.ToString('s').Substring(0, 10) }
@{ HotFixID = $item.HotFixID; InstalledOn = $on }
})
} catch { $notes += @{ Source = 'hotfix'; Reason = Get-Reason $_ } }
$policy = @()
$automatic = @()
$pause = @()
$key = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate'
if (Test-Path -LiteralPath $key) {
$policy = @(Get-ItemProperty -LiteralPath $key | Select-Object -Property WUServer, TargetGroup, TargetReleaseVersionInfo, DeferQualityUpdatesPeriodInDays, DeferFeatureUpdatesPeriodInDays)
}
if (Test-Path -LiteralPath "$key\AU") {
$automatic = @(Get-ItemProperty -LiteralPath "$key\AU" | Select-Object -Property UseWUServer, NoAutoUpdate, AUOptions)
}
$key = 'HKLM:\SOFTWARE\Microsoft\WindowsUpdate\UX\Settings'
if (Test-Path -LiteralPath $key) {
$pause = @(Get-ItemProperty -LiteralPath $key | Select-Object -Property PauseUpdatesExpiryTime)
}
$rollup = @()
try {
$packages = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\Package_for_RollupFix*' -ErrorAction Stop
$rollup = @(foreach ($item in $packages) {
if ($item.CurrentState -ne 112 -or $null -eq $item.InstallTimeHigh) { continue }
$low = [long]$item.InstallTimeLow
if ($low -lt 0) { $low += 4294967296 }
@{ KeyName = $item.PSChildName; Installed = [datetime]::FromFileTimeUtc([long]$item.InstallTimeHigh * 4294967296 + $low).ToString('o') }
})
} catch { $notes += @{ Source = 'rollup'; Reason = Get-Reason $_ } }
$scan = @()
try {
$log = 'Microsoft-Windows-WindowsUpdateClient/Operational'
$good = Get-Newest -Log $log -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=26]]'
$bad = Get-Newest -Log $log -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=25]]'
$scan = @(@{ LastSuccess = ConvertTo-Utc $good.TimeCreated; Found = Get-Part $good 0; LastFailure = ConvertTo-Utc $bad.TimeCreated; ErrorCode = Get-Part $bad 0 })
} catch { $notes += @{ Source = 'scan'; Reason = Get-Reason $_ } }
$install = @()
try {
$done = Get-Newest -Log 'System' -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=19]]' -Most 60
$good = $done | Where-Object -FilterScript { (Get-Part $_ 0) -notlike '*KB2267602*' -and (Get-Part $_ 0) -notlike '*KB4052623*' } | Select-Object -First 1
$bad = Get-Newest -Log 'System' -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=20]]'
$install = @(@{
LastSuccess = ConvertTo-Utc $good.TimeCreated
Title = Get-Part $good 0
LastFailure = ConvertTo-Utc $bad.TimeCreated
ErrorCode = Get-Part $bad 0
FailedTitle = Get-Part $bad 1
})
} catch { $notes += @{ Source = 'install'; Reason = Get-Reason $_ } }
$document = @{
version = @($version | Select-Object -Property CurrentBuildNumber, UBR, DisplayVersion, ReleaseId)
hotfix = $hotfix
policy = $policy
automatic = $automatic
pause = $pause
rollup = $rollup
scan = $scan
install = $install
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
$notes += @{ Source = 'sessions'; Reason = Get-Reason $_ }
}
$computer = Get-CimInstance -Query 'SELECT UserName FROM Win32_ComputerSystem'
$keys = Get-ItemProperty -Path 'Registry::HKEY_USERS\*\Volatile Environment' -ErrorAction SilentlyContinue -ErrorVariable failures
$logons = @(foreach ($key in $keys) {
@{ KeyName = @($key.PSPath -split '\\')[-2]; USERDOMAIN = $key.USERDOMAIN; USERNAME = $key.USERNAME }
})
if (@($failures | Where-Object -FilterScript { (Get-Reason $_) -eq 'access_denied' }).Count -gt 0) {
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

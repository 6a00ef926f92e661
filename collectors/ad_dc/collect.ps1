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

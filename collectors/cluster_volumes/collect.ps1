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

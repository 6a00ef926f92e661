# Why a source could not be read, by numbers that no language changes.
function Get-Reason {
    param($Failure)
    if ("$($Failure.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' -or $Failure.FullyQualifiedErrorId -match '0x80041003') { return 'access_denied' }
    if ($Failure.FullyQualifiedErrorId -match '0x800410(02|0e|10)') { return 'unsupported' }
    'unknown'
}
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

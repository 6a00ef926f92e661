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
            # The driver numbers the instances of one device; a disk has the first.
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

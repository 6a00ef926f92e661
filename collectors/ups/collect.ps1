$battery = Get-CimInstance -Query 'SELECT DeviceID, Name, EstimatedChargeRemaining, EstimatedRunTime, BatteryStatus, DesignVoltage FROM Win32_Battery'
$computer = Get-CimInstance -Query 'SELECT PCSystemType FROM Win32_ComputerSystem'
$document = @{
    battery = @($battery | Select-Object -Property DeviceID, Name, EstimatedChargeRemaining, EstimatedRunTime, BatteryStatus, DesignVoltage)
    computer = @($computer | Select-Object -Property PCSystemType)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

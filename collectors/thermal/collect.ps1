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

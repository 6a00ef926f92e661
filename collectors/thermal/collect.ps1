$notes = @()
$zone = @()
try {
    $zone = Get-CimInstance -Query 'SELECT Name, HighPrecisionTemperature, PercentPassiveLimit, ThrottleReasons FROM Win32_PerfRawData_Counters_ThermalZoneInformation'
} catch {
    # By its number: the text of an error is localised.
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

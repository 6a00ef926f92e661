$notes = @()
$status = @()
$threat = @()
$service = @()
try {
    $status = @(Get-CimInstance -Namespace root/microsoft/windows/defender -Query 'SELECT AMServiceEnabled, AMRunningMode, AMProductVersion, AMEngineVersion, AntivirusEnabled, RealTimeProtectionEnabled, BehaviorMonitorEnabled, IoavProtectionEnabled, NISEnabled, IsTamperProtected, AntivirusSignatureVersion, AntivirusSignatureLastUpdated, AntivirusSignatureAge, QuickScanEndTime, QuickScanAge, FullScanEndTime, FullScanAge FROM MSFT_MpComputerStatus' -ErrorAction Stop)
} catch {
    $failure = $_
    if ("$($failure.FullyQualifiedErrorId)" -like 'HRESULT 0x80041017*') {
        # Platforms of 2016 that were never updated know neither the running mode nor tamper protection.
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

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

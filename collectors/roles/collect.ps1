$notes = @()
$feature = @()
try {
    $found = Get-CimInstance -Query 'SELECT ID, Name, ParentID FROM Win32_ServerFeature' -ErrorAction Stop
    $feature = @($found | Select-Object -Property ID, Name, ParentID)
} catch {
    # Clients do not have the class.
    if ((Get-Reason $_) -ne 'unsupported') { throw }
    $notes = @(@{ Source = 'feature'; Reason = 'unsupported' })
}
ConvertTo-Json -InputObject @{ feature = $feature; notes = $notes } -Compress -Depth 4

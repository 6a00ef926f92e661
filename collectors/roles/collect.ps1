$notes = @()
$feature = @()
try {
    $found = Get-CimInstance -Query 'SELECT ID, Name, ParentID FROM Win32_ServerFeature' -ErrorAction Stop
    $feature = @($found | Select-Object -Property ID, Name, ParentID)
} catch {
    # Clients do not have the class.
    if ("$($_.FullyQualifiedErrorId)" -notlike 'HRESULT 0x80041010*') { throw }
    $notes = @(@{ Source = 'feature'; Reason = 'unsupported' })
}
ConvertTo-Json -InputObject @{ feature = $feature; notes = $notes } -Compress -Depth 4

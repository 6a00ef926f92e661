$notes = @()
$feature = @()
try {
    $found = Get-CimInstance -Query 'SELECT Name, InstallState FROM Win32_OptionalFeature WHERE InstallState = 1' -ErrorAction Stop
    $feature = @($found | Select-Object -Property Name, InstallState)
} catch {
    if ("$($_.FullyQualifiedErrorId)" -notlike 'HRESULT 0x80041010*') { throw }
    $notes = @(@{ Source = 'feature'; Reason = 'unsupported' })
}
ConvertTo-Json -InputObject @{ feature = $feature; notes = $notes } -Compress -Depth 4

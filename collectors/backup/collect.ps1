function Get-Later {
    param($One, $Other)
    if (-not $Other -or ($One -and $One -gt $Other)) { return $One }
    $Other
}
$product = @()
$notes = @()
$vss = $null
try {
    $vss = ConvertTo-Utc (Get-Newest -Log 'Application' -XPath '*[System[Provider[@Name="VSS"] and Level=2]]').TimeCreated
} catch { $notes += @{ Source = 'product'; Reason = Get-Reason $_ } }
$kinds = @(
    # 4: the backup succeeded; 14 would be its end with any result. Failures have many ids, and level 2.
    @{
        Name = 'windows server backup'
        Log = 'Microsoft-Windows-Backup'
        Good = '*[System[Provider[@Name="Microsoft-Windows-Backup"] and EventID=4]]'
        Bad = '*[System[Provider[@Name="Microsoft-Windows-Backup"] and Level=2]]'
    }
    # 190: a job has ended; its level is the result.
    @{
        Name = 'veeam agent'
        Log = 'Veeam Agent'
        Good = '*[System[Provider[@Name="Veeam Agent"] and EventID=190 and (Level=0 or Level=3 or Level=4)]]'
        Bad = '*[System[Provider[@Name="Veeam Agent"] and EventID=190 and Level=2]]'
    }
    @{
        Name = 'veeam backup'
        Log = 'Veeam Backup'
        Good = '*[System[Provider[@Name="Veeam MP"] and EventID=190 and (Level=0 or Level=3 or Level=4)]]'
        Bad = '*[System[Provider[@Name="Veeam MP"] and EventID=190 and Level=2]]'
    }
)
foreach ($kind in $kinds) {
    $good = $null
    $bad = $null
    try {
        $good = Get-Newest -Log $kind['Log'] -XPath $kind['Good']
        $bad = Get-Newest -Log $kind['Log'] -XPath $kind['Bad']
    } catch {
        # Without its log a product is not there.
        $reason = Get-Reason $_
        if ($reason -ne 'unsupported') { $notes += @{ Source = 'product'; Reason = $reason } }
    }
    if (-not $good -and -not $bad) { continue }
    $failure = $null
    if ($bad) { $failure = $bad.Id }
    $warned = $null
    if ($good) { $warned = $good.Level -eq 3 }
    $product += @{
        Product = $kind['Name']
        LastSuccess = ConvertTo-Utc $good.TimeCreated
        LastFailure = ConvertTo-Utc $bad.TimeCreated
        LastAttempt = Get-Later (ConvertTo-Utc $good.TimeCreated) (ConvertTo-Utc $bad.TimeCreated)
        FailureId = $failure
        Warned = $warned
        Copies = $null
        LastVssError = $vss
    }
}

$found = @()
try {
    $found = @(Get-CimInstance -Query 'SELECT ID, InstallDate FROM Win32_ShadowCopy' -ErrorAction Stop)
} catch {
    $reason = Get-Reason $_
    # 0x80041014: the provider of shadow copies cannot be loaded, as without administrator's rights.
    if ($_.FullyQualifiedErrorId -like 'HRESULT 0x80041014*') { $reason = 'access_denied' }
    $notes += @{ Source = 'product'; Reason = $reason }
}
$newest = $null
foreach ($copy in $found) {
    $newest = Get-Later $newest (ConvertTo-Utc $copy.InstallDate)
}
if ($found.Count -gt 0) {
    $product += @{
        Product = 'shadow copies'
        LastSuccess = $newest
        LastFailure = $null
        LastAttempt = $newest
        FailureId = $null
        Warned = $null
        Copies = $found.Count
        LastVssError = $vss
    }
}
ConvertTo-Json -InputObject @{ product = $product; notes = $notes } -Compress -Depth 4

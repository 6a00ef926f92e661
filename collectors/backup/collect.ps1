# The newest event of one kind; nothing where the log or the event is not there.
function Get-Newest {
    param([string]$Log, [string]$XPath)
    try {
        Get-WinEvent -LogName $Log -FilterXPath $XPath -MaxEvents 1 -ErrorAction Stop
    } catch {
        if ("$($_.FullyQualifiedErrorId)" -notlike 'NoMatching*Found*') { throw }
    }
}
function Get-Reason {
    param($Failure)
    $codes = $Failure.Exception.HResult, $Failure.Exception.InnerException.HResult
    # 0x80041014: the provider of shadow copies cannot be loaded, as without administrator's rights.
    if ("$($Failure.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' -or -2147024891 -in $codes -or "$($Failure.FullyQualifiedErrorId)" -match '^HRESULT 0x800410(03|14)') { return 'access_denied' }
    'unknown'
}
function Get-When {
    param($Record)
    if ($Record) { return $Record.TimeCreated.ToUniversalTime().ToString('o') }
    $null
}
function Get-Later {
    param($One, $Other)
    if (-not $Other -or ($One -and $One -gt $Other)) { return $One }
    $Other
}
$product = @()
$notes = @()
$vss = $null
try {
    $vss = Get-When (Get-Newest -Log 'Application' -XPath '*[System[Provider[@Name="VSS"] and Level=2]]')
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
    } catch { $notes += @{ Source = 'product'; Reason = Get-Reason $_ } }
    if (-not $good -and -not $bad) { continue }
    $failure = $null
    if ($bad) { $failure = $bad.Id }
    $warned = $null
    if ($good) { $warned = $good.Level -eq 3 }
    $product += @{
        Product = $kind['Name']
        LastSuccess = Get-When $good
        LastFailure = Get-When $bad
        LastAttempt = Get-Later (Get-When $good) (Get-When $bad)
        FailureId = $failure
        Warned = $warned
        Copies = $null
        LastVssError = $vss
    }
}

$found = @()
try {
    $found = @(Get-CimInstance -Query 'SELECT ID, InstallDate FROM Win32_ShadowCopy' -ErrorAction Stop)
} catch { $notes += @{ Source = 'product'; Reason = Get-Reason $_ } }
$newest = $null
foreach ($copy in $found) {
    $made = $copy.InstallDate
    if ($made -is [datetime]) { $made = $made.ToUniversalTime().ToString('o') }
    if ($made -and (-not $newest -or "$made" -gt $newest)) { $newest = "$made" }
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

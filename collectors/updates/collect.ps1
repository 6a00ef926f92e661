function Get-Part {
    param($Record, [int]$Index)
    if ($Record -and @($Record.Properties).Count -gt $Index) { return @($Record.Properties)[$Index].Value }
    $null
}
$notes = @()
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'

$hotfix = @()
try {
    $found = Get-CimInstance -Query 'SELECT HotFixID, InstalledOn FROM Win32_QuickFixEngineering' -ErrorAction Stop
    $hotfix = @(foreach ($item in $found) {
        $on = $null
        # PowerShell itself makes a date of the text here, and fails where it is not one.
        try { $on = $item.InstalledOn } catch { $null = $_ }
        if ($on -is [datetime]) { $on = $on.ToString('s').Substring(0, 10) }
        @{ HotFixID = $item.HotFixID; InstalledOn = $on }
    })
} catch { $notes += @{ Source = 'hotfix'; Reason = Get-Reason $_ } }

$policy = @()
$automatic = @()
$pause = @()
$key = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate'
if (Test-Path -LiteralPath $key) {
    $policy = @(Get-ItemProperty -LiteralPath $key | Select-Object -Property WUServer, TargetGroup, TargetReleaseVersionInfo, DeferQualityUpdatesPeriodInDays, DeferFeatureUpdatesPeriodInDays)
}
if (Test-Path -LiteralPath "$key\AU") {
    $automatic = @(Get-ItemProperty -LiteralPath "$key\AU" | Select-Object -Property UseWUServer, NoAutoUpdate, AUOptions)
}
$key = 'HKLM:\SOFTWARE\Microsoft\WindowsUpdate\UX\Settings'
if (Test-Path -LiteralPath $key) {
    $pause = @(Get-ItemProperty -LiteralPath $key | Select-Object -Property PauseUpdatesExpiryTime)
}

# Cumulative updates by the name of their package, which is the same in every language; 112 is "installed".
$rollup = @()
try {
    $packages = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\Package_for_RollupFix*' -ErrorAction Stop
    $rollup = @(foreach ($item in $packages) {
        if ($item.CurrentState -ne 112 -or $null -eq $item.InstallTimeHigh) { continue }
        # A DWORD comes as a signed number.
        $low = [long]$item.InstallTimeLow
        if ($low -lt 0) { $low += 4294967296 }
        @{ KeyName = $item.PSChildName; Installed = [datetime]::FromFileTimeUtc([long]$item.InstallTimeHigh * 4294967296 + $low).ToString('o') }
    })
} catch { $notes += @{ Source = 'rollup'; Reason = Get-Reason $_ } }

$scan = @()
try {
    $log = 'Microsoft-Windows-WindowsUpdateClient/Operational'
    $good = Get-Newest -Log $log -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=26]]'
    $bad = Get-Newest -Log $log -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=25]]'
    $scan = @(@{ LastSuccess = ConvertTo-Utc $good.TimeCreated; Found = Get-Part $good 0; LastFailure = ConvertTo-Utc $bad.TimeCreated; ErrorCode = Get-Part $bad 0 })
} catch { $notes += @{ Source = 'scan'; Reason = Get-Reason $_ } }

$install = @()
try {
    # Virus definitions come several times a day and would hide the rest: their articles have these numbers everywhere.
    $done = Get-Newest -Log 'System' -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=19]]' -Most 60
    $good = $done | Where-Object -FilterScript { (Get-Part $_ 0) -notlike '*KB2267602*' -and (Get-Part $_ 0) -notlike '*KB4052623*' } | Select-Object -First 1
    $bad = Get-Newest -Log 'System' -XPath '*[System[Provider[@Name="Microsoft-Windows-WindowsUpdateClient"] and EventID=20]]'
    $install = @(@{
        LastSuccess = ConvertTo-Utc $good.TimeCreated
        Title = Get-Part $good 0
        LastFailure = ConvertTo-Utc $bad.TimeCreated
        ErrorCode = Get-Part $bad 0
        FailedTitle = Get-Part $bad 1
    })
} catch { $notes += @{ Source = 'install'; Reason = Get-Reason $_ } }

$document = @{
    version = @($version | Select-Object -Property CurrentBuildNumber, UBR, DisplayVersion, ReleaseId)
    hotfix = $hotfix
    policy = $policy
    automatic = $automatic
    pause = $pause
    rollup = $rollup
    scan = $scan
    install = $install
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

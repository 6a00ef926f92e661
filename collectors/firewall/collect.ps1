$notes = @()
$profiles = @()
$service = @()
$policy = @()
try {
    $profiles = @(Get-CimInstance -Namespace root/standardcimv2 -Query 'SELECT Name, Enabled, DefaultInboundAction, DefaultOutboundAction, LogBlocked, LogAllowed, LogMaxSizeKilobytes FROM MSFT_NetFirewallProfile' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'profile'; Reason = (Get-Reason -Failure $_) }) }
try {
    $service = @(Get-CimInstance -Query "SELECT State FROM Win32_Service WHERE Name = 'MpsSvc'" -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'service'; Reason = (Get-Reason -Failure $_) }) }
try {
    $root = 'HKLM:\SOFTWARE\Policies\Microsoft\WindowsFirewall'
    # The private profile was once called standard, and administrative templates still write that name.
    $names = @(@('Domain', 'DomainProfile'), @('Private', 'StandardProfile'), @('Private', 'PrivateProfile'), @('Public', 'PublicProfile'))
    $found = @{}
    foreach ($pair in $names) {
        $key = "$root\$($pair[1])"
        if (-not (Test-Path -LiteralPath $key)) { continue }
        $values = Get-ItemProperty -LiteralPath $key -ErrorAction Stop | Select-Object -Property EnableFirewall, DefaultInboundAction, DefaultOutboundAction
        if ($null -ne $values) { $found[$pair[0]] = $values }
    }
    $policy = @(foreach ($name in 'Domain', 'Private', 'Public') {
        $values = $found[$name]
        if ($null -eq $values) { continue }
        @{
            Name = $name
            EnableFirewall = $values.EnableFirewall
            DefaultInboundAction = $values.DefaultInboundAction
            DefaultOutboundAction = $values.DefaultOutboundAction
        }
    })
} catch { $notes += @(@{ Source = 'policy'; Reason = (Get-Reason -Failure $_) }) }
$document = @{
    profile = @($profiles | Select-Object -Property Name, Enabled, DefaultInboundAction, DefaultOutboundAction, LogBlocked, LogAllowed, LogMaxSizeKilobytes)
    policy = $policy
    service = @($service | Select-Object -Property State)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

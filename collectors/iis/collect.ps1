$notes = @()
$web = Get-CimInstance -Query "SELECT Name, CurrentConnections, TotalMethodRequestsPersec, GetRequestsPersec, PostRequestsPersec, NotFoundErrorsPersec, BytesReceivedPersec, BytesSentPersec, ServiceUptime, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_W3SVC_WebService WHERE Name != '_Total'"
$setup = @()
$key = 'HKLM:\SOFTWARE\Microsoft\InetStp'
if (Test-Path -LiteralPath $key) {
    $values = Get-ItemProperty -LiteralPath $key
    $setup = @(@{ InstallPath = $values.InstallPath; VersionString = $values.VersionString })
}
$site = @()
try {
    # Bounded: a configuration of more lines than this is nobody's.
    $lines = Get-Content -LiteralPath "$($setup[0].InstallPath)\config\applicationHost.config" -TotalCount 50000 -Encoding UTF8 -ErrorAction Stop
    $sites = ([xml]($lines -join "`n")).configuration['system.applicationHost'].sites
    $site = @(foreach ($item in $sites.site) {
        $root = @($item.application | Where-Object -FilterScript { $_.path -eq '/' })[0]
        $pool = $root.applicationPool
        if (-not $pool) { $pool = $sites.applicationDefaults.applicationPool }
        @{
            Name = "$($item.name)"
            Id = [long]"$($item.id)"
            AutoStart = "$($item.serverAutoStart)" -ne 'false'
            Pool = $pool
            Bindings = @(foreach ($binding in $item.bindings.binding) { "$($binding.protocol) $($binding.bindingInformation)" })
        }
    })
} catch {
    $notes += @{ Source = 'site'; Reason = Get-Reason $_ }
}
$state = @()
try {
    $known = Get-CimInstance -Namespace root/WebAdministration -Query 'SELECT Name FROM Site'
    $state = @(foreach ($item in $known | Select-Object -First 200) {
        @{ Name = $item.Name; State = (Invoke-CimMethod -InputObject $item -MethodName GetState).ReturnValue }
    })
} catch {
    $notes += @{ Source = 'state'; Reason = Get-Reason $_ }
}
$document = @{
    web = @($web | Select-Object -Property Name, CurrentConnections, TotalMethodRequestsPersec, GetRequestsPersec, PostRequestsPersec, NotFoundErrorsPersec, BytesReceivedPersec, BytesSentPersec, ServiceUptime, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    setup = $setup
    site = $site
    state = $state
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

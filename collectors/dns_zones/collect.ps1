$zone = Get-CimInstance -Namespace root/MicrosoftDNS -Query 'SELECT Name, ZoneType, DsIntegrated, Reverse, Paused, Shutdown, AutoCreated, Aging, AllowUpdate, SecureSecondaries, MasterServers, LastSuccessfulSoaCheck, LastSuccessfulXfr FROM MicrosoftDNS_Zone'
$document = @{
    zone = @(foreach ($item in $zone) {
        @{
            Name = $item.Name
            ZoneType = $item.ZoneType
            DsIntegrated = $item.DsIntegrated
            Reverse = $item.Reverse
            Paused = $item.Paused
            Shutdown = $item.Shutdown
            AutoCreated = $item.AutoCreated
            Aging = $item.Aging
            AllowUpdate = $item.AllowUpdate
            SecureSecondaries = $item.SecureSecondaries
            MasterServers = @($item.MasterServers | Where-Object -FilterScript { $_ })
            LastSuccessfulSoaCheck = $item.LastSuccessfulSoaCheck
            LastSuccessfulXfr = $item.LastSuccessfulXfr
        }
    })
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

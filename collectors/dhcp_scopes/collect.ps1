# The scopes cannot be queried: the provider has no instances, only methods that tell them.
$scopes = Invoke-CimMethod -Namespace root/Microsoft/Windows/DHCP -ClassName PS_DhcpServerv4Scope -MethodName Get
$counts = Invoke-CimMethod -Namespace root/Microsoft/Windows/DHCP -ClassName PS_DhcpServerv4ScopeStatistics -MethodName Get
$document = @{
    scope = @(foreach ($item in $scopes.cmdletOutput) {
        @{
            ScopeId = "$($item.ScopeId)"
            Name = $item.Name
            State = "$($item.State)"
            SuperscopeName = $item.SuperscopeName
            StartRange = "$($item.StartRange)"
            EndRange = "$($item.EndRange)"
            SubnetMask = "$($item.SubnetMask)"
        }
    })
    statistics = @(foreach ($item in $counts.cmdletOutput) {
        @{
            ScopeId = "$($item.ScopeId)"
            AddressesInUse = $item.AddressesInUse
            AddressesFree = $item.AddressesFree
            PercentageInUse = $item.PercentageInUse
            PendingOffers = $item.PendingOffers
            ReservedAddress = $item.ReservedAddress
        }
    })
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

$notes = @()
$adapter = Get-CimInstance -Namespace 'root/StandardCimv2' -Query 'SELECT Name, InterfaceDescription, InterfaceIndex, NetworkAddresses, HardwareInterface, Virtual, InterfaceAdminStatus, InterfaceOperationalStatus, MediaConnectState, MediaDuplexState, NdisPhysicalMedium, ReceiveLinkSpeed, MtuSize, VlanID, DriverProvider, DriverVersionString, DriverDate FROM MSFT_NetAdapter WHERE Hidden = FALSE'
$config = @()
try {
    $config = Get-CimInstance -Query 'SELECT InterfaceIndex, IPAddress, IPSubnet, DefaultIPGateway, DNSServerSearchOrder, DNSDomain, DHCPEnabled, DHCPServer, DHCPLeaseExpires FROM Win32_NetworkAdapterConfiguration WHERE IPEnabled = TRUE'
} catch {
    $notes += @{ Source = 'config'; Reason = (Get-Reason -Failure $_) }
}
$profiles = @()
try {
    $profiles = Get-CimInstance -Namespace 'root/StandardCimv2' -Query 'SELECT InterfaceIndex, Name, NetworkCategory, IPv4Connectivity, IPv6Connectivity FROM MSFT_NetConnectionProfile'
} catch {
    $notes += @{ Source = 'profile'; Reason = (Get-Reason -Failure $_) }
}
$route4 = @()
try {
    $route4 = Get-CimInstance -Namespace 'root/StandardCimv2' -Query "SELECT InterfaceIndex, NextHop, RouteMetric, InterfaceMetric FROM MSFT_NetRoute WHERE DestinationPrefix = '0.0.0.0/0'"
} catch {
    $notes += @{ Source = 'route4'; Reason = (Get-Reason -Failure $_) }
}
$route6 = @()
try {
    $route6 = Get-CimInstance -Namespace 'root/StandardCimv2' -Query "SELECT InterfaceIndex, NextHop, RouteMetric, InterfaceMetric FROM MSFT_NetRoute WHERE DestinationPrefix = '::/0'"
} catch {
    $notes += @{ Source = 'route6'; Reason = (Get-Reason -Failure $_) }
}
$document = @{
    adapter = @($adapter | Select-Object -Property Name, InterfaceDescription, InterfaceIndex, NetworkAddresses, HardwareInterface, Virtual, InterfaceAdminStatus, InterfaceOperationalStatus, MediaConnectState, MediaDuplexState, NdisPhysicalMedium, ReceiveLinkSpeed, MtuSize, VlanID, DriverProvider, DriverVersionString, DriverDate)
    config = @(foreach ($item in $config) {
        @{
            InterfaceIndex = $item.InterfaceIndex
            IPAddress = $item.IPAddress
            IPSubnet = $item.IPSubnet
            DefaultIPGateway = $item.DefaultIPGateway
            DNSServerSearchOrder = $item.DNSServerSearchOrder
            DNSDomain = $item.DNSDomain
            DHCPEnabled = $item.DHCPEnabled
            DHCPServer = $item.DHCPServer
            DHCPLeaseExpires = ConvertTo-Utc $item.DHCPLeaseExpires
        }
    })
    profile = @($profiles | Select-Object -Property InterfaceIndex, Name, NetworkCategory, IPv4Connectivity, IPv6Connectivity)
    route4 = @($route4 | Select-Object -Property InterfaceIndex, NextHop, RouteMetric, InterfaceMetric)
    route6 = @($route6 | Select-Object -Property InterfaceIndex, NextHop, RouteMetric, InterfaceMetric)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

$notes = @()
$cluster = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, QuorumType, QuorumPath, DynamicQuorumEnabled, WitnessDynamicWeight FROM MSCluster_Cluster'
$computer = Get-CimInstance -Query 'SELECT Name FROM Win32_ComputerSystem'
$core = @()
try {
    $core = @(Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, OwnerNode FROM MSCluster_ResourceGroup WHERE GroupType = 1')
} catch {
    $notes += @{ Source = 'core'; Reason = Get-Reason $_ }
}
$node = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State, DynamicWeight FROM MSCluster_Node'
$network = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State FROM MSCluster_Network'
$resource = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State, OwnerGroup FROM MSCluster_Resource'
$document = @{
    cluster = @($cluster | Select-Object -Property Name, QuorumType, QuorumPath, DynamicQuorumEnabled, WitnessDynamicWeight)
    computer = @($computer | Select-Object -Property Name)
    core = @($core | Select-Object -Property Name, OwnerNode)
    node = @($node | Select-Object -Property Name, State, DynamicWeight)
    network = @($network | Select-Object -Property Name, State)
    resource = @($resource | Select-Object -Property Name, State, OwnerGroup)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

$group = Get-CimInstance -Namespace root/MSCluster -Query 'SELECT Name, State, OwnerNode, GroupType, IsCore, PersistentState, Priority FROM MSCluster_ResourceGroup'
$computer = Get-CimInstance -Query 'SELECT Name FROM Win32_ComputerSystem'
$document = @{
    group = @($group | Select-Object -Property Name, State, OwnerNode, GroupType, IsCore, PersistentState, Priority)
    computer = @($computer | Select-Object -Property Name)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

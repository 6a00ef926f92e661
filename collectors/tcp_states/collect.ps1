$connections = Get-CimInstance -Namespace 'root/StandardCimv2' -Query 'SELECT State, LocalPort FROM MSFT_NetTCPConnection'
$setting = Get-CimInstance -Namespace 'root/StandardCimv2' -Query "SELECT DynamicPortRangeStartPort, DynamicPortRangeNumberOfPorts FROM MSFT_NetTCPSetting WHERE SettingName = 'Internet'" | Select-Object -First 1
$first = [int]$setting.DynamicPortRangeStartPort
$ports = [int]$setting.DynamicPortRangeNumberOfPorts
$count = @{}
$taken = @{}
foreach ($item in $connections) {
    # [int]: where the module NetTCPIP is loaded, its own view makes a word of the state's number.
    $state = "$([int]$item.State)"
    $count[$state] = 1 + $count[$state]
    $port = [int]$item.LocalPort
    if ($port -ge $first -and $port -lt $first + $ports) { $taken["$port"] = $true }
}
$dynamic = $null
$used = $null
if ($ports -gt 0) {
    $dynamic = $ports
    $used = $taken.Count
}
$states = @{
    Listen = 0 + $count['2']
    SynSent = 0 + $count['3']
    SynReceived = 0 + $count['4']
    Established = 0 + $count['5']
    FinWait = 0 + $count['6'] + $count['7']
    CloseWait = 0 + $count['8']
    Closing = 0 + $count['9'] + $count['10']
    TimeWait = 0 + $count['11']
    Bound = 0 + $count['100']
    Total = @($connections).Count
    DynamicPorts = $dynamic
    DynamicUsed = $used
}
ConvertTo-Json -InputObject @{ states = @($states) } -Compress -Depth 4

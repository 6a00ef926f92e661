$services = Get-CimInstance -Query "SELECT Name, State, StartMode, StartName FROM Win32_Service WHERE Name LIKE 'MSSQL%'"
# Keys such as MSSQL15.SQLEXPRESS; analysis and reporting services begin with other letters.
$keys = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Microsoft SQL Server\MSSQL*.*\Setup' -ErrorAction SilentlyContinue
$instance = @(foreach ($setup in $keys) {
    $name = (@($setup.PSPath -split '\\')[-2] -split '\.', 2)[1]
    $service = 'MSSQL$' + $name
    # Classes of counters bear the service and the object, without what is neither letter nor digit.
    $first = $name -replace '[^A-Za-z0-9]', ''
    $second = "MSSQL$first"
    if ($name -eq 'MSSQLSERVER') { $service = 'MSSQLSERVER'; $first = 'SERVER'; $second = 'SQLServer' }
    $found = $null
    foreach ($item in $services) { if ($item.Name -eq $service) { $found = $item } }
    $counters = 'none'
    $buffer = $null; $general = $null; $statistics = $null; $locks = $null; $memory = $null
    if ($found.State -eq 'Running') {
        try {
            $buffer = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}BufferManager" -Property Buffercachehitratio, Buffercachehitratio_Base, Pagelifeexpectancy
            $general = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}GeneralStatistics" -Property UserConnections, LoginsPersec, Processesblocked
            $statistics = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}SQLStatistics" -Property BatchRequestsPersec, SQLCompilationsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime
            $locks = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}Locks" -Filter "Name = '_Total'" -Property NumberofDeadlocksPersec, LockWaitsPersec
            $memory = Get-CimInstance -ClassName "Win32_PerfRawData_MSSQL${first}_${second}MemoryManager" -Property TotalServerMemoryKB, TargetServerMemoryKB, MemoryGrantsPending
            $counters = 'ok'
        } catch { $counters = Get-Reason $_ }
    }
    @{
        Name = $name
        Service = $service
        State = $found.State
        StartMode = $found.StartMode
        StartName = $found.StartName
        Version = $setup.Version
        PatchLevel = $setup.PatchLevel
        Edition = $setup.Edition
        Counters = $counters
        Buffercachehitratio = $buffer.Buffercachehitratio
        Buffercachehitratio_Base = $buffer.Buffercachehitratio_Base
        Pagelifeexpectancy = $buffer.Pagelifeexpectancy
        UserConnections = $general.UserConnections
        LoginsPersec = $general.LoginsPersec
        Processesblocked = $general.Processesblocked
        BatchRequestsPersec = $statistics.BatchRequestsPersec
        SQLCompilationsPersec = $statistics.SQLCompilationsPersec
        NumberofDeadlocksPersec = $locks.NumberofDeadlocksPersec
        LockWaitsPersec = $locks.LockWaitsPersec
        TotalServerMemoryKB = $memory.TotalServerMemoryKB
        TargetServerMemoryKB = $memory.TargetServerMemoryKB
        MemoryGrantsPending = $memory.MemoryGrantsPending
        Timestamp_Sys100NS = $statistics.Timestamp_Sys100NS
        Timestamp_PerfTime = $statistics.Timestamp_PerfTime
        Frequency_PerfTime = $statistics.Frequency_PerfTime
    }
})
ConvertTo-Json -InputObject @{ instance = $instance } -Compress -Depth 4

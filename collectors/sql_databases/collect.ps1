$database = @()
$backup = @()
$log = @()
$replica = @()
$notes = @()
$services = Get-CimInstance -Query "SELECT Name, State FROM Win32_Service WHERE Name LIKE 'MSSQL%'"
foreach ($service in $services | Where-Object -FilterScript { $_.Name -eq 'MSSQLSERVER' -or $_.Name -like 'MSSQL$*' } | Select-Object -First 8) {
    $instance = @($service.Name -split '\$', 2)[-1]
    $server = '.'
    if ($instance -ne 'MSSQLSERVER') { $server = ".\$instance" }
    # What is no name of an instance never gets into the connection's text.
    if ($service.State -ne 'Running' -or $instance -notmatch '^[A-Za-z_#][A-Za-z0-9_#$]{0,15}$') {
        $notes += @{ Source = 'database'; Reason = 'unknown' }
        continue
    }
    $connection = $null
    try {
        $connection = New-Object -TypeName System.Data.SqlClient.SqlConnection -ArgumentList "Server=$server;Integrated Security=true;Connect Timeout=3;Application Name=rmm;Pooling=false"
        $connection.Open()
        try {
            $database += @(foreach ($row in Read-SqlRow $connection "/* databases */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 name AS Name, CAST(state AS int) AS State, CAST(recovery_model AS int) AS Recovery, is_read_only AS IsReadOnly, database_id AS Number FROM sys.databases WHERE source_database_id IS NULL ORDER BY name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
        } catch {
            $notes += @{ Source = 'database'; Reason = Get-Reason $_ }
        }
        try {
            $backup += @(foreach ($row in Read-SqlRow $connection "/* backups */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 d.name AS Name, CASE WHEN MAX(b.backup_finish_date) IS NULL THEN 0 ELSE 1 END AS BackedUp, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), MAX(CASE WHEN b.type = 'D' THEN b.backup_finish_date END)), 126) + 'Z' AS LastFull, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), MAX(CASE WHEN b.type IN ('D', 'I') THEN b.backup_finish_date END)), 126) + 'Z' AS LastData, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), MAX(CASE WHEN b.type = 'L' THEN b.backup_finish_date END)), 126) + 'Z' AS LastLog FROM sys.databases d LEFT JOIN msdb.dbo.backupset b ON b.database_name = d.name WHERE d.name <> 'tempdb' AND d.source_database_id IS NULL GROUP BY d.name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
        } catch {
            $notes += @{ Source = 'backup'; Reason = Get-Reason $_ }
        }
        try {
            $log += @(foreach ($row in Read-SqlRow $connection "/* logs */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 RTRIM(instance_name) AS Name, cntr_value AS UsedPct FROM sys.dm_os_performance_counters WHERE counter_name LIKE 'Percent Log Used%' AND object_name LIKE '%:Databases%'") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
        } catch {
            $notes += @{ Source = 'log'; Reason = Get-Reason $_ }
        }
        try {
            $replica += @(foreach ($row in Read-SqlRow $connection "/* replicas */ SET LOCK_TIMEOUT 2000; SELECT TOP 2000 DB_NAME(r.database_id) AS Name, g.name AS GroupName, CAST(r.synchronization_state AS int) AS Sync, CAST(r.synchronization_health AS int) AS Health, r.is_suspended AS IsSuspended FROM sys.dm_hadr_database_replica_states r JOIN sys.availability_groups g ON g.group_id = r.group_id WHERE r.is_local = 1") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
        } catch {
            $notes += @{ Source = 'replica'; Reason = Get-Reason $_ }
        }
    } catch {
        $notes += @{ Source = 'database'; Reason = Get-Reason $_ }
    } finally {
        if ($connection) { $connection.Dispose() }
    }
}
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
    database = $database
    backup = $backup
    log = $log
    replica = $replica
    utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

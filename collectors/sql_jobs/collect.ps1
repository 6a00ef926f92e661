$job = @()
$notes = @()
$services = Get-CimInstance -Query "SELECT Name, State FROM Win32_Service WHERE Name LIKE 'MSSQL%'"
foreach ($service in $services | Where-Object -FilterScript { $_.Name -eq 'MSSQLSERVER' -or $_.Name -like 'MSSQL$*' } | Select-Object -First 8) {
    $instance = @($service.Name -split '\$', 2)[-1]
    $server = '.'
    if ($instance -ne 'MSSQLSERVER') { $server = ".\$instance" }
    # What is no name of an instance never gets into the connection's text.
    if ($service.State -ne 'Running' -or $instance -notmatch '^[A-Za-z_#][A-Za-z0-9_#$]{0,15}$') {
        $notes += @{ Source = 'job'; Reason = 'unknown' }
        continue
    }
    $connection = $null
    try {
        $connection = New-Object -TypeName System.Data.SqlClient.SqlConnection -ArgumentList "Server=$server;Integrated Security=true;Connect Timeout=3;Application Name=rmm;Pooling=false"
        $connection.Open()
        try {
            $job += @(foreach ($row in Read-SqlRow $connection "/* jobs */ SET LOCK_TIMEOUT 2000; SELECT TOP 1000 j.name AS Name, CAST(j.enabled AS int) AS Enabled, CAST(h.run_status AS int) AS Outcome, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), msdb.dbo.agent_datetime(h.run_date, h.run_time)), 126) + 'Z' AS LastRun, h.run_duration / 10000 * 3600 + h.run_duration / 100 % 100 * 60 + h.run_duration % 100 AS Duration FROM msdb.dbo.sysjobs j OUTER APPLY (SELECT TOP 1 run_status, run_date, run_time, run_duration FROM msdb.dbo.sysjobhistory WHERE job_id = j.job_id AND step_id = 0 ORDER BY instance_id DESC) h ORDER BY j.name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
        } catch {
            $notes += @{ Source = 'job'; Reason = Get-Reason $_ }
        }
    } catch {
        $notes += @{ Source = 'job'; Reason = Get-Reason $_ }
    } finally {
        if ($connection) { $connection.Dispose() }
    }
}
ConvertTo-Json -InputObject @{ job = $job; notes = $notes } -Compress -Depth 4

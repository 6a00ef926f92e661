# SQL Server's own client, on the machine itself and with the account of the session: no password and no second hop.
function Read-Rows {
    param($Connection, [string]$Text)
    $command = New-Object -TypeName System.Data.SqlClient.SqlCommand -ArgumentList $Text, $Connection
    $command.CommandTimeout = 10
    $reader = $command.ExecuteReader()
    try {
        while ($reader.Read()) {
            $row = @{}
            for ($place = 0; $place -lt $reader.FieldCount; $place++) {
                $value = $reader.GetValue($place)
                if ($value -is [System.DBNull]) { $value = $null }
                $row[$reader.GetName($place)] = $value
            }
            $row
        }
    } finally {
        $reader.Close()
    }
}
# By SQL Server's numbers: no login, no permission, no access to the database.
function Get-Reason {
    param($Failure)
    $inner = $Failure.Exception
    while ($inner.InnerException) { $inner = $inner.InnerException }
    if ($inner.Number -in 229, 262, 297, 300, 371, 916, 4060, 18452, 18456) { return 'access_denied' }
    if ("$($Failure.FullyQualifiedErrorId)" -match 'ConstrainedLanguage') { return 'unsupported' }
    'unknown'
}
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
            $job += @(foreach ($row in Read-Rows $connection "/* jobs */ SET LOCK_TIMEOUT 2000; SELECT TOP 1000 j.name AS Name, CAST(j.enabled AS int) AS Enabled, CAST(h.run_status AS int) AS Outcome, CONVERT(varchar(19), DATEADD(second, DATEDIFF(second, GETDATE(), GETUTCDATE()), msdb.dbo.agent_datetime(h.run_date, h.run_time)), 126) + 'Z' AS LastRun, h.run_duration / 10000 * 3600 + h.run_duration / 100 % 100 * 60 + h.run_duration % 100 AS Duration FROM msdb.dbo.sysjobs j OUTER APPLY (SELECT TOP 1 run_status, run_date, run_time, run_duration FROM msdb.dbo.sysjobhistory WHERE job_id = j.job_id AND step_id = 0 ORDER BY instance_id DESC) h ORDER BY j.name") { $row['Instance'] = $instance; $row['Key'] = "$instance|$($row['Name'])"; $row })
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

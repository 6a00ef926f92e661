param([hashtable]$Bookmarks = @{}, [int]$Seconds = 3600, [int]$MostEvents = 200)
# Critical, errors and warnings of the two that every system has; of the others only what says something.
$channels = @(
    @{ Log = 'System'; Filter = '(Level=1 or Level=2 or Level=3 or EventID=1074 or EventID=19 or EventID=104)' }
    @{ Log = 'Application'; Filter = '(Level=1 or Level=2 or Level=3)' }
    @{ Log = 'Security'; Filter = '(EventID=4625 or EventID=4720 or EventID=4732 or EventID=4740 or EventID=1102)' }
    @{ Log = 'Microsoft-Windows-PowerShell/Operational'; Filter = '(EventID=4104 and Level=3)' }
    @{ Log = 'Microsoft-Windows-Backup'; Filter = '(EventID=4 or EventID=5 or EventID=14)' }
)
# Which values of an event are shown: by position, since their names are in its template alone. None of a script's text.
$positions = @{ '4625' = @(5, 6, 19); '4720' = @(0, 1, 4); '4732' = @(1, 2, 6); '4740' = @(0, 1); '4104' = @(); '20' = @(0, 1) }
$events = @()
$logs = @()
foreach ($channel in $channels) {
    $name = $channel.Log
    $log = @{ Log = $name; Provider = '*'; Id = 0; Level = -1; Access = 'ok'; More = $false }
    try {
        $newest = Get-WinEvent -LogName $name -MaxEvents 1
        $log.Record = $newest.RecordId
        $log.Time = $newest.TimeCreated.ToUniversalTime().ToString('o')
        # A channel to which nothing was written needs no search; on most polls that is most of them.
        if ($Bookmarks[$name] -ne $newest.RecordId) {
            $where = "TimeCreated[timediff(@SystemTime) <= $([long]$Seconds * 1000)]"
            # Numbers begin again when a log is cleared: what is above the bookmark, and what is younger than it.
            if ($null -ne $Bookmarks[$name]) { $where = "(EventRecordID > $([long]$Bookmarks[$name]) or $where)" }
            $found = @(Get-WinEvent -LogName $name -FilterXPath "*[System[$($channel.Filter) and $where]]" -MaxEvents ($MostEvents + 1))
            $log.More = $found.Count -gt $MostEvents
            $events += foreach ($one in ($found | Select-Object -First $MostEvents)) {
                $wanted = 0, 1, 2
                if ($null -ne $positions["$($one.Id)"]) { $wanted = $positions["$($one.Id)"] }
                $values = foreach ($at in $wanted) {
                    $value = $one.Properties[$at].Value
                    if ($value -is [datetime]) { $value.ToUniversalTime().ToString('o') }
                    elseif ($value -is [string] -or $value -is [ValueType]) { "$value" }
                }
                $detail = "$($values -join ', ')"
                if ($detail.Length -gt 200) { $detail = $detail.Substring(0, 200) }
                @{
                    Log = $name
                    Record = $one.RecordId
                    Time = $one.TimeCreated.ToUniversalTime().ToString('o')
                    Provider = $one.ProviderName
                    Id = $one.Id
                    Level = [int]$one.Level
                    Kind = "$($one.ProviderName)/$($one.Id)"
                    Detail = $detail
                }
            }
        }
    } catch {
        $reason = "$($_.FullyQualifiedErrorId)"
        if ($reason -like 'NoMatchingEventsFound*') { $log.Access = 'ok' }
        elseif ($reason -like 'NoMatchingLogsFound*') { $log.Access = 'absent' }
        elseif ($reason -like 'LogInfoUnavailable*' -or $_.Exception.HResult -eq -2147024891) { $log.Access = 'access_denied' }
        else { $log.Access = 'unknown' }
    }
    $logs += $log
}
ConvertTo-Json -InputObject @{ event = @($events); log = @($logs) } -Compress -Depth 4

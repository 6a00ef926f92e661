$neighbor = Get-CimInstance -Namespace root/MicrosoftActiveDirectory -Query 'SELECT NamingContextDN, SourceDsaCN, SourceDsaObjGuid, SourceDsaSite, TimeOfLastSyncSuccess, TimeOfLastSyncAttempt, LastSyncResult, NumConsecutiveSyncFailures, NeverSynced, IsDeletedSourceDsa FROM MSAD_ReplNeighbor'
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
    neighbor = @(foreach ($item in $neighbor) {
        $timeOfLastSyncSuccess = $null
        if ($item.TimeOfLastSyncSuccess) { $timeOfLastSyncSuccess = $item.TimeOfLastSyncSuccess.ToUniversalTime().ToString('o') }
        $timeOfLastSyncAttempt = $null
        if ($item.TimeOfLastSyncAttempt) { $timeOfLastSyncAttempt = $item.TimeOfLastSyncAttempt.ToUniversalTime().ToString('o') }
        @{
            NamingContextDN = $item.NamingContextDN
            SourceDsaCN = $item.SourceDsaCN
            SourceDsaObjGuid = $item.SourceDsaObjGuid
            SourceDsaSite = $item.SourceDsaSite
            TimeOfLastSyncSuccess = $timeOfLastSyncSuccess
            TimeOfLastSyncAttempt = $timeOfLastSyncAttempt
            LastSyncResult = $item.LastSyncResult
            NumConsecutiveSyncFailures = $item.NumConsecutiveSyncFailures
            NeverSynced = $item.NeverSynced
            IsDeletedSourceDsa = $item.IsDeletedSourceDsa
        }
    })
    utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

$neighbor = Get-CimInstance -Namespace root/MicrosoftActiveDirectory -Query 'SELECT NamingContextDN, SourceDsaCN, SourceDsaObjGuid, SourceDsaSite, TimeOfLastSyncSuccess, TimeOfLastSyncAttempt, LastSyncResult, NumConsecutiveSyncFailures, NeverSynced, IsDeletedSourceDsa FROM MSAD_ReplNeighbor'
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
    neighbor = @(foreach ($item in $neighbor) {
        @{
            NamingContextDN = $item.NamingContextDN
            SourceDsaCN = $item.SourceDsaCN
            SourceDsaObjGuid = $item.SourceDsaObjGuid
            SourceDsaSite = $item.SourceDsaSite
            TimeOfLastSyncSuccess = ConvertTo-Utc $item.TimeOfLastSyncSuccess
            TimeOfLastSyncAttempt = ConvertTo-Utc $item.TimeOfLastSyncAttempt
            LastSyncResult = $item.LastSyncResult
            NumConsecutiveSyncFailures = $item.NumConsecutiveSyncFailures
            NeverSynced = $item.NeverSynced
            IsDeletedSourceDsa = $item.IsDeletedSourceDsa
        }
    })
    utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

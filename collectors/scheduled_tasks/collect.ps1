# Of Windows PowerShell's ways only this COM object gives results and times of all tasks in one enumeration.
$service = New-Object -ComObject Schedule.Service
$service.Connect()
function Get-When {
    param($Time, $Earliest)
    # What never ran or will not run has a date of 1899 or 1999.
    if ($Time -is [datetime] -and $Time.Year -gt $Earliest) { return $Time.ToUniversalTime().ToString('o') }
    $null
}
$folders = @($service.GetFolder('\'))
$task = @()
# Folders are put behind the list while it is walked.
for ($place = 0; $place -lt $folders.Count -and $task.Count -lt 2000; $place++) {
    foreach ($folder in $folders[$place].GetFolders(0)) { $folders += $folder }
    # 1: hidden tasks too
    $task += @(foreach ($item in $folders[$place].GetTasks(1)) {
        $result = $item.LastTaskResult
        if ($result -lt 0) { $result += 4294967296 }
        $text = "$($item.Xml)"
        $account = $null
        if ($text -match '(?s)<Principals>.*?<(UserId|GroupId)>([^<]{1,300})</') { $account = $Matches[2] }
        @{
            Path = $item.Path
            Own = $item.Path -like '\Microsoft\*'
            State = [int]$item.State
            Enabled = $item.Enabled
            Hidden = $text -match '<Hidden>true</Hidden>'
            Account = $account
            Elevated = $text -match '<RunLevel>HighestAvailable</RunLevel>'
            LastRun = Get-When $item.LastRunTime 2000
            LastResult = $result
            NextRun = Get-When $item.NextRunTime 2000
            MissedRuns = $item.NumberOfMissedRuns
        }
    })
}
ConvertTo-Json -InputObject @{ task = $task } -Compress -Depth 4

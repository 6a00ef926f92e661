# Of Windows PowerShell's ways only this COM object gives results and times of all tasks in one enumeration.
$service = New-Object -ComObject Schedule.Service
$service.Connect()
function Get-When {
    param($Time)
    # What never ran or will not run has a date of 1899 or 1999.
    if ($Time.Year -gt 2000) { return ConvertTo-Utc $Time }
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
            LastRun = Get-When $item.LastRunTime
            LastResult = $result
            NextRun = Get-When $item.NextRunTime
            MissedRuns = $item.NumberOfMissedRuns
        }
    })
}
ConvertTo-Json -InputObject @{ task = $task } -Compress -Depth 4

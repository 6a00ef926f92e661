# Run once in an elevated Windows PowerShell 5.1 on the endpoint, or by group policy or Intune as SYSTEM: makes the folder
# that only administrators can write to, puts the search script into Program Files, and registers the task. See docs/missing-updates.md.
param(
    # When, in the endpoint's own time, and over how many minutes the machines of a fleet are spread.
    [string]$At = '03:00',
    [int]$SpreadMinutes = 120,
    [ValidateSet('policy', 'microsoft')]
    [string]$Server = 'policy'
)
$ErrorActionPreference = 'Stop'
$program = "$env:ProgramFiles\rmm"
$folder = "$env:ProgramData\rmm"
# Every user may make folders in ProgramData: one that somebody else made, or that leads elsewhere, is not taken.
if (Test-Path -LiteralPath $folder) {
    $there = Get-Item -LiteralPath $folder -Force
    if (-not $there.PSIsContainer -or $there.Attributes -band [System.IO.FileAttributes]::ReparsePoint -or (Get-Acl -LiteralPath $folder).Sddl -notmatch '^O:(BA|SY)') {
        throw "$folder was not made by an administrator: look at it, remove it, and start again"
    }
}
$null = New-Item -ItemType Directory -Path $folder, $program -Force
$access = New-Object -TypeName System.Security.AccessControl.DirectorySecurity
$access.SetSecurityDescriptorSddlForm('O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)')
Set-Acl -LiteralPath $folder -AclObject $access
Get-ChildItem -LiteralPath $folder -Filter 'missing-updates.json*' -Force | Remove-Item -Force
$script = "$program\Search-MissingUpdates.ps1"
Copy-Item -LiteralPath "$PSScriptRoot\Search-MissingUpdates.ps1" -Destination $script -Force

$arguments = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$script`" -Server $Server"
$action = New-ScheduledTaskAction -Execute "$env:SystemRoot\System32\WindowsPowerShell\v1.0\powershell.exe" -Argument $arguments
$trigger = New-ScheduledTaskTrigger -Daily -At $At -RandomDelay (New-TimeSpan -Minutes $SpreadMinutes)
$principal = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
$settings = New-ScheduledTaskSettingsSet -StartWhenAvailable -AllowStartIfOnBatteries -ExecutionTimeLimit (New-TimeSpan -Hours 1) -MultipleInstances IgnoreNew
$null = Register-ScheduledTask -TaskPath '\rmm\' -TaskName 'Search for missing updates' -Action $action -Trigger $trigger -Principal $principal -Settings $settings -Force
Start-ScheduledTask -TaskPath '\rmm\' -TaskName 'Search for missing updates'

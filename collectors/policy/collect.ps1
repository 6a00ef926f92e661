$document = @{ notes = @(); account = @(); rsop = @() }
try {
    $system = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem' -ErrorAction Stop
    if ($system.ProductType -eq 2) {
        # A domain controller has the policy of its domain, which its own collector is about.
        $document.notes += @(@{ Source = 'account'; Reason = 'unsupported' })
    } else {
        $users = Get-CimInstance -Query 'SELECT Name, SID FROM Win32_UserAccount WHERE LocalAccount = TRUE' -ErrorAction Stop
        $first = @($users | Where-Object -FilterScript { $_.SID -like '*-500' })[0]
        $entry = [ADSI]"WinNT://$env:COMPUTERNAME/$($first.Name),user"
        $document.account = @(@{
            MinPasswordLength = $entry.MinPasswordLength.Value
            PasswordHistoryLength = $entry.PasswordHistoryLength.Value
            MinPasswordAge = $entry.MinPasswordAge.Value
            MaxPasswordAge = $entry.MaxPasswordAge.Value
            MaxBadPasswordsAllowed = $entry.MaxBadPasswordsAllowed.Value
            AutoUnlockInterval = $entry.AutoUnlockInterval.Value
            LockoutObservationInterval = $entry.LockoutObservationInterval.Value
        })
    }
} catch { $document.notes += @(@{ Source = 'account'; Reason = (Get-Reason -Failure $_) }) }
try {
    $settings = Get-CimInstance -Namespace root/rsop/computer -Query 'SELECT KeyName, Setting FROM RSOP_SecuritySettingBoolean WHERE precedence = 1' -ErrorAction Stop
    $document.rsop = @($settings | Select-Object -Property KeyName, Setting)
} catch { $document.notes += @(@{ Source = 'rsop'; Reason = (Get-Reason -Failure $_) }) }
$services = 'HKLM:\SYSTEM\CurrentControlSet\Services'
Read-Key $document 'lsa' 'HKLM:\SYSTEM\CurrentControlSet\Control\Lsa' SCENoApplyLegacyAuditPolicy, CrashOnAuditFail
Read-Key $document 'process_audit' 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System\Audit' ProcessCreationIncludeCmdLine_Enabled
Read-Key $document 'log' "$services\EventLog\Security" MaxSize
Read-Key $document 'log_policy' 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\EventLog\Security' MaxSize, Retention
ConvertTo-Json -InputObject $document -Compress -Depth 4

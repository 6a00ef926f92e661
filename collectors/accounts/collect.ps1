$notes = @()
$account = @()
$times = @()
$system = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem'
if ($system.ProductType -eq 2) {
    # On a domain controller the local accounts are those of the whole domain.
    $notes = @(@{ Source = 'account'; Reason = 'unsupported' }, @{ Source = 'times'; Reason = 'unsupported' })
} else {
    try {
        $account = @(Get-CimInstance -Query 'SELECT SID, Name, FullName, Disabled, Lockout, PasswordRequired, PasswordExpires, PasswordChangeable FROM Win32_UserAccount WHERE LocalAccount = TRUE' -ErrorAction Stop)
    } catch { $notes += @(@{ Source = 'account'; Reason = (Get-Reason -Failure $_) }) }
    try {
        $times = @(foreach ($user in Get-LocalUser -ErrorAction Stop) {
            @{
                SID = "$($user.SID)"
                PasswordLastSet = ConvertTo-Utc -Value $user.PasswordLastSet
                LastLogon = ConvertTo-Utc -Value $user.LastLogon
                AccountExpires = ConvertTo-Utc -Value $user.AccountExpires
            }
        })
    } catch { $notes += @(@{ Source = 'times'; Reason = (Get-Reason -Failure $_) }) }
}
$document = @{
    account = @($account | Select-Object -Property SID, Name, FullName, Disabled, Lockout, PasswordRequired, PasswordExpires, PasswordChangeable)
    times = $times
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

$software = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion'
$policies = 'HKLM:\SOFTWARE\Policies\Microsoft'
$control = 'HKLM:\SYSTEM\CurrentControlSet\Control'
$services = 'HKLM:\SYSTEM\CurrentControlSet\Services'
$terminal = "$policies\Windows NT\Terminal Services"
$document = @{ notes = @(); features = @(); autologon = @() }
Read-Key $document 'uac' "$software\Policies\System" EnableLUA, ConsentPromptBehaviorAdmin, PromptOnSecureDesktop, LocalAccountTokenFilterPolicy
Read-Key $document 'smb_server' "$services\LanmanServer\Parameters" SMB1, RequireSecuritySignature
Read-Key $document 'smb_client' "$services\LanmanWorkstation\Parameters" RequireSecuritySignature, AllowInsecureGuestAuth
Read-Key $document 'rdp' "$control\Terminal Server", $terminal fDenyTSConnections
Read-Key $document 'rdp_listener' "$control\Terminal Server\WinStations\RDP-Tcp", $terminal UserAuthentication, SecurityLayer, PortNumber
Read-Key $document 'lsa' "$control\Lsa" RunAsPPL, LmCompatibilityLevel, NoLMHash, RestrictAnonymous, LimitBlankPasswordUse
Read-Key $document 'ntlm' "$control\Lsa\MSV1_0" NtlmMinClientSec, NtlmMinServerSec, RestrictSendingNTLMTraffic, RestrictReceivingNTLMTraffic
Read-Key $document 'wdigest' "$control\SecurityProviders\WDigest" UseLogonCredential
Read-Key $document 'laps_legacy' 'HKLM:\SOFTWARE\Policies\Microsoft Services\AdmPwd' AdmPwdEnabled
Read-Key $document 'laps' "$software\LAPS\Config", "$software\Policies\LAPS", 'HKLM:\SOFTWARE\Microsoft\Policies\LAPS' BackupDirectory
Read-Key $document 'script_block' "$policies\Windows\PowerShell\ScriptBlockLogging" EnableScriptBlockLogging
Read-Key $document 'llmnr' "$policies\Windows NT\DNSClient" EnableMulticast
try {
    $features = Get-CimInstance -Query "SELECT Name, InstallState FROM Win32_OptionalFeature WHERE Name = 'SMB1Protocol' OR Name = 'MicrosoftWindowsPowerShellV2'" -ErrorAction Stop
    $document.features = @($features | Select-Object -Property Name, InstallState)
} catch { $document.notes += @(@{ Source = 'features'; Reason = (Get-Reason -Failure $_) }) }
try {
    $key = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon'
    # The names of the values, not their contents: a password that lies there is not read.
    $names = @((Get-Item -LiteralPath $key -ErrorAction Stop).Property)
    $mode = $null
    if ('AutoAdminLogon' -in $names) { $mode = (Get-ItemProperty -LiteralPath $key -Name AutoAdminLogon -ErrorAction Stop).AutoAdminLogon }
    $document.autologon = @(@{ AutoAdminLogon = $mode; PasswordStored = ('DefaultPassword' -in $names) })
} catch { $document.notes += @(@{ Source = 'autologon'; Reason = (Get-Reason -Failure $_) }) }
ConvertTo-Json -InputObject $document -Compress -Depth 4

$notes = @()
$tpm = @()
$guard = @()
$secure_boot = @()
$servicing = @()
try {
    $tpm = @(Get-CimInstance -Namespace root/cimv2/security/microsofttpm -Query 'SELECT IsEnabled_InitialValue, IsActivated_InitialValue, IsOwned_InitialValue, SpecVersion, ManufacturerIdTxt, ManufacturerVersion FROM Win32_Tpm' -ErrorAction Stop)
} catch { $notes += @{ Source = 'tpm'; Reason = (Get-Reason -Failure $_) } }
try {
    $guard = @(Get-CimInstance -Namespace root/microsoft/windows/deviceguard -Query 'SELECT VirtualizationBasedSecurityStatus, SecurityServicesConfigured, SecurityServicesRunning, CodeIntegrityPolicyEnforcementStatus FROM Win32_DeviceGuard' -ErrorAction Stop)
} catch { $notes += @{ Source = 'guard'; Reason = (Get-Reason -Failure $_) } }
$key = 'HKLM:\SYSTEM\CurrentControlSet\Control\SecureBoot'
try {
    # A machine that was started by a BIOS has no key State.
    if (Test-Path -LiteralPath "$key\State") {
        $values = Get-ItemProperty -LiteralPath "$key\State" -ErrorAction Stop
        $secure_boot = @(@{ UEFISecureBootEnabled = $values.UEFISecureBootEnabled })
    }
} catch { $notes += @{ Source = 'secure_boot'; Reason = (Get-Reason -Failure $_) } }
try {
    if (Test-Path -LiteralPath "$key\Servicing") {
        $values = Get-ItemProperty -LiteralPath "$key\Servicing" -ErrorAction Stop
        $servicing = @(@{
            UEFICA2023Status = $values.UEFICA2023Status
            UEFICA2023Error = $values.UEFICA2023Error
            WindowsUEFICA2023Capable = $values.WindowsUEFICA2023Capable
        })
    }
} catch { $notes += @{ Source = 'servicing'; Reason = (Get-Reason -Failure $_) } }
$document = @{
    tpm = @($tpm | Select-Object -Property IsEnabled_InitialValue, IsActivated_InitialValue, IsOwned_InitialValue, SpecVersion, ManufacturerIdTxt, ManufacturerVersion)
    secure_boot = $secure_boot
    servicing = $servicing
    guard = @($guard | Select-Object -Property VirtualizationBasedSecurityStatus, SecurityServicesConfigured, SecurityServicesRunning, CodeIntegrityPolicyEnforcementStatus)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

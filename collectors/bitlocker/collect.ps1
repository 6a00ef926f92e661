$notes = @()
$volume = @()
try {
    $volume = @(Get-CimInstance -Namespace root/cimv2/security/microsoftvolumeencryption -Query 'SELECT DeviceID, DriveLetter, ProtectionStatus, ConversionStatus, EncryptionMethod, VolumeType FROM Win32_EncryptableVolume' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'volume'; Reason = (Get-Reason -Failure $_) }) }
$rows = @(foreach ($item in $volume) {
    $percent = $null
    $types = $null
    # A locked volume answers neither; that costs these two fields only.
    try {
        $answer = Invoke-CimMethod -InputObject $item -MethodName GetConversionStatus -ErrorAction Stop
        if ($answer.ReturnValue -eq 0) { $percent = $answer.EncryptionPercentage }
        $answer = Invoke-CimMethod -InputObject $item -MethodName GetKeyProtectors -ErrorAction Stop
        if ($answer.ReturnValue -eq 0) {
            $types = @(foreach ($id in $answer.VolumeKeyProtectorID) {
                $kind = Invoke-CimMethod -InputObject $item -MethodName GetKeyProtectorType -Arguments @{ VolumeKeyProtectorID = $id } -ErrorAction Stop
                if ($kind.ReturnValue -eq 0) { $kind.KeyProtectorType }
            })
            $types = @($types | Sort-Object)
        }
    } catch { $null = $_ }
    @{
        DeviceID = $item.DeviceID
        DriveLetter = $item.DriveLetter
        ProtectionStatus = $item.ProtectionStatus
        ConversionStatus = $item.ConversionStatus
        EncryptionMethod = $item.EncryptionMethod
        VolumeType = $item.VolumeType
        EncryptionPercentage = $percent
        Protectors = $types
    }
})
ConvertTo-Json -InputObject @{ volume = $rows; notes = $notes } -Compress -Depth 4

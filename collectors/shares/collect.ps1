$share = Get-CimInstance -Query 'SELECT Name, Path, Description, Type, MaximumAllowed FROM Win32_Share'
$notes = @()
$smb = @()
try {
    $smb = Get-CimInstance -Namespace 'root/Microsoft/Windows/SMB' -Query 'SELECT Name, SecurityDescriptor, EncryptData, FolderEnumerationMode, CachingMode, ContinuouslyAvailable FROM MSFT_SmbShare'
} catch {
    # By its number: the text of an error is localised.
    $reason = 'unknown'
    if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
    if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
    $notes = @(@{ Source = 'smb'; Reason = $reason })
}
$document = @{
    share = @($share | Select-Object -Property Name, Path, Description, Type, MaximumAllowed)
    smb = @($smb | Select-Object -Property Name, SecurityDescriptor, EncryptData, FolderEnumerationMode, CachingMode, ContinuouslyAvailable)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

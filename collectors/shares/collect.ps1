$share = Get-CimInstance -Query 'SELECT Name, Path, Description, Type, MaximumAllowed FROM Win32_Share'
$notes = @()
$smb = @()
try {
    $smb = Get-CimInstance -Namespace 'root/Microsoft/Windows/SMB' -Query 'SELECT Name, SecurityDescriptor, EncryptData, FolderEnumerationMode, CachingMode, ContinuouslyAvailable FROM MSFT_SmbShare'
} catch {
    $notes = @(@{ Source = 'smb'; Reason = Get-Reason $_ })
}
$document = @{
    share = @($share | Select-Object -Property Name, Path, Description, Type, MaximumAllowed)
    smb = @($smb | Select-Object -Property Name, SecurityDescriptor, EncryptData, FolderEnumerationMode, CachingMode, ContinuouslyAvailable)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

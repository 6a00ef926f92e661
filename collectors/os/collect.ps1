$os = Get-CimInstance -Query 'SELECT CSName, Caption, Version, BuildNumber, InstallDate, Locale, OSLanguage, ProductType, CurrentTimeZone FROM Win32_OperatingSystem'
$computer = Get-CimInstance -Query 'SELECT Domain, PartOfDomain, DomainRole FROM Win32_ComputerSystem'
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' -ErrorAction SilentlyContinue
$zone = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' -ErrorAction SilentlyContinue
$environment = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment' -ErrorAction SilentlyContinue
$notes = @()
$entra = @()
try {
    $key = 'HKLM:\SYSTEM\CurrentControlSet\Control\CloudDomainJoin\JoinInfo'
    if (Test-Path -LiteralPath $key) {
        $entra = @(foreach ($item in Get-ItemProperty -Path "$key\*" -ErrorAction Stop) { @{ KeyName = $item.PSChildName; Root = 0; TenantId = $item.TenantId } })
    }
} catch {
    $notes += @{ Source = 'entra'; Reason = Get-Reason $_ }
}
$licence = @()
try {
    $found = Get-CimInstance -Query "SELECT LicenseStatus, ProductKeyChannel, PartialProductKey, GracePeriodRemaining FROM SoftwareLicensingProduct WHERE ApplicationID = '55c92734-d682-4d71-983e-d6ec3f16059f' AND PartialProductKey IS NOT NULL AND LicenseIsAddon = FALSE" -ErrorAction Stop
    $licence = @($found | Select-Object -Property LicenseStatus, ProductKeyChannel, PartialProductKey, GracePeriodRemaining)
} catch {
    # The licensing service may be switched off; everything else is still worth having.
    $notes += @{ Source = 'licence'; Reason = Get-Reason $_ }
}
$document = @{
    os = @(foreach ($item in $os) {
        @{
            CSName = $item.CSName
            Caption = $item.Caption
            Version = $item.Version
            BuildNumber = $item.BuildNumber
            InstallDate = ConvertTo-Utc $item.InstallDate
            Locale = $item.Locale
            OSLanguage = $item.OSLanguage
            ProductType = $item.ProductType
            CurrentTimeZone = $item.CurrentTimeZone
        }
    })
    computer = @($computer | Select-Object -Property Domain, PartOfDomain, DomainRole)
    version = @($version | Select-Object -Property UBR, EditionID, DisplayVersion, ReleaseId, InstallationType)
    zone = @($zone | Select-Object -Property TimeZoneKeyName)
    environment = @($environment | Select-Object -Property PROCESSOR_ARCHITECTURE)
    entra = $entra
    licence = $licence
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

$os = Get-CimInstance -Query 'SELECT CSName, Caption, Version, BuildNumber, InstallDate, Locale FROM Win32_OperatingSystem'
$computer = Get-CimInstance -Query 'SELECT Domain, PartOfDomain FROM Win32_ComputerSystem'
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' -ErrorAction SilentlyContinue
$zone = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' -ErrorAction SilentlyContinue
$environment = Get-ItemProperty -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment' -ErrorAction SilentlyContinue
$document = @{
    os = @(foreach ($item in $os) {
        $installed = $null
        if ($item.InstallDate) { $installed = $item.InstallDate.ToUniversalTime().ToString('o') }
        @{
            CSName = $item.CSName
            Caption = $item.Caption
            Version = $item.Version
            BuildNumber = $item.BuildNumber
            InstallDate = $installed
            Locale = $item.Locale
        }
    })
    computer = @($computer | Select-Object -Property Domain, PartOfDomain)
    version = @($version | Select-Object -Property UBR, EditionID)
    zone = @($zone | Select-Object -Property TimeZoneKeyName)
    environment = @($environment | Select-Object -Property PROCESSOR_ARCHITECTURE)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

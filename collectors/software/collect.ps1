$roots = @(
    'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\*'
    'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall\*'
    'Registry::HKEY_USERS\*\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\*'
)
$root = -1
$uninstall = @(foreach ($path in $roots) {
    $root++
    # Hives of other users cannot be read by everyone: what is readable is reported.
    foreach ($item in Get-ItemProperty -Path $path -ErrorAction SilentlyContinue) {
        if ($null -eq $item.DisplayName) { continue }
        @{
            KeyName = $item.PSChildName
            Root = $root
            DisplayName = $item.DisplayName
            DisplayVersion = $item.DisplayVersion
            Publisher = $item.Publisher
            InstallDate = $item.InstallDate
            SystemComponent = $item.SystemComponent
            ParentKeyName = $item.ParentKeyName
        }
    }
})
ConvertTo-Json -InputObject @{ uninstall = $uninstall } -Compress -Depth 4

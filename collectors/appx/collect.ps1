$notes = @()
$package = @()
try {
    $package = @(foreach ($item in Get-AppxPackage -AllUsers -ErrorAction Stop) {
        @{
            PackageFamilyName = $item.PackageFamilyName
            Version = "$($item.Version)"
            Architecture = "$($item.Architecture)"
            Name = $item.Name
            Publisher = $item.Publisher
            IsFramework = $item.IsFramework
            SignatureKind = "$($item.SignatureKind)"
            Status = "$($item.Status)"
        }
    })
} catch {
    # Server Core has no such command.
    if ((Get-Reason $_) -ne 'unsupported') { throw }
    $notes = @(@{ Source = 'package'; Reason = 'unsupported' })
}
ConvertTo-Json -InputObject @{ package = $package; notes = $notes } -Compress -Depth 4

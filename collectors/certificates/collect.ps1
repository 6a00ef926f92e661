# The length that stands at a place of DER, and where what it measures begins.
function Get-Length {
    param($Data, [int]$At)
    $length = [int]$Data[$At]
    if ($length -lt 128) { return @($length, ($At + 1)) }
    $more = $length - 128
    $length = 0
    foreach ($place in ($At + 1)..($At + $more)) { $length = $length * 256 + [int]$Data[$place] }
    @($length, ($At + 1 + $more))
}
# DNS names and addresses from the extension's own bytes: Windows' text of it is localised.
function Get-Name {
    param($Data)
    $null, $at = Get-Length $Data 1
    $names = @()
    while ($at -lt $Data.Count - 1 -and $names.Count -lt 100) {
        $kind = [int]$Data[$at]
        $length, $start = Get-Length $Data ($at + 1)
        $at = $start + $length
        if ($length -eq 0 -or $at -gt $Data.Count) { continue }
        $part = @($Data[$start..($at - 1)])
        if ($kind -in 129, 130, 134) { $names += -join @(foreach ($byte in $part) { [char][int]$byte }) }
        if ($kind -eq 135 -and $length -eq 4) { $names += $part -join '.' }
    }
    $names
}
# From the key's own bytes, since Windows PowerShell opens no keys of curves: the modulus of RSA, the id of a curve.
function Get-KeySize {
    param($Key)
    if ($Key.Oid.Value -eq '1.2.840.113549.1.1.1') {
        $data = $Key.EncodedKeyValue.RawData
        $null, $at = Get-Length $data 1
        $length, $start = Get-Length $data ($at + 1)
        if ([int]$data[$start] -eq 0) { $length-- }
        return $length * 8
    }
    $curve = @(foreach ($byte in $Key.EncodedParameters.RawData) { $byte.ToString('X2') }) -join ''
    @{ '06082A8648CE3D030107' = 256; '06052B81040022' = 384; '06052B81040023' = 521 }[$curve]
}
$notes = @()
$certificate = @()
foreach ($store in 'My', 'WebHosting', 'Remote Desktop') {
    $path = "Cert:\LocalMachine\$store"
    if (-not (Test-Path -LiteralPath $path)) { continue }
    $certificate += @(foreach ($item in Get-ChildItem -LiteralPath $path | Select-Object -First 500) {
        $names = @()
        foreach ($extension in $item.Extensions) {
            # What cannot be read is no reason to lose the certificate.
            if ($extension.Oid.Value -eq '2.5.29.17') { try { $names = @(Get-Name $extension.RawData) } catch { $names = @() } }
        }
        $bits = $null
        try { $bits = Get-KeySize $item.PublicKey } catch { $bits = $null }
        @{
            Store = $store
            Thumbprint = $item.Thumbprint
            Subject = $item.Subject
            Issuer = $item.Issuer
            SelfSigned = $item.Subject -eq $item.Issuer
            Names = $names
            SerialNumber = $item.SerialNumber
            NotBefore = $item.NotBefore.ToUniversalTime().ToString('o')
            NotAfter = $item.NotAfter.ToUniversalTime().ToString('o')
            HasPrivateKey = $item.HasPrivateKey
            KeyAlgorithm = $item.PublicKey.Oid.Value
            KeyBits = $bits
            SignatureAlgorithm = $item.SignatureAlgorithm.Value
        }
    })
}

$listener = @()
try {
    $path = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener'
    if (Test-Path -LiteralPath $path) {
        $listener = @(foreach ($item in Get-ItemProperty -Path "$path\*" -ErrorAction Stop) {
            @{ KeyName = $item.PSChildName; Root = 0; certThumbprint = $item.certThumbprint; enabled = $item.enabled }
        })
    }
} catch { $notes += @{ Source = 'listener'; Reason = Get-Reason $_ } }

$desktop = @()
try {
    $found = Get-CimInstance -Namespace 'root/cimv2/TerminalServices' -Query 'SELECT SSLCertificateSHA1Hash FROM Win32_TSGeneralSetting' -ErrorAction Stop
    $desktop = @($found | Select-Object -Property SSLCertificateSHA1Hash)
} catch { $notes += @{ Source = 'desktop'; Reason = Get-Reason $_ } }

$address = @()
try {
    foreach ($kind in 'SslBindingInfo', 'SslSniBindingInfo') {
        $path = "HKLM:\SYSTEM\CurrentControlSet\Services\HTTP\Parameters\$kind"
        if (-not (Test-Path -LiteralPath $path)) { continue }
        $address += @(foreach ($item in Get-ItemProperty -Path "$path\*" -ErrorAction Stop) {
            if ($null -eq $item.SslCertHash) { continue }
            @{ KeyName = $item.PSChildName; Thumbprint = @(foreach ($byte in $item.SslCertHash) { $byte.ToString('X2') }) -join '' }
        })
    }
} catch { $notes += @{ Source = 'address'; Reason = Get-Reason $_ } }
ConvertTo-Json -InputObject @{ certificate = $certificate; listener = $listener; desktop = $desktop; address = $address; notes = $notes } -Compress -Depth 4

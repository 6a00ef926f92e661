# The certificate drive: stores and real certificates, made from the state's DER.
using namespace System.Management.Automation
using namespace System.Management.Automation.Provider
using namespace System.Collections.ObjectModel

class RmmLabStore {
    [string] $Name
    [string] $Location
}

class RmmLabCertificates {
    static [string[]] $Usual = @('TrustedPublisher', 'ClientAuthIssuer', 'Remote Desktop', 'Root', 'TrustedDevices', 'CA', 'REQUEST', 'AuthRoot', 'TrustedPeople', 'My', 'SmartCardRoot', 'Trust', 'Disallowed')

    # Names of the stores of a location.
    static [string[]] Stores([string] $location) {
        $names = [System.Collections.Generic.List[string]]::new([RmmLabCertificates]::Usual)
        $member = [RmmLab]::Member([RmmLab]::Root, 'certificates')
        if ($null -ne $member) {
            foreach ($entry in $member.EnumerateObject()) {
                $place, $store = $entry.Name.Replace('/', '\').Split('\', 2)
                if ($place -eq $location -and $names -notcontains $store) { $names.Add($store) }
            }
        }
        return $names.ToArray()
    }

    # The certificates of a store such as LocalMachine\My, by thumbprint.
    static [System.Collections.Specialized.OrderedDictionary] In([string] $place) {
        $key = "certificates $place".ToUpperInvariant()
        if ([RmmLab]::Kept.ContainsKey($key)) { return [RmmLab]::Kept[$key] }
        $found = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::OrdinalIgnoreCase)
        $all = [RmmLab]::Member([RmmLab]::Root, 'certificates')
        $own = if ($null -ne $all) { [RmmLab]::Member($all, $place) }
        if ($null -ne $own) {
            foreach ($raw in $own.EnumerateArray()) {
                $one = [RmmLabCertificates]::Make([RmmLab]::Plain($raw))
                $found[$one.Thumbprint] = $one
            }
        }
        [RmmLab]::Kept[$key] = $found
        return $found
    }

    static [object] Make([System.Collections.IDictionary] $raw) {
        $one = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new([convert]::FromBase64String($raw.der))
        $names = @()
        $usages = @()
        foreach ($extension in $one.Extensions) {
            if ($extension -is [System.Security.Cryptography.X509Certificates.X509SubjectAlternativeNameExtension]) { $names = @($extension.EnumerateDnsNames()) }
            if ($extension -is [System.Security.Cryptography.X509Certificates.X509EnhancedKeyUsageExtension]) { $usages = @($extension.EnhancedKeyUsages) }
        }
        $notes = @{
            HasPrivateKey = [bool] $raw.private_key
            FriendlyName = "$($raw.friendly_name)"
            DnsNameList = @(foreach ($name in $names) { [pscustomobject] @{ Punycode = $name; Unicode = $name } })
            EnhancedKeyUsageList = @(foreach ($usage in $usages) { [pscustomobject] @{ FriendlyName = $usage.FriendlyName; ObjectId = $usage.Value } })
        }
        $result = [psobject] $one
        foreach ($note in $notes.GetEnumerator()) { $result.PSObject.Properties.Add([PSNoteProperty]::new($note.Key, $note.Value), $true) }
        return $result
    }
}

[CmdletProvider('Certificate', [ProviderCapabilities]::None)]
class RmmLabCertificateProvider : NavigationCmdletProvider {
    [Collection[PSDriveInfo]] InitializeDefaultDrives() {
        $drives = [Collection[PSDriveInfo]]::new()
        $drives.Add([PSDriveInfo]::new('Cert', $this.ProviderInfo, '\', '', $null))
        return $drives
    }

    [char] get_ItemSeparator() { return '\' }
    [string] GetChildName([string] $path) { return Split-RmmLabPath -Path $path -Last }
    [string] GetParentPath([string] $path, [string] $root) { return Split-RmmLabPath -Path $path }
    [bool] IsValidPath([string] $path) { return $true }
    [bool] ItemExists([string] $path) { return $null -ne (Find-RmmLabCertificate -Path $path) }
    [bool] IsItemContainer([string] $path) { return ($path -split '[\\/]' -ne '').Count -lt 3 }
    [bool] HasChildItems([string] $path) { return @(Get-RmmLabCertificateName -Provider $this -Path $path).Count -gt 0 }
    [void] GetItem([string] $path) { Write-RmmLabCertificate -Provider $this -Path $path }
    [void] GetChildItems([string] $path, [bool] $recurse) { Write-RmmLabStore -Provider $this -Path $path -Recurse $recurse }
    [void] GetChildNames([string] $path, [ReturnContainers] $containers) { Write-RmmLabStoreName -Provider $this -Path $path }
}

function Split-RmmLabPath {
    param([string] $Path, [switch] $Last)
    $parts = @($Path -split '[\\/]' -ne '')
    if ($parts.Count -eq 0) { return '' }
    if ($Last) { return $parts[-1] }
    @($parts | Select-Object -SkipLast 1) -join '\'
}

# What is at a path: a location, a store or a certificate; nothing where nothing is.
function Find-RmmLabCertificate {
    param([string] $Path)
    $parts = @($Path -split '[\\/]' -ne '')
    if ($parts.Count -eq 0) { return 'Cert' }
    if ($parts[0] -notin 'LocalMachine', 'CurrentUser' -or $parts.Count -gt 3) { return }
    if ($parts.Count -eq 1) { return [pscustomobject] @{ Location = $parts[0]; StoreNames = [RmmLabCertificates]::Stores($parts[0]) } }
    if ([RmmLabCertificates]::Stores($parts[0]) -notcontains $parts[1]) { return }
    if ($parts.Count -eq 2) { return [RmmLabStore] @{ Name = $parts[1]; Location = $parts[0] } }
    [RmmLabCertificates]::In("$($parts[0])\$($parts[1])")[$parts[2]]
}

function Get-RmmLabCertificateName {
    param($Provider, [string] $Path)
    $parts = @($Path -split '[\\/]' -ne '')
    if ($parts.Count -eq 0) { return 'CurrentUser', 'LocalMachine' }
    if ($parts.Count -eq 1) { return [RmmLabCertificates]::Stores($parts[0]) }
    if ($parts.Count -gt 2) { return }
    $place = "$($parts[0])\$($parts[1])"
    if (-not [RmmLab]::Lists('denied', "cert:$place", ' ')) { return [RmmLabCertificates]::In($place).Keys }
    $reason = [System.Security.Cryptography.CryptographicException]::new('Access is denied.')
    Write-RmmLabError -Provider $Provider -Reason $reason -Category PermissionDenied -Target $place
}

function Write-RmmLabCertificate {
    param($Provider, [string] $Path)
    $item = Find-RmmLabCertificate -Path $Path
    $full = @($Path -split '[\\/]' -ne '')
    if ($null -ne $item) { $Provider.WriteItemObject($item, $full -join '\', $full.Count -lt 3) }
}

function Write-RmmLabStore {
    param($Provider, [string] $Path, [bool] $Recurse)
    foreach ($name in Get-RmmLabCertificateName -Provider $Provider -Path $Path) {
        $child = (@($Path -split '[\\/]' -ne '') + $name) -join '\'
        Write-RmmLabCertificate -Provider $Provider -Path $child
        if ($Recurse) { Write-RmmLabStore -Provider $Provider -Path $child -Recurse $true }
    }
}

function Write-RmmLabStoreName {
    param($Provider, [string] $Path)
    foreach ($name in Get-RmmLabCertificateName -Provider $Provider -Path $Path) { $Provider.WriteItemObject($name, "$Path\$name", $true) }
}

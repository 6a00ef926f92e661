# The registry as a provider of its own: drives HKLM and HKCU, `Registry::` paths, keys and values from the state.
using namespace System.Management.Automation
using namespace System.Management.Automation.Provider
using namespace System.Collections.ObjectModel

# Stands for Microsoft.Win32.RegistryKey.
class RmmLabKey {
    [string] $Name
    hidden [System.Collections.Specialized.OrderedDictionary] $Held
    hidden [hashtable] $Kinds = @{}
    hidden [System.Collections.Generic.List[string]] $Children = [System.Collections.Generic.List[string]]::new()
    [string[]] $Property = @()
    [int] $SubKeyCount = 0
    [int] $ValueCount = 0

    RmmLabKey([string] $name) {
        $this.Name = $name
        $this.Held = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::OrdinalIgnoreCase)
    }

    [object] GetValue([string] $name) { return $this.GetValue($name, $null) }
    [object] GetValue([string] $name, [object] $default) {
        if ($this.Held.Contains($name)) { return $this.Held[$name] }
        return $default
    }
    [string[]] GetValueNames() { return @($this.Held.Keys) }
    [string[]] GetSubKeyNames() { return $this.Children.ToArray() }
    [Microsoft.Win32.RegistryValueKind] GetValueKind([string] $name) {
        if (-not $this.Held.Contains($name)) { throw [System.IO.IOException]::new('The specified registry key does not exist.') }
        return $this.Kinds[$name]
    }
    [RmmLabKey] OpenSubKey([string] $name) {
        $path = $this.Name + '\' + $name.Replace('/', '\').Trim('\')
        if ([RmmLabRegistry]::IsDenied($path)) { throw [System.Security.SecurityException]::new('Requested registry access is not allowed.') }
        return [RmmLabRegistry]::Find($path)
    }
    [void] Close() {}
    [void] Dispose() {}
    [string] ToString() { return $this.Name }
}

class RmmLabRegistry {
    static [hashtable] $Short = @{
        HKLM = 'HKEY_LOCAL_MACHINE'; HKCU = 'HKEY_CURRENT_USER'; HKU = 'HKEY_USERS'; HKCR = 'HKEY_CLASSES_ROOT'; HKCC = 'HKEY_CURRENT_CONFIG'
    }

    static [string[]] $Everywhere = @(
        'HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall', 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control'
        'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services', 'HKEY_USERS\.DEFAULT\Software'
    )

    # Full path -> key, for every key that the state names and all above it.
    static [System.Collections.Generic.Dictionary[string, RmmLabKey]] Keys() {
        if (-not [RmmLab]::Kept.ContainsKey('registry')) { [RmmLab]::Kept['registry'] = [RmmLabRegistry]::Read() }
        return [RmmLab]::Kept['registry']
    }

    static [System.Collections.Generic.Dictionary[string, RmmLabKey]] Read() {
        $keys = [System.Collections.Generic.Dictionary[string, RmmLabKey]]::new([StringComparer]::OrdinalIgnoreCase)
        $keys[''] = [RmmLabKey]::new('')
        foreach ($hive in [RmmLabRegistry]::Short.Values) { $null = [RmmLabRegistry]::Make($keys, $hive) }
        foreach ($path in [RmmLabRegistry]::Everywhere) { $null = [RmmLabRegistry]::Make($keys, $path) }
        $member = [RmmLab]::Member([RmmLab]::Root, 'registry')
        if ($null -ne $member) {
            foreach ($entry in $member.EnumerateObject()) {
                $key = [RmmLabRegistry]::Make($keys, [RmmLabRegistry]::Full($entry.Name))
                foreach ($value in $entry.Value.EnumerateObject()) { [RmmLabRegistry]::Put($key, $value.Name, $value.Value) }
                $key.Property = @(foreach ($name in $key.Held.Keys) { if ($name) { $name } else { '(default)' } })
                $key.ValueCount = $key.Held.Count
            }
        }
        return $keys
    }

    static [RmmLabKey] Make([System.Collections.Generic.Dictionary[string, RmmLabKey]] $keys, [string] $path) {
        $found = $null
        if ($keys.TryGetValue($path, [ref] $found)) { return $found }
        $cut = $path.LastIndexOf('\')
        $above = if ($cut -lt 0) { $keys[''] } else { [RmmLabRegistry]::Make($keys, $path.Substring(0, $cut)) }
        $key = [RmmLabKey]::new($path)
        $keys[$path] = $key
        $above.Children.Add($path.Substring($cut + 1))
        $above.SubKeyCount = $above.Children.Count
        return $key
    }

    static [void] Put([RmmLabKey] $key, [string] $name, [System.Text.Json.JsonElement] $value) {
        if ($name -eq '(default)') { $name = '' }
        $kind = ''
        if ($value.ValueKind -eq 'Object') {
            $kind = [RmmLab]::Member($value, 'kind').GetString()
            $value = [RmmLab]::Member($value, 'value')
        }
        $plain = [RmmLab]::Plain($value)
        if (-not $kind) {
            $kind = if ($plain -is [string]) { 'string' }
            elseif ($plain -is [array]) { 'multistring' }
            elseif ($plain -gt [uint32]::MaxValue) { 'qword' }
            else { 'dword' }
        }
        $typed = switch ($kind) {
            'binary' { , [convert]::FromBase64String($plain) }
            { $_ -in 'multistring', 'multi' } { $kind = 'multistring'; , [string[]] @($plain) }
            'qword' { [long] $plain }
            'dword' { if ($plain -gt [int]::MaxValue) { [int] ($plain - 4294967296) } else { [int] $plain } }
            { $_ -in 'expandstring', 'expand' } { $kind = 'expandstring'; $plain -replace '%SystemRoot%|%windir%', 'C:\Windows' -replace '%ProgramFiles%', 'C:\Program Files' }
            default { $plain }
        }
        $key.Held[$name] = $typed
        $key.Kinds[$name] = [Microsoft.Win32.RegistryValueKind] $kind
    }

    # HKLM\X, HKEY_LOCAL_MACHINE\X and HKEY_LOCAL_MACHINE/X are the same key.
    static [string] Full([string] $path) {
        $plain = $path.Replace('/', '\').Trim('\')
        $hive, $rest = $plain.Split('\', 2)
        $hive = $hive.TrimEnd(':')
        if ([RmmLabRegistry]::Short.ContainsKey($hive)) { $hive = [RmmLabRegistry]::Short[$hive] }
        if ($rest) { return $hive + '\' + $rest }
        return $hive
    }

    static [RmmLabKey] Find([string] $path) {
        $found = $null
        $null = [RmmLabRegistry]::Keys().TryGetValue([RmmLabRegistry]::Full($path), [ref] $found)
        return $found
    }

    static [bool] IsDenied([string] $path) {
        if ([RmmLab]::Listed('denied').Count -eq 0) { return $false }
        $hive, $rest = [RmmLabRegistry]::Full($path).Split('\', 2)
        foreach ($short in [RmmLabRegistry]::Short.GetEnumerator()) {
            if ($short.Value -eq $hive) { return [RmmLab]::Lists('denied', $short.Key + '\' + $rest, '\') }
        }
        return $false
    }
}

# The engine calls a provider's methods in the language mode of the script; the work is done by functions, which keep
# the mode of the module.
[CmdletProvider('Registry', [ProviderCapabilities]::None)]
class RmmLabRegistryProvider : NavigationCmdletProvider, IPropertyCmdletProvider {
    [Collection[PSDriveInfo]] InitializeDefaultDrives() {
        $drives = [Collection[PSDriveInfo]]::new()
        foreach ($name in 'HKLM', 'HKCU') {
            $drives.Add([PSDriveInfo]::new($name, $this.ProviderInfo, [RmmLabRegistry]::Short[$name], '', $null))
        }
        return $drives
    }

    [char] get_ItemSeparator() { return '\' }
    [string] GetParentPath([string] $path, [string] $root) {
        $full = $path.Replace('/', '\').TrimEnd('\')
        $cut = $full.LastIndexOf('\')
        if ($cut -lt 0 -or $full -eq $root.Replace('/', '\').TrimEnd('\')) { return '' }
        return $full.Substring(0, $cut)
    }
    [string] GetChildName([string] $path) {
        $full = $path.Replace('/', '\').TrimEnd('\')
        return $full.Substring($full.LastIndexOf('\') + 1)
    }
    [bool] IsValidPath([string] $path) { return $true }
    [bool] ItemExists([string] $path) { return Test-RmmLabKey -Path $path }
    [bool] IsItemContainer([string] $path) { return Test-RmmLabKey -Path $path }
    [bool] HasChildItems([string] $path) { return Test-RmmLabSubkey -Provider $this -Path $path }
    [void] GetItem([string] $path) { Write-RmmLabKey -Provider $this -Path $path }
    [void] GetChildItems([string] $path, [bool] $recurse) { Write-RmmLabSubkey -Provider $this -Path $path -Recurse $recurse }
    [void] GetChildNames([string] $path, [ReturnContainers] $containers) { Write-RmmLabSubkeyName -Provider $this -Path $path }
    [void] GetProperty([string] $path, [Collection[string]] $picked) { Write-RmmLabKeyValue -Provider $this -Path $path -Picked $picked }
    [object] GetPropertyDynamicParameters([string] $path, [Collection[string]] $picked) { return $null }
    [void] SetProperty([string] $path, [psobject] $value) { throw 'nothing is ever written to a machine' }
    [object] SetPropertyDynamicParameters([string] $path, [psobject] $value) { return $null }
    [void] ClearProperty([string] $path, [Collection[string]] $names) { throw 'nothing is ever written to a machine' }
    [object] ClearPropertyDynamicParameters([string] $path, [Collection[string]] $names) { return $null }
}

# An error of a provider, with the preference of the script that called.
function Write-RmmLabError {
    param($Provider, [System.Exception] $Reason, [string] $Category, $Target)
    $ErrorActionPreference = Get-RmmLabProviderPreference
    $Provider.WriteError([ErrorRecord]::new($Reason, $Reason.GetType().FullName, $Category, $Target))
}

# The key, or nothing after an error where the account may not open it.
function Open-RmmLabKey {
    param($Provider, [string] $Path)
    if (-not [RmmLabRegistry]::IsDenied($Path)) { return [RmmLabRegistry]::Find($Path) }
    $reason = [System.Security.SecurityException]::new('Requested registry access is not allowed.')
    Write-RmmLabError -Provider $Provider -Reason $reason -Category PermissionDenied -Target ([RmmLabRegistry]::Full($Path))
}

# What may not be opened is there all the same.
function Test-RmmLabKey {
    param([string] $Path)
    [RmmLabRegistry]::IsDenied($Path) -or $null -ne [RmmLabRegistry]::Find($Path)
}

function Test-RmmLabSubkey {
    param($Provider, [string] $Path)
    $key = Open-RmmLabKey -Provider $Provider -Path $Path
    $null -ne $key -and $key.Children.Count -gt 0
}

function Write-RmmLabKey {
    param($Provider, [string] $Path)
    $key = Open-RmmLabKey -Provider $Provider -Path $Path
    if ($null -ne $key) { $Provider.WriteItemObject($key, [RmmLabRegistry]::Full($Path), $true) }
}

function Write-RmmLabSubkey {
    param($Provider, [string] $Path, [bool] $Recurse)
    $key = Open-RmmLabKey -Provider $Provider -Path $Path
    if ($null -eq $key) { return }
    foreach ($name in $key.Children) {
        $child = ($key.Name + '\' + $name).TrimStart('\')
        Write-RmmLabKey -Provider $Provider -Path $child
        if ($Recurse -and -not [RmmLabRegistry]::IsDenied($child)) { Write-RmmLabSubkey -Provider $Provider -Path $child -Recurse $true }
    }
}

function Write-RmmLabSubkeyName {
    param($Provider, [string] $Path)
    $key = Open-RmmLabKey -Provider $Provider -Path $Path
    if ($null -eq $key) { return }
    foreach ($name in $key.Children) { $Provider.WriteItemObject($name, "$Path\$name", $true) }
}

# The values as properties of one object; a key without values gives nothing, as on Windows.
function Write-RmmLabKeyValue {
    param($Provider, [string] $Path, [Collection[string]] $Picked)
    $key = Open-RmmLabKey -Provider $Provider -Path $Path
    if ($null -eq $key) { return }
    $names = [System.Collections.Generic.List[string]]::new()
    foreach ($wanted in $Picked) {
        $before = $names.Count
        $like = [WildcardPattern]::new($wanted, 'IgnoreCase, CultureInvariant')
        foreach ($name in $key.Property) { if ($like.IsMatch($name) -and -not $names.Contains($name)) { $names.Add($name) } }
        if ($names.Count -eq $before -and -not [WildcardPattern]::ContainsWildcardCharacters($wanted)) {
            $reason = [PSArgumentException]::new("Property $wanted does not exist at path $($key.Name).")
            Write-RmmLabError -Provider $Provider -Reason $reason -Category InvalidArgument -Target $key.Name
        }
    }
    if ($null -eq $Picked -or $Picked.Count -eq 0) { $names.AddRange([string[]] $key.Property) }
    $result = [psobject]::new()
    foreach ($name in $names) {
        $held = if ($name -eq '(default)') { '' } else { $name }
        $result.PSObject.Properties.Add([PSNoteProperty]::new($name, $key.Held[$held]))
    }
    if ($names.Count) { $Provider.WritePropertyObject($result, [RmmLabRegistry]::Full($Path)) }
}

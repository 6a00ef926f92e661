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
        $hive, $rest = [RmmLabRegistry]::Full($path).Split('\', 2)
        foreach ($short in [RmmLabRegistry]::Short.GetEnumerator()) {
            if ($short.Value -eq $hive) { return [RmmLab]::Lists('denied', $short.Key + '\' + $rest, '\') }
        }
        return $false
    }
}

[CmdletProvider('Registry', [ProviderCapabilities]::None)]
class RmmLabRegistryProvider : NavigationCmdletProvider, IPropertyCmdletProvider {
    [Collection[PSDriveInfo]] InitializeDefaultDrives() {
        $drives = [Collection[PSDriveInfo]]::new()
        foreach ($name in 'HKLM', 'HKCU') {
            $drives.Add([PSDriveInfo]::new($name, $this.ProviderInfo, [RmmLabRegistry]::Short[$name], '', $null))
        }
        return $drives
    }

    hidden [void] Complain([ErrorRecord] $record) {
        $ErrorActionPreference = [RmmLab]::Preference()
        $this.WriteError($record)
    }

    # The key, or $null after an error where the account may not open it.
    hidden [object] Open([string] $path) {
        if ([RmmLabRegistry]::IsDenied($path)) {
            $exception = [System.Security.SecurityException]::new('Requested registry access is not allowed.')
            $this.Complain([ErrorRecord]::new($exception, 'System.Security.SecurityException', 'PermissionDenied', [RmmLabRegistry]::Full($path)))
            return $null
        }
        return [RmmLabRegistry]::Find($path)
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
    # What may not be opened is there all the same.
    [bool] ItemExists([string] $path) { return [RmmLabRegistry]::IsDenied($path) -or $null -ne [RmmLabRegistry]::Find($path) }
    [bool] IsItemContainer([string] $path) { return $null -ne [RmmLabRegistry]::Find($path) }
    [bool] HasChildItems([string] $path) {
        $key = $this.Open($path)
        return $null -ne $key -and $key.Children.Count -gt 0
    }
    [void] GetItem([string] $path) {
        $key = $this.Open($path)
        if ($null -ne $key) { $this.WriteItemObject($key, [RmmLabRegistry]::Full($path), $true) }
    }
    [void] GetChildItems([string] $path, [bool] $recurse) {
        $key = $this.Open($path)
        if ($null -eq $key) { return }
        foreach ($name in $key.Children) {
            $child = $key.Name + '\' + $name
            $item = $this.Open($child)
            if ($null -eq $item) { continue }
            $this.WriteItemObject($item, $child, $true)
            if ($recurse) { $this.GetChildItems($child, $true) }
        }
    }
    [void] GetChildNames([string] $path, [ReturnContainers] $returnContainers) {
        $key = $this.Open($path)
        if ($null -eq $key) { return }
        foreach ($name in $key.Children) { $this.WriteItemObject($name, "$path\$name", $true) }
    }
    [void] GetProperty([string] $path, [Collection[string]] $picked) {
        $key = $this.Open($path)
        if ($null -eq $key) { return }
        $result = [psobject]::new()
        $names = [System.Collections.Generic.List[string]]::new()
        foreach ($wanted in $picked) {
            $before = $names.Count
            $like = [WildcardPattern]::new($wanted, 'IgnoreCase, CultureInvariant')
            foreach ($name in $key.Property) { if ($like.IsMatch($name) -and -not $names.Contains($name)) { $names.Add($name) } }
            if ($names.Count -eq $before -and -not [WildcardPattern]::ContainsWildcardCharacters($wanted)) {
                $exception = [PSArgumentException]::new("Property $wanted does not exist at path $($key.Name).")
                $this.Complain([ErrorRecord]::new($exception, 'System.Management.Automation.PSArgumentException', 'InvalidArgument', $key.Name))
            }
        }
        if ($null -eq $picked -or $picked.Count -eq 0) { $names.AddRange([string[]] $key.Property) }
        foreach ($name in $names) {
            $held = if ($name -eq '(default)') { '' } else { $name }
            $result.PSObject.Properties.Add([PSNoteProperty]::new($name, $key.Held[$held]))
        }
        if ($names.Count) { $this.WritePropertyObject($result, [RmmLabRegistry]::Full($path)) }
    }
    [object] GetPropertyDynamicParameters([string] $path, [Collection[string]] $picked) { return $null }
    [void] SetProperty([string] $path, [psobject] $value) { throw [PSNotSupportedException]::new('Nothing is ever written to a machine.') }
    [object] SetPropertyDynamicParameters([string] $path, [psobject] $value) { return $null }
    [void] ClearProperty([string] $path, [Collection[string]] $names) { throw [PSNotSupportedException]::new('Nothing is ever written to a machine.') }
    [object] ClearPropertyDynamicParameters([string] $path, [Collection[string]] $names) { return $null }
}

# Makes the providers known, under the names that they have on Windows.
function Register-RmmLabProvider {
    Import-Module -Assembly ([RmmLabRegistryProvider].Assembly) -Global
    $provider = Get-PSProvider -PSProvider Registry
    $provider.GetType().GetField('_fullName', 'NonPublic, Instance').SetValue($provider, 'Microsoft.PowerShell.Core\Registry')
}

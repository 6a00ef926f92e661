# The state's files as drives of Windows: C: and whatever else their paths begin with.
using namespace System.Management.Automation
using namespace System.Management.Automation.Provider
using namespace System.Collections.ObjectModel

# System.IO.FileInfo and DirectoryInfo
class RmmLabFile {
    [string] $FullName
    [string] $Name
    [bool] $PSIsContainer
    [object] $Length
    [datetime] $LastWriteTime
    [datetime] $LastWriteTimeUtc
    [bool] $Exists = $true
    hidden [byte[]] $Bytes
    [string] ToString() { return $this.FullName }
}

class RmmLabFiles {
    # Full path -> file, for every file of the state and every folder above one.
    static [System.Collections.Generic.Dictionary[string, RmmLabFile]] All() {
        if ([RmmLab]::Kept.ContainsKey('files')) { return [RmmLab]::Kept['files'] }
        $all = [System.Collections.Generic.Dictionary[string, RmmLabFile]]::new([StringComparer]::OrdinalIgnoreCase)
        foreach ($folder in 'C:', 'C:\Windows', 'C:\Program Files', 'C:\ProgramData') { [RmmLabFiles]::Add($all, $folder, $null) }
        $member = [RmmLab]::Member([RmmLab]::Root, 'files')
        if ($null -ne $member) {
            foreach ($entry in $member.EnumerateObject()) { [RmmLabFiles]::Add($all, [RmmLabFiles]::Full($entry.Name), [RmmLab]::Plain($entry.Value)) }
        }
        [RmmLab]::Kept['files'] = $all
        return $all
    }

    static [void] Add([System.Collections.Generic.Dictionary[string, RmmLabFile]] $all, [string] $path, [object] $content) {
        $cut = $path.LastIndexOf('\')
        if ($cut -gt 0 -and -not $all.ContainsKey($path.Substring(0, $cut))) { [RmmLabFiles]::Add($all, $path.Substring(0, $cut), $null) }
        $file = [RmmLabFile] @{ FullName = $path; Name = $path.Substring($cut + 1); PSIsContainer = $null -eq $content }
        $modified = [RmmLabEvents]::Now()
        if ($content -is [System.Collections.IDictionary]) {
            if ($content['modified']) { $modified = [RmmLab]::Time($content['modified']) }
            $content = if ($content.Contains('base64')) { , [convert]::FromBase64String($content['base64']) } else { "$($content['text'])" }
        }
        if ($content -is [byte[]]) { $file.Bytes = $content }
        elseif ($null -ne $content) { $file.Bytes = [System.Text.Encoding]::UTF8.GetBytes("$content") }
        if (-not $file.PSIsContainer) { $file.Length = [long] $file.Bytes.Length }
        $file.LastWriteTime = $modified
        $file.LastWriteTimeUtc = $modified.ToUniversalTime()
        $all[$path] = $file
    }

    static [string] Full([string] $path) { return $path.Replace('/', '\').TrimEnd('\') }

    static [RmmLabFile] Find([string] $path) {
        $found = $null
        $null = [RmmLabFiles]::All().TryGetValue([RmmLabFiles]::Full($path), [ref] $found)
        return $found
    }
}

# What Get-Content reads: lines, or everything at once.
class RmmLabReader : IContentReader {
    hidden [object[]] $Parts
    hidden [int] $At = 0
    RmmLabReader([object[]] $parts) { $this.Parts = $parts }
    [System.Collections.IList] Read([long] $count) { return Read-RmmLabContent -Reader $this -Count $count }
    [void] Seek([long] $offset, [System.IO.SeekOrigin] $origin) { throw 'cannot be moved' }
    [void] Close() { $null = 0 }
    [void] Dispose() { $null = 0 }
}

# The parameters that files add to Get-Content.
class RmmLabContentParameters {
    [Parameter()] [switch] $Raw
    [Parameter()] [object] $Encoding
    [Parameter()] [string] $Delimiter
    [Parameter()] [switch] $Wait
    [Parameter()] [string] $Stream
}

[CmdletProvider('RmmLabFiles', [ProviderCapabilities]::None)]
class RmmLabFileProvider : NavigationCmdletProvider, IContentCmdletProvider {
    [Collection[PSDriveInfo]] InitializeDefaultDrives() {
        $drives = [Collection[PSDriveInfo]]::new()
        foreach ($letter in 'C', 'D', 'E') { $drives.Add([PSDriveInfo]::new($letter, $this.ProviderInfo, "${letter}:\", '', $null)) }
        return $drives
    }

    [char] get_ItemSeparator() { return '\' }
    [string] GetChildName([string] $path) { return Split-RmmLabPath -Path $path -Last }
    [string] GetParentPath([string] $path, [string] $root) { return Split-RmmLabPath -Path $path }
    [bool] IsValidPath([string] $path) { return $true }
    [bool] ItemExists([string] $path) { return $null -ne (Find-RmmLabFile -Path $path) }
    [bool] IsItemContainer([string] $path) { return (Find-RmmLabFile -Path $path).PSIsContainer }
    [bool] HasChildItems([string] $path) { return @(Get-RmmLabFileName -Path $path).Count -gt 0 }
    [void] GetItem([string] $path) { Write-RmmLabFile -Provider $this -Path $path }
    [void] GetChildItems([string] $path, [bool] $recurse) { Write-RmmLabFolder -Provider $this -Path $path -Recurse $recurse }
    [void] GetChildNames([string] $path, [ReturnContainers] $containers) {
        foreach ($name in Get-RmmLabFileName -Path $path) { Write-RmmLabName -Provider $this -Path "$path\$name" -Name $name }
    }
    [IContentReader] GetContentReader([string] $path) { return Open-RmmLabFile -Provider $this -Path $path }
    [object] GetContentReaderDynamicParameters([string] $path) { return Get-RmmLabContentParameter }
    [IContentWriter] GetContentWriter([string] $path) { throw 'nothing is ever written to a machine' }
    [object] GetContentWriterDynamicParameters([string] $path) { return $null }
    [void] ClearContent([string] $path) { throw 'nothing is ever written to a machine' }
    [object] ClearContentDynamicParameters([string] $path) { return $null }
}

function Get-RmmLabContentParameter { [RmmLabContentParameters]::new() }

function Find-RmmLabFile {
    param([string] $Path)
    [RmmLabFiles]::Find($Path)
}

function Get-RmmLabFileName {
    param([string] $Path)
    $prefix = [RmmLabFiles]::Full($Path) + '\'
    foreach ($file in [RmmLabFiles]::All().Values) {
        if ($file.FullName.StartsWith($prefix, 'OrdinalIgnoreCase') -and $file.FullName.IndexOf('\', $prefix.Length) -lt 0) { $file.Name }
    }
}

function Write-RmmLabName {
    param($Provider, [string] $Path, [string] $Name)
    $Provider.WriteItemObject($Name, $Path, $false)
}

function Write-RmmLabFile {
    param($Provider, [string] $Path)
    $file = [RmmLabFiles]::Find($Path)
    if ($null -ne $file) { $Provider.WriteItemObject($file, $file.FullName, $file.PSIsContainer) }
}

function Write-RmmLabFolder {
    param($Provider, [string] $Path, [bool] $Recurse)
    foreach ($name in @(Get-RmmLabFileName -Path $Path)) {
        $file = [RmmLabFiles]::Find([RmmLabFiles]::Full($Path) + "\$name")
        $Provider.WriteItemObject($file, $file.FullName, $file.PSIsContainer)
        if ($Recurse -and $file.PSIsContainer) { Write-RmmLabFolder -Provider $Provider -Path $file.FullName -Recurse $true }
    }
}

function Open-RmmLabFile {
    param($Provider, [string] $Path)
    $file = [RmmLabFiles]::Find($Path)
    if ([RmmLab]::Lists('denied', $file.FullName, '\')) {
        $reason = [System.UnauthorizedAccessException]::new("Access to the path '$($file.FullName)' is denied.")
        $ErrorActionPreference = Get-RmmLabProviderPreference
        $Provider.WriteError([ErrorRecord]::new($reason, 'GetContentReaderUnauthorizedAccessError', 'PermissionDenied', $file.FullName))
        return
    }
    $text = [System.IO.StreamReader]::new([System.IO.MemoryStream]::new($file.Bytes)).ReadToEnd()
    $chosen = $Provider.GetType().GetProperty('DynamicParameters', [RmmLab]::Inner).GetValue($Provider)
    if ($chosen.Raw) { return [RmmLabReader]::new(@($text)) }
    $lines = @($text -split "`r?`n")
    if ($lines.Count -and $lines[-1] -eq '') { $lines = @($lines | Select-Object -SkipLast 1) }
    [RmmLabReader]::new($lines)
}

function Read-RmmLabContent {
    param($Reader, [long] $Count)
    $list = [System.Collections.Generic.List[object]]::new()
    while ($Reader.At -lt $Reader.Parts.Count -and ($Count -le 0 -or $list.Count -lt $Count)) { $list.Add($Reader.Parts[$Reader.At++]) }
    , $list
}

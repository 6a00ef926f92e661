# Which classes Windows has, and the types of their properties: the packed schemas, and what the state adds.

class RmmLabTypes {
    static [hashtable] $Texts = @{}  # the whole schema by its file's name, once asked for

    static [string] Text() {
        $build = [RmmLab]::Member([RmmLab]::Root, 'build')
        $name = if ($null -ne $build -and $build.GetInt32() -lt 20348) { 'server2019' } else { 'server23h2' }
        if (-not [RmmLabTypes]::Texts.ContainsKey($name)) {
            $file = [System.IO.File]::OpenRead("$PSScriptRoot/types-$name.gz")
            $plain = [System.IO.Compression.GZipStream]::new($file, [System.IO.Compression.CompressionMode]::Decompress)
            $reader = [System.IO.StreamReader]::new($plain)
            [RmmLabTypes]::Texts[$name] = $reader.ReadToEnd()
            $reader.Dispose()
        }
        return [RmmLabTypes]::Texts[$name]
    }

    static [string] Space([string] $namespace) { return $namespace.Replace('\', '/').Trim('/') }

    # Whether the machine has this namespace.
    static [bool] HasSpace([string] $space) {
        if ([RmmLab]::Lists('absent', $space, '/')) { return $false }
        if ([RmmLabTypes]::Text().IndexOf("`n$space|", [StringComparison]::OrdinalIgnoreCase) -ge 0) { return $true }
        if ($space -in 'root', 'root/default', 'root/interop') { return $true }
        return $null -ne [RmmLabTypes]::Stated('cim', $space) -or [RmmLabTypes]::HasMethod($space, '')
    }

    static [object] Stated([string] $member, [string] $space) {
        $all = [RmmLab]::Member([RmmLab]::Root, $member)
        if ($null -eq $all) { return $null }
        foreach ($entry in $all.EnumerateObject()) {
            if ([string]::Equals([RmmLabTypes]::Space($entry.Name), $space, 'OrdinalIgnoreCase')) { return $entry.Value }
        }
        return $null
    }

    # A class of this machine: Space and Name in Windows' spelling, Types (property -> type); $null where it has none.
    static [hashtable] Class([string] $space, [string] $name) {
        if ($name -notmatch '^[A-Za-z_][A-Za-z0-9_]*$') { return $null }
        $key = "class $space/$name"
        if (-not [RmmLab]::Kept.ContainsKey($key)) { [RmmLab]::Kept[$key] = [RmmLabTypes]::Find($space, $name) }
        return [RmmLab]::Kept[$key]
    }

    static [hashtable] Find([string] $space, [string] $name) {
        if ([RmmLab]::Lists('absent', "${space}:$name", ' ')) { return $null }
        $types = [ordered] @{}
        $spelled = $name
        $text = [RmmLabTypes]::Text()
        $at = $text.IndexOf("`n$space|$name|", [StringComparison]::OrdinalIgnoreCase)
        if ($at -ge 0) {
            $space, $spelled, $list = $text.Substring($at + 1, $text.IndexOf("`n", $at + 1) - $at - 1).Split('|')
            foreach ($pair in $list.Split(',')) {
                $prop, $type = $pair.Split(':')
                if ($prop) { $types[$prop] = $type }
            }
        }
        elseif ($null -eq [RmmLabTypes]::Instances($space, $name) -and -not [RmmLabTypes]::HasMethod($space, $name)) { return $null }
        [RmmLabTypes]::Add($space, $name, $types)
        return @{ Space = $space.Replace('CIMV2', 'cimv2'); Name = $spelled; Types = $types }
    }

    # Whether the state gives a method of this class, or of any class of the namespace.
    static [bool] HasMethod([string] $space, [string] $name) {
        $methods = [RmmLab]::Member([RmmLab]::Root, 'methods')
        if ($null -eq $methods) { return $false }
        foreach ($method in $methods.EnumerateArray()) {
            $within = [RmmLabTypes]::Space([RmmLab]::Member($method, 'namespace').GetString())
            if ($within -eq $space -and (-not $name -or [RmmLab]::Member($method, 'class').GetString() -eq $name)) { return $true }
        }
        return $false
    }

    # Types that the state gives: of classes that come with a role or product.
    static [void] Add([string] $space, [string] $name, [System.Collections.Specialized.OrderedDictionary] $types) {
        $spaces = [RmmLabTypes]::Stated('classes', $space)
        if ($null -eq $spaces) { return }
        $class = [RmmLab]::Member($spaces, $name)
        if ($null -eq $class) { return }
        foreach ($entry in $class.EnumerateObject()) { $types[$entry.Name] = $entry.Value.GetString() }
    }

    # The instances that the state has of a class: a JSON array, or $null where it does not name the class.
    static [object] Instances([string] $space, [string] $name) {
        $classes = [RmmLabTypes]::Stated('cim', $space)
        if ($null -eq $classes) { return $null }
        return [RmmLab]::Member($classes, $name)
    }
}

# Instances as Windows' commands give them: typed values, and a record of every name that is asked in vain.
using namespace System.Management.Automation

class RmmLabCim {
    hidden [hashtable] $Facts  # Space, Name, Types, Row

    RmmLabCim([hashtable] $facts) {
        $property = [RmmLabFacts]::OfCim
        $property.SetValue($this, $facts)
    }

    [string] ToString() { return Get-RmmLabText -Instance $this }
}

# Reads what an object keeps for the module: an ordinary access would ask the adapter.
class RmmLabFacts {
    static [System.Reflection.PropertyInfo] $OfCim = [RmmLabCim].GetProperty('Facts')
    static [System.Reflection.PropertyInfo] $OfEvent

    static [hashtable] Of([object] $instance) {
        if ($instance -is [psobject]) { $instance = $instance.PSObject.BaseObject }
        return [RmmLabFacts]::OfCim.GetValue($instance)
    }
}

# Answers for what an instance does not hold: null, as on Windows, and noted. The values themselves are note properties.
# The engine calls these methods in the language mode of the script; functions keep that of the module.
class RmmLabAdapter : PSPropertyAdapter {
    [System.Collections.ObjectModel.Collection[PSAdaptedProperty]] GetProperties([object] $instance) { return Get-RmmLabAdapted -Instance $instance }
    [PSAdaptedProperty] GetProperty([object] $instance, [string] $name) { return Find-RmmLabAdapted -Instance $instance -Name $name }
    [object] GetPropertyValue([PSAdaptedProperty] $property) { return Get-RmmLabAdaptedValue -Property $property }
    static [hashtable] FactsOf([object] $instance) { return [RmmLabFacts]::Of($instance) }
    [bool] IsSettable([PSAdaptedProperty] $property) { return $false }
    [bool] IsGettable([PSAdaptedProperty] $property) { return $true }
    [void] SetPropertyValue([PSAdaptedProperty] $property, [object] $value) { throw 'read-only' }
    [string] GetPropertyTypeName([PSAdaptedProperty] $property) { return 'System.Object' }
}

Update-TypeData -TypeName RmmLabCim -TypeAdapter ([RmmLabAdapter]) -Force

# What every instance has on Windows, and what the engine asks of any object.
$script:always = 'CimClass', 'CimInstanceProperties', 'CimSystemProperties', 'PSComputerName'
$script:asked = 'Count', 'Length', 'GetEnumerator', 'ToString', 'GetType', 'Equals', 'GetHashCode', 'Dispose'

function Get-RmmLabAdapted {
    param($Instance)
    $all = [System.Collections.ObjectModel.Collection[PSAdaptedProperty]]::new()
    foreach ($name in [RmmLabFacts]::Of($Instance).Types.Keys) { $all.Add([PSAdaptedProperty]::new($name, $null)) }
    foreach ($name in $script:always) { $all.Add([PSAdaptedProperty]::new($name, $null)) }
    , $all
}

function Find-RmmLabAdapted {
    param($Instance, [string] $Name)
    if ($Name -in $script:always) { return [PSAdaptedProperty]::new($Name, $null) }
    if ($Name -like 'PS*' -or $Name -in $script:asked) { return }
    $of = [RmmLabFacts]::Of($Instance)
    if ($of.Types.Contains($Name)) {
        [RmmLab]::Refuse("the query of $($of.Name) does not ask for $Name")
        return [PSAdaptedProperty]::new($Name, $null)
    }
    [RmmLab]::Refuse("$($of.Name) has no property $Name")
}

function Get-RmmLabAdaptedValue {
    param($Property)
    $of = [RmmLabFacts]::Of($Property.BaseObject)
    $system = [pscustomobject] @{ Namespace = $of.Space; ServerName = "$env:COMPUTERNAME"; ClassName = $of.Name; Path = $null }
    switch ($Property.Name) {
        'CimClass' { return [pscustomobject] @{ CimClassName = $of.Name; CimSystemProperties = $system } }
        'CimSystemProperties' { return $system }
        'CimInstanceProperties' {
            $all = [System.Collections.Specialized.OrderedDictionary]::new([System.StringComparer]::OrdinalIgnoreCase)
            foreach ($entry in $of.Types.GetEnumerator()) {
                $held = ([psobject] $Property.BaseObject).PSObject.Properties.Match($entry.Key)
                $all[$entry.Key] = [pscustomobject] @{ Name = $entry.Key; Value = $(if ($held.Count) { , $held[0].Value }); CimType = $entry.Value }
            }
            return $all
        }
    }
}

# An instance as text, as Windows writes it: the class, and the key properties in brackets where they are known.
function Get-RmmLabText {
    param($Instance)
    $of = [RmmLabFacts]::Of($Instance)
    if (-not $of['Keys']) { return $of.Name }
    $pairs = foreach ($entry in $of['Keys'].GetEnumerator()) { "$($entry.Key) = ""$($entry.Value)""" }
    "$($of.Name) ($($pairs -join ', '))"
}

class RmmLabValue {
    static [hashtable] $Net = @{
        string = [string]; reference = [string]; boolean = [bool]; datetime = [datetime]; object = [object]; char16 = [char]
        uint8 = [byte]; uint16 = [uint16]; uint32 = [uint32]; uint64 = [uint64]; sint8 = [sbyte]
        int8 = [sbyte]; int16 = [int16]; int32 = [int]; int64 = [long]; real32 = [single]; real64 = [double]
    }

    # A JSON value as the CIM type says; a value that is not of the type is an error of whoever wrote the state.
    static [object] Typed([System.Text.Json.JsonElement] $value, [string] $type, [string] $name) {
        if ($value.ValueKind -eq 'Null') { return $null }
        try {
            if (-not $type.EndsWith('[]')) { return [RmmLabValue]::One($value, $type) }
            $items = [System.Collections.Generic.List[object]]::new()
            $inner = $type.Substring(0, $type.Length - 2)
            foreach ($item in $value.EnumerateArray()) { $items.Add([RmmLabValue]::One($item, $inner)) }
            $array = [array]::CreateInstance([RmmLabValue]::Net[$inner], $items.Count)
            for ($i = 0; $i -lt $items.Count; $i++) { $array.SetValue($items[$i], $i) }
            return $array
        }
        catch { throw "the state gives $name, a $type, the value $($value.GetRawText())" }
    }

    static [object] One([System.Text.Json.JsonElement] $value, [string] $type) {
        switch ($type) {
            'string' { return $value.GetString() }
            'reference' { return [RmmLabReference]::Instance($value.GetString()) }
            'boolean' { return $value.GetBoolean() }
            'datetime' { return [RmmLab]::Time($value.GetString()) }
            'uint64' { return $value.GetUInt64() }
            'uint32' { return $value.GetUInt32() }
            'uint16' { return $value.GetUInt16() }
            'uint8' { return $value.GetByte() }
            'int64' { return $value.GetInt64() }
            'int32' { return $value.GetInt32() }
            'int16' { return $value.GetInt16() }
            'int8' { return $value.GetSByte() }
            'real32' { return $value.GetSingle() }
            'real64' { return $value.GetDouble() }
            'char16' { return $value.GetString()[0] }
        }
        return [RmmLab]::Plain($value)
    }
}

# A reference as Windows gives it: an instance that has its key properties alone. The state writes
# Win32_Group.Domain="SRV01",Name="Administrators"; a namespace may stand before it.
class RmmLabReference {
    static [regex] $Pair = [regex]::new('(\w+)=(?:"((?:\\.|[^"\\])*)"|''((?:\\.|[^''\\])*)''|(\w+))')

    # Class and keys; throws for a text that is no reference.
    static [object[]] Parts([string] $text) {
        if ($text -notmatch '^(?:[^"'']*:)?(?<class>\w+)\.(?<keys>\w+=.+)$') { throw "$text is no reference" }
        $class = $Matches['class']
        $keys = [ordered] @{}
        foreach ($match in [RmmLabReference]::Pair.Matches($Matches['keys'])) {
            $value = $match.Groups[2].Value + $match.Groups[3].Value + $match.Groups[4].Value
            $keys[$match.Groups[1].Value] = [regex]::Replace($value, '\\(.)', '$1')
        }
        return @($class, $keys)
    }

    static [object] Instance([string] $text) {
        $class, $keys = [RmmLabReference]::Parts($text)
        $known = [RmmLabTypes]::Class('root/cimv2', $class)
        $types = if ($known) { $known.Types } else { $keys }
        $instance = [RmmLabCim]::new(@{ Space = 'root/cimv2'; Name = $class; Types = $types; Keys = $keys; Row = 0; Text = [RmmLabReference]::Plain($text) })
        foreach ($entry in $keys.GetEnumerator()) { $instance.PSObject.Properties.Add([PSNoteProperty]::new($entry.Key, $entry.Value), $true) }
        return $instance
    }

    # One form for every way of writing a reference.
    static [string] Plain([string] $text) {
        $class, $keys = [RmmLabReference]::Parts($text)
        $pairs = foreach ($name in @($keys.Keys | Sort-Object)) { "$name=""$($keys[$name])""" }
        return "$class." + ($pairs -join ',')
    }
}

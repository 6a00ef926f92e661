# Instances as Windows' commands give them: typed values, and a record of every name that is asked in vain.
using namespace System.Management.Automation

class RmmLabCim {
    hidden [hashtable] $Facts  # Space, Name, Types, Row

    RmmLabCim([hashtable] $facts) {
        $property = [RmmLabAdapter]::Facts
        $property.SetValue($this, $facts)
    }

    [string] ToString() { return [RmmLabAdapter]::FactsOf($this).Name }
}

# Answers for what an instance does not hold: null, as on Windows, and noted. The values themselves are note properties.
class RmmLabAdapter : PSPropertyAdapter {
    static [System.Reflection.PropertyInfo] $Facts = [RmmLabCim].GetProperty('Facts')
    # Windows' own, and what the engine asks of any object.
    static [string[]] $Always = @('CimClass', 'CimInstanceProperties', 'CimSystemProperties', 'PSComputerName')
    static [string[]] $Asked = @('Count', 'Length', 'GetEnumerator', 'ToString', 'GetType', 'Equals', 'GetHashCode', 'Dispose')

    static [hashtable] FactsOf([object] $instance) { return [RmmLabAdapter]::Facts.GetValue($instance) }

    [System.Collections.ObjectModel.Collection[PSAdaptedProperty]] GetProperties([object] $instance) {
        $all = [System.Collections.ObjectModel.Collection[PSAdaptedProperty]]::new()
        foreach ($name in [RmmLabAdapter]::FactsOf($instance).Types.Keys) { $all.Add([PSAdaptedProperty]::new($name, $null)) }
        foreach ($name in [RmmLabAdapter]::Always) { $all.Add([PSAdaptedProperty]::new($name, $null)) }
        return $all
    }

    [PSAdaptedProperty] GetProperty([object] $instance, [string] $name) {
        if ($name -in [RmmLabAdapter]::Always) { return [PSAdaptedProperty]::new($name, $null) }
        if ($name -like 'PS*' -or $name -in [RmmLabAdapter]::Asked) { return $null }
        $of = [RmmLabAdapter]::FactsOf($instance)
        if ($of.Types.Contains($name)) {
            [RmmLab]::Refuse("the query of $($of.Name) does not ask for $name")
            return [PSAdaptedProperty]::new($name, $null)
        }
        [RmmLab]::Refuse("$($of.Name) has no property $name")
        return $null
    }

    [object] GetPropertyValue([PSAdaptedProperty] $property) {
        $of = [RmmLabAdapter]::FactsOf($property.BaseObject)
        switch ($property.Name) {
            'CimClass' { return [pscustomobject] @{ CimClassName = $of.Name; CimSystemProperties = [RmmLabAdapter]::System($of) } }
            'CimSystemProperties' { return [RmmLabAdapter]::System($of) }
            'CimInstanceProperties' { return [RmmLabAdapter]::Values($property.BaseObject, $of) }
        }
        return $null
    }

    static [object] System([hashtable] $of) {
        return [pscustomobject] @{ Namespace = $of.Space; ServerName = "$env:COMPUTERNAME"; ClassName = $of.Name; Path = $null }
    }

    static [object] Values([object] $instance, [hashtable] $of) {
        $all = [System.Collections.Specialized.OrderedDictionary]::new([System.StringComparer]::OrdinalIgnoreCase)
        foreach ($entry in $of.Types.GetEnumerator()) {
            $held = ([psobject] $instance).PSObject.Properties.Match($entry.Key)
            $value = if ($held.Count) { $held[0].Value } else { $null }
            $all[$entry.Key] = [pscustomobject] @{ Name = $entry.Key; Value = $value; CimType = $entry.Value }
        }
        return $all
    }

    [bool] IsSettable([PSAdaptedProperty] $property) { return $false }
    [bool] IsGettable([PSAdaptedProperty] $property) { return $true }
    [void] SetPropertyValue([PSAdaptedProperty] $property, [object] $value) { throw 'read-only' }
    [string] GetPropertyTypeName([PSAdaptedProperty] $property) { return 'System.Object' }
}

Update-TypeData -TypeName RmmLabCim -TypeAdapter ([RmmLabAdapter]) -Force

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
            'reference' { return [RmmLab]::Plain($value) }
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

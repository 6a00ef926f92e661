# The machine's state: one JSON document, read on import and again by Import-RmmLabState.

class RmmLab {
    static [System.Text.Json.JsonElement] $Root
    static [System.Text.Json.JsonDocument] $Document
    static [int] $Generation = 0
    static [System.Reflection.BindingFlags] $Inner = 'NonPublic, Instance'
    static [hashtable] $Kept = @{}  # what the parts have read so far of this state
    static [System.Collections.Generic.List[string]] $Refusals = [System.Collections.Generic.List[string]]::new()

    # What a script did that the test of it must not let pass, with the script's file and line.
    static [void] Refuse([string] $what) {
        $place = ''
        foreach ($frame in Get-PSCallStack) {
            if ($frame.ScriptName -like '*RmmLab.Windows*' -or $frame.ScriptLineNumber -lt 1) { continue }
            $place = "$($frame.ScriptName):$($frame.ScriptLineNumber): "
            break
        }
        [RmmLab]::Refusals.Add($place + $what)
    }

    # Whether the script that called the command here runs in Constrained Language Mode.
    static [bool] CallerIsConstrained() {
        foreach ($frame in Get-PSCallStack) {
            $inside = $frame.GetType().GetProperty('FunctionContext', [RmmLab]::Inner).GetValue($frame)
            $block = $inside.GetType().GetField('_scriptBlock', [RmmLab]::Inner).GetValue($inside)
            if ($null -eq $block -or "$($block.File)" -like '*RmmLab.Windows*') { continue }
            $mode = $block.GetType().GetProperty('LanguageMode', [RmmLab]::Inner).GetValue($block)
            return "$mode" -eq 'ConstrainedLanguage'
        }
        return $false
    }

    # Whether Constrained Language Mode lets a script make objects of this type.
    static [bool] IsCore([type] $type) {
        $core = [psobject].Assembly.GetType('System.Management.Automation.CoreTypes')
        return $core.GetMethod('Contains', [System.Reflection.BindingFlags] 'NonPublic, Static').Invoke($null, @($type))
    }

    # A member of an object without regard to case, $null where absent.
    static [object] Member([System.Text.Json.JsonElement] $of, [string] $name) {
        if ($of.ValueKind -ne 'Object') { return $null }
        $found = [System.Text.Json.JsonElement]::new()
        if ($of.TryGetProperty($name, [ref] $found)) { return $found }
        foreach ($member in $of.EnumerateObject()) {
            if ([string]::Equals($member.Name, $name, 'OrdinalIgnoreCase')) { return $member.Value }
        }
        return $null
    }

    # A JSON value as PowerShell has it: text stays text, objects become ordered dictionaries without regard to case.
    static [object] Plain([System.Text.Json.JsonElement] $value) {
        switch ("$($value.ValueKind)") {
            'Object' {
                $result = [System.Collections.Specialized.OrderedDictionary]::new([System.StringComparer]::OrdinalIgnoreCase)
                foreach ($member in $value.EnumerateObject()) { $result[$member.Name] = [RmmLab]::Plain($member.Value) }
                return $result
            }
            'Array' {
                $list = [System.Collections.Generic.List[object]]::new()
                foreach ($item in $value.EnumerateArray()) { $list.Add([RmmLab]::Plain($item)) }
                return $list.ToArray()
            }
            'String' { return $value.GetString() }
            'Number' { return [RmmLab]::Number($value) }
            'True' { return $true }
            'False' { return $false }
        }
        return $null
    }

    static [object] Number([System.Text.Json.JsonElement] $value) {
        $whole = [long] 0
        if ($value.TryGetInt64([ref] $whole)) { return $whole }
        $large = [ulong] 0
        if ($value.TryGetUInt64([ref] $large)) { return $large }
        return $value.GetDouble()
    }

    # An ISO 8601 time in UTC as Windows' commands give times: of local kind.
    static [datetime] Time([string] $text) {
        $offset = [datetimeoffset]::Parse($text, [cultureinfo]::InvariantCulture, 'AssumeUniversal')
        return $offset.LocalDateTime
    }

    static [object[]] Listed([string] $list) {
        if (-not [RmmLab]::Kept.ContainsKey($list)) {
            $member = [RmmLab]::Member([RmmLab]::Root, $list)
            [RmmLab]::Kept[$list] = if ($null -eq $member) { @() } else { @([RmmLab]::Plain($member)) }
        }
        return [RmmLab]::Kept[$list]
    }

    # Whether the state's list `denied` or `absent` names this place or one above it.
    static [bool] Lists([string] $list, [string] $place, [char] $separator) {
        foreach ($named in [RmmLab]::Listed($list)) {
            if ([string]::Equals($named, $place, 'OrdinalIgnoreCase')) { return $true }
            if ($separator -ne ' ' -and $place.StartsWith("$named$separator", 'OrdinalIgnoreCase')) { return $true }
        }
        return $false
    }
}

# Reads a machine's state from a file or a text; an empty path is a machine that says nothing.
function Import-RmmLabState {
    param([string] $Path, [string] $Json)
    if ($Path) { $Json = [System.IO.File]::ReadAllText($Path) }
    if (-not $Json) { $Json = '{"format":1}' }
    $document = [System.Text.Json.JsonDocument]::Parse($Json)
    $format = [RmmLab]::Member($document.RootElement, 'format')
    if ($null -eq $format -or $format.GetInt32() -ne 1) { throw 'the state of a machine has format 1' }
    if ([RmmLab]::Document) { [RmmLab]::Document.Dispose() }
    [RmmLab]::Document = $document
    [RmmLab]::Root = $document.RootElement
    [RmmLab]::Kept = @{}
    [RmmLab]::Generation++
    [RmmLab]::Refusals.Clear()
    $name = [RmmLab]::Member([RmmLab]::Root, 'computer')
    if ($null -ne $name) { $env:COMPUTERNAME = $name.GetString() }
}

# What scripts did since this was last asked that on Windows gives nothing at all, such as reading a misspelt property.
function Get-RmmLabRefusal {
    [RmmLab]::Refusals.ToArray()
    [RmmLab]::Refusals.Clear()
}

# Gives a command's errors the caller's own preference, as a compiled command has it.
function Get-RmmLabPreference {
    param($Cmdlet, $Bound)
    if ($Bound.ContainsKey('ErrorAction')) { $Bound['ErrorAction'] }
    else { $Cmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference') }
}

# The same for a provider, whose functions see the module's variables and not those of the script that called a command
# of Windows; the engine keeps them in the session's own state.
function Get-RmmLabProviderPreference {
    $context = $ExecutionContext.GetType().GetField('_context', [RmmLab]::Inner).GetValue($ExecutionContext)
    $state = $context.GetType().GetProperty('TopLevelSessionState', [RmmLab]::Inner).GetValue($context)
    $find = $state.GetType().GetMethod('GetVariable', [RmmLab]::Inner, [type[]] @([string]))
    $find.Invoke($state, @('ErrorActionPreference')).Value
}

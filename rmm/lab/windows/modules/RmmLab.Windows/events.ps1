# Get-WinEvent on the state's events.
using namespace System.Management.Automation

class RmmLabEvent {
    hidden [hashtable] $Facts  # Xml, Message
    RmmLabEvent([hashtable] $facts) {
        $property = [RmmLabFacts]::OfEvent
        $property.SetValue($this, $facts)
    }
    [string] ToXml() { return [RmmLabFacts]::OfEvent.GetValue($this).Xml }
    [string] FormatDescription() { return [RmmLabFacts]::OfEvent.GetValue($this).Message }
    [string] ToString() { return 'System.Diagnostics.Eventing.Reader.EventLogRecord' }
}
[RmmLabFacts]::OfEvent = [RmmLabEvent].GetProperty('Facts')

# Notes what is asked of an event in vain.
class RmmLabEventAdapter : RmmLabAdapter {
    [System.Collections.ObjectModel.Collection[PSAdaptedProperty]] GetProperties([object] $instance) { return Get-RmmLabNone }
    [PSAdaptedProperty] GetProperty([object] $instance, [string] $name) { return Find-RmmLabEventProperty -Name $name }
}
Update-TypeData -TypeName RmmLabEvent -TypeAdapter ([RmmLabEventAdapter]) -Force

function Get-RmmLabNone { , [System.Collections.ObjectModel.Collection[PSAdaptedProperty]]::new() }

function Find-RmmLabEventProperty {
    param([string] $Name)
    if ($Name -like 'PS*' -or $Name -in $script:asked -or $Name -in 'ToXml', 'FormatDescription', 'GetPropertyValues') { return }
    [RmmLab]::Refuse("an event has no property $Name")
}

class RmmLabEvents {
    static [string[]] $Classic = @('Application', 'Security', 'Setup', 'System')

    # Names of the channels of this machine.
    static [string[]] Channels() {
        $names = [System.Collections.Generic.List[string]]::new([RmmLabEvents]::Classic)
        foreach ($list in 'events', 'logs') {
            $member = [RmmLab]::Member([RmmLab]::Root, $list)
            if ($null -eq $member) { continue }
            foreach ($entry in $member.EnumerateObject()) { if ($names -notcontains $entry.Name) { $names.Add($entry.Name) } }
        }
        return $names.ToArray()
    }

    # The channel's events as a list of Raw (what the state says) and Node (the XML that XPath sees), oldest first.
    static [object[]] Of([string] $channel) {
        $key = "events $channel"
        if (-not [RmmLab]::Kept.ContainsKey($key)) {
            $list = @()
            $all = [RmmLab]::Member([RmmLab]::Root, 'events')
            $mine = if ($null -ne $all) { [RmmLab]::Member($all, $channel) }
            if ($null -ne $mine) {
                $list = foreach ($one in $mine.EnumerateArray()) {
                    $raw = [RmmLab]::Plain($one)
                    @{ Raw = $raw; Channel = $channel; Node = [RmmLabEvents]::Node($raw, $channel, $false) }
                }
            }
            [RmmLab]::Kept[$key] = @($list | Sort-Object -Property { [long] $_.Raw.record })
        }
        return [RmmLab]::Kept[$key]
    }

    static [datetime] Now() {
        $now = [RmmLab]::Member([RmmLab]::Root, 'now')
        if ($null -ne $now -and $now.GetString()) { return [RmmLab]::Time($now.GetString()) }
        return [datetime]::Now
    }

    # The event's XML; without its namespace, and with times as numbers, for XPath.
    static [xml] Node([System.Collections.IDictionary] $raw, [string] $channel, [bool] $public) {
        $time = [RmmLab]::Time($raw.time).ToUniversalTime()
        $document = [xml]::new()
        $space = if ($public) { 'http://schemas.microsoft.com/win/2004/08/events/event' } else { '' }
        $root = $document.AppendChild($document.CreateElement('Event', $space))
        $system = $root.AppendChild($document.CreateElement('System', $space))
        $provider = $system.AppendChild($document.CreateElement('Provider', $space))
        $provider.SetAttribute('Name', $raw.provider)
        foreach ($pair in @(('EventID', $raw.id), ('Version', [int] $raw.version), ('Level', [int] $raw.level), ('Task', [int] $raw.task),
                ('Opcode', [int] $raw.opcode), ('Keywords', $(if ($raw.keywords) { $raw.keywords } else { '0x8000000000000000' })))) {
            $system.AppendChild($document.CreateElement($pair[0], $space)).InnerText = "$($pair[1])"
        }
        $created = $system.AppendChild($document.CreateElement('TimeCreated', $space))
        $created.SetAttribute('SystemTime', $time.ToString('o', [cultureinfo]::InvariantCulture))
        if (-not $public) {
            $created.SetAttribute('ticks', "$($time.Ticks)")
            $created.SetAttribute('age', "$([long] ([RmmLabEvents]::Now().ToUniversalTime() - $time).TotalMilliseconds)")
        }
        foreach ($pair in @(('EventRecordID', $raw.record), ('Channel', $channel), ('Computer', "$env:COMPUTERNAME"))) {
            $system.AppendChild($document.CreateElement($pair[0], $space)).InnerText = "$($pair[1])"
        }
        if ($raw.user) { $system.AppendChild($document.CreateElement('Security', $space)).SetAttribute('UserID', $raw.user) }
        $data = $root.AppendChild($document.CreateElement('EventData', $space))
        if ($raw.data -is [System.Collections.IDictionary]) {
            foreach ($entry in $raw.data.GetEnumerator()) {
                $element = $data.AppendChild($document.CreateElement('Data', $space))
                $element.SetAttribute('Name', $entry.Key)
                $element.InnerText = "$($entry.Value)"
            }
        }
        elseif ($null -ne $raw.data) {
            foreach ($value in $raw.data) { $data.AppendChild($document.CreateElement('Data', $space)).InnerText = "$value" }
        }
        return $document
    }

    # A query of Windows' dialect as XPath 1.0 on those nodes. Throws for what Windows refuses.
    static [string] XPath([string] $query) {
        $plain = [regex]::Replace($query, "'[^']*'|""[^""]*""", '')
        $odd = $plain -match '\b(contains|starts-with|substring|string-length|not|last|count|concat|text)\s*\(' -or $plain -match '//|\.\.|::'
        # Twenty-two is the most comparisons of one element that Windows' compiler of queries takes.
        if ($odd -or [regex]::Matches($plain, '\bEventID\b').Count -gt 22 -or $plain -match '\bband\s*\(') { [RmmLabEvents]::Invalid() }
        $text = [regex]::Replace($query, 'timediff\s*\(\s*@SystemTime\s*\)', '@age')
        $text = [regex]::Replace($text, "@SystemTime\s*(<=|>=|<|>|=)\s*['""]([^'""]+)['""]", {
            param($match)
            "@ticks $($match.Groups[1].Value) $([RmmLab]::Time($match.Groups[2].Value).ToUniversalTime().Ticks)"
        })
        if ($text -notmatch '^\s*(\*|Event)') { [RmmLabEvents]::Invalid() }
        return $text
    }

    # The types of Windows' own errors exist on no other system: the name travels in the error.
    static [System.Exception] Fault([string] $type, [string] $message) {
        $fault = [System.Exception]::new($message)
        $fault.Data['id'] = $type
        return $fault
    }
    static [void] Invalid() { throw [RmmLabEvents]::Fault('System.Diagnostics.Eventing.Reader.EventLogException', 'The specified query is invalid') }

    static [object[]] Matching([string] $channel, [string] $query) {
        $all = [RmmLabEvents]::Of($channel)
        if (-not $query -or $query -eq '*') { return $all }
        $xpath = [RmmLabEvents]::XPath($query)
        try { return @(foreach ($one in $all) { if ($null -ne $one.Node.SelectSingleNode($xpath)) { $one } }) }
        catch [System.Xml.XPath.XPathException] { [RmmLabEvents]::Invalid(); return @() }
    }

    static [object] Record([hashtable] $one) {
        $raw = $one.Raw
        $values = if ($raw.data -is [System.Collections.IDictionary]) { @($raw.data.Values) } else { @($raw.data) }
        $record = [RmmLabEvent]::new(@{ Message = $raw.message; Xml = [RmmLabEvents]::Node($raw, $one.Channel, $true).OuterXml })
        $facts = [ordered] @{
            Id = [int] $raw.id; Version = [byte] [int] $raw.version; Qualifiers = [int] 0; Level = [byte] $raw.level; Task = [int] $raw.task
            Opcode = [int16] [int] $raw.opcode; Keywords = [long]::MinValue; RecordId = [long] $raw.record; ProviderName = $raw.provider
            ProviderId = $null; LogName = $one.Channel; ProcessId = [int] $raw.process; ThreadId = [int] 0; MachineName = "$env:COMPUTERNAME"
            UserId = $raw.user; TimeCreated = [RmmLab]::Time($raw.time); ActivityId = $null; RelatedActivityId = $null
            ContainerLog = $one.Channel; MatchedQueryIds = @(); Bookmark = $null; LevelDisplayName = $raw.level_name; OpcodeDisplayName = $null
            TaskDisplayName = $null; KeywordsDisplayNames = @(); Message = $raw.message
            Properties = @(foreach ($value in $values) { if ($null -ne $value) { [pscustomobject] @{ Value = $value } } })
        }
        foreach ($entry in $facts.GetEnumerator()) { $record.PSObject.Properties.Add([PSNoteProperty]::new($entry.Key, $entry.Value)) }
        $record.PSObject.TypeNames.Insert(0, 'System.Diagnostics.Eventing.Reader.EventLogRecord')
        return $record
    }

    # The XPath that a hashtable stands for.
    static [string] OfHashtable([hashtable] $filter) {
        $parts = foreach ($entry in $filter.GetEnumerator()) {
            $each = switch ("$($entry.Key)".ToLowerInvariant()) {
                'logname' { continue }
                'providername' { foreach ($value in $entry.Value) { "Provider[@Name='$value']" } }
                'id' { foreach ($value in $entry.Value) { "EventID=$value" } }
                'level' { foreach ($value in $entry.Value) { "Level=$value" } }
                'starttime' { "TimeCreated[@SystemTime>='$(([datetime] $entry.Value).ToUniversalTime().ToString('o'))']" }
                'endtime' { "TimeCreated[@SystemTime<='$(([datetime] $entry.Value).ToUniversalTime().ToString('o'))']" }
                'userid' { "Security[@UserID='$($entry.Value)']" }
                default { throw [System.ArgumentException]::new("The stand-in knows no filter $($entry.Key)") }
            }
            if ($each) { '(' + ($each -join ' or ') + ')' }
        }
        if (-not $parts) { return '*' }
        return '*[System[' + ($parts -join ' and ') + ']]'
    }

    static [object] Log([string] $channel) {
        $events = [RmmLabEvents]::Of($channel)
        $oldest = if ($events.Count) { [long] $events[0].Raw.record } else { $null }
        $log = [ordered] @{
            LogName = $channel; RecordCount = [long] $events.Count; OldestRecordNumber = $oldest; IsEnabled = $true; LogMode = 'Circular'
            LogType = 'Administrative'; MaximumSizeInBytes = [long] 20971520; FileSize = [long] 1118208; LastWriteTime = [RmmLabEvents]::Now()
            IsClassicLog = $channel -in [RmmLabEvents]::Classic; IsLogFull = $false
        }
        $logs = [RmmLab]::Member([RmmLab]::Root, 'logs')
        $own = if ($null -ne $logs) { [RmmLab]::Member($logs, $channel) }
        if ($null -ne $own) { foreach ($entry in $own.EnumerateObject()) { $log[$entry.Name] = [RmmLab]::Plain($entry.Value) } }
        return [pscustomobject] $log
    }
}

function Microsoft.PowerShell.Commands.GetWinEventCommand {
    [CmdletBinding(DefaultParameterSetName = 'GetLogSet')]
    param(
        [Parameter(ParameterSetName = 'GetLogSet', Position = 0)] [string[]] $LogName = '*',
        [Parameter(ParameterSetName = 'ListLogSet', Mandatory)] [AllowEmptyCollection()] [string[]] $ListLog,
        [Parameter(ParameterSetName = 'GetProviderSet', Mandatory)] [string[]] $ProviderName,
        [Parameter(ParameterSetName = 'HashQuerySet', Mandatory)] [hashtable[]] $FilterHashtable,
        [Parameter(ParameterSetName = 'XmlQuerySet', Mandatory)] [xml] $FilterXml,
        [Parameter(ParameterSetName = 'GetLogSet')] [Parameter(ParameterSetName = 'GetProviderSet')] [string] $FilterXPath = '*',
        [long] $MaxEvents = -1,
        [switch] $Oldest,
        [switch] $Force
    )
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    $wanted = switch ($PSCmdlet.ParameterSetName) {
        'ListLogSet' { Find-RmmLabChannel -Cmdlet $PSCmdlet -Name $ListLog | ForEach-Object { [RmmLabEvents]::Log($_) }; return }
        'XmlQuerySet' {
            foreach ($select in $FilterXml.SelectNodes('//Query/Select')) {
                $path = if ($select.GetAttribute('Path')) { $select.GetAttribute('Path') } else { $select.ParentNode.GetAttribute('Path') }
                @{ Channel = $path; Query = $select.InnerText.Trim(); Direct = $true }
            }
        }
        'HashQuerySet' {
            foreach ($table in $FilterHashtable) {
                $names = if ($table.ContainsKey('LogName')) { $table['LogName'] } else { '*' }
                foreach ($name in Find-RmmLabChannel -Cmdlet $PSCmdlet -Name $names) { @{ Channel = $name; Query = [RmmLabEvents]::OfHashtable($table) } }
            }
        }
        'GetProviderSet' {
            $each = '*[System[' + (@(foreach ($name in $ProviderName) { "Provider[@Name='$name']" }) -join ' or ') + ']]'
            foreach ($name in Find-RmmLabChannel -Cmdlet $PSCmdlet -Name '*') { @{ Channel = $name; Query = $each } }
        }
        default { foreach ($name in Find-RmmLabChannel -Cmdlet $PSCmdlet -Name $LogName) { @{ Channel = $name; Query = $FilterXPath } } }
    }
    if (-not $wanted) { return }
    try {
        $found = @(foreach ($one in $wanted) {
            if ($one.Direct) { Assert-RmmLabChannel -Name $one.Channel }
            [RmmLabEvents]::Matching($one.Channel, $one.Query)
        })
    }
    catch {
        $reason = $_.Exception
        while ($reason.InnerException) { $reason = $reason.InnerException }
        $id = if ($reason.Data['id']) { $reason.Data['id'] } else { $reason.GetType().FullName }
        $PSCmdlet.ThrowTerminatingError([ErrorRecord]::new($reason, $id, 'NotSpecified', $null))
    }
    if ($found.Count -eq 0) {
        $reason = [System.Exception]::new('No events were found that match the specified selection criteria.')
        $PSCmdlet.WriteError([ErrorRecord]::new($reason, 'NoMatchingEventsFound', 'ObjectNotFound', $null))
        return
    }
    if (-not $Oldest) { [array]::Reverse($found) }
    if (@($wanted).Count -gt 1) { $found = @($found | Sort-Object -Property { $_.Raw.time } -Descending:(-not $Oldest) -Stable) }
    if ($MaxEvents -ge 0) { $found = @($found | Select-Object -First $MaxEvents) }
    foreach ($one in $found) { [RmmLabEvents]::Record($one) }
}
Set-Alias -Name Get-WinEvent -Value Microsoft.PowerShell.Commands.GetWinEventCommand

# The channels that names with wildcards stand for, with Windows' errors for those that are not there or not readable.
function Find-RmmLabChannel {
    param($Cmdlet, [string[]] $Name)
    foreach ($one in $Name) {
        $matching = @([RmmLabEvents]::Channels() -like $one)
        foreach ($channel in $matching) {
            if (-not [RmmLab]::Lists('denied', "log:$channel", ' ')) { $channel; continue }
            $inner = [System.UnauthorizedAccessException]::new('Attempted to perform an unauthorized operation.')
            $reason = [System.Exception]::new("Could not retrieve information about the $channel log. Error: $($inner.Message).", $inner)
            $Cmdlet.WriteError([ErrorRecord]::new($reason, 'LogInfoUnavailable', 'NotSpecified', $null))
            $matching = @($matching -ne $channel)
        }
        if ($matching.Count) { continue }
        $reason = [System.Exception]::new("There is not an event log on the localhost computer that matches ""$one"".")
        $Cmdlet.WriteError([ErrorRecord]::new($reason, 'NoMatchingLogsFound', 'ObjectNotFound', $null))
    }
}

# The same for a channel that a query of XML names.
function Assert-RmmLabChannel {
    param([string] $Name)
    if ([RmmLab]::Lists('denied', "log:$Name", ' ')) { throw [System.UnauthorizedAccessException]::new('Attempted to perform an unauthorized operation.') }
    if ([RmmLabEvents]::Channels() -notcontains $Name) {
        throw [RmmLabEvents]::Fault('System.Diagnostics.Eventing.Reader.EventLogNotFoundException', 'The specified channel could not be found.')
    }
}

# The task scheduler's COM objects, and the commands on scheduled tasks.
using namespace System.Management.Automation

class RmmLabTaskPrincipal {
    [string] $UserId; [string] $GroupId; [int] $RunLevel; [int] $LogonType; [string] $DisplayName; [string] $Id
}
class RmmLabTaskSettings { [bool] $Hidden; [bool] $Enabled }
class RmmLabTaskRegistration { [string] $Author; [string] $Description; [object] $Date; [string] $URI }
class RmmLabTaskDefinition {
    [RmmLabTaskPrincipal] $Principal; [RmmLabTaskSettings] $Settings; [RmmLabTaskRegistration] $RegistrationInfo
    [object[]] $Actions; [object[]] $Triggers; [string] $XmlText
}

# IRegisteredTask
class RmmLabTask {
    [string] $Name; [string] $Path; [int] $State; [bool] $Enabled; [datetime] $LastRunTime; [int] $LastTaskResult
    [int] $NumberOfMissedRuns; [datetime] $NextRunTime; [RmmLabTaskDefinition] $Definition; [string] $Xml

    RmmLabTask([System.Collections.IDictionary] $raw) {
        $this.Path = $raw.path
        $this.Name = $raw.path.Substring($raw.path.LastIndexOf('\') + 1)
        $this.State = [int] $raw.state
        $this.Enabled = $raw.enabled -ne $false
        $this.LastRunTime = [RmmLabTask]::Moment($raw.last_run)
        $this.NextRunTime = [RmmLabTask]::Moment($raw.next_run)
        $result = [long] $raw.last_result
        $this.LastTaskResult = if ($result -gt [int]::MaxValue) { [int] ($result - 4294967296) } else { [int] $result }
        $this.NumberOfMissedRuns = [int] $raw.missed_runs
        $this.Xml = [RmmLabTask]::Write($raw)
        $this.Definition = [RmmLabTaskDefinition] @{
            Principal = [RmmLabTaskPrincipal] @{ UserId = $raw.account; GroupId = $raw.group; RunLevel = [int] $raw.run_level; LogonType = [int] $raw.logon_type }
            Settings = [RmmLabTaskSettings] @{ Hidden = [bool] $raw.hidden; Enabled = $raw.enabled -ne $false }
            RegistrationInfo = [RmmLabTaskRegistration] @{ Author = $raw.author; Description = $raw.description; URI = $raw.path }
            Actions = @(foreach ($action in $raw.actions) { [pscustomobject] $action }); Triggers = @(foreach ($trigger in $raw.triggers) { [pscustomobject] $trigger })
        }
        $this.Xml = [RmmLabTask]::Text($raw)
    }

    # The task's definition as the scheduler keeps it: accounts by SID, in the schema's order.
    static [string] Text([System.Collections.IDictionary] $raw) {
        $escaped = { param($value) [System.Security.SecurityElement]::Escape("$value") }
        $who = if ($raw.group) { "<GroupId>$(& $escaped $raw.group)</GroupId>" } else { "<UserId>$(& $escaped $raw.account)</UserId>" }
        $level = if ($raw.run_level) { 'HighestAvailable' } else { 'LeastPrivilege' }
        return @(
            '<?xml version="1.0" encoding="UTF-16"?>'
            '<Task version="1.4" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">'
            "  <RegistrationInfo>`r`n    <Author>$(& $escaped $raw.author)</Author>`r`n    <URI>$(& $escaped $raw.path)</URI>`r`n  </RegistrationInfo>"
            '  <Triggers>'
            '    <LogonTrigger><Enabled>true</Enabled><UserId>CORP\somebody</UserId></LogonTrigger>'
            '  </Triggers>'
            '  <Principals>'
            "    <Principal id=`"Author`">`r`n      $who`r`n      <RunLevel>$level</RunLevel>`r`n    </Principal>"
            '  </Principals>'
            "  <Settings>`r`n    <Enabled>$("$($raw.enabled -ne $false)".ToLowerInvariant())</Enabled>"
            "    <Hidden>$("$([bool] $raw.hidden)".ToLowerInvariant())</Hidden>`r`n  </Settings>"
            '  <Actions Context="Author" />'
            '</Task>'
        ) -join "`r`n"
    }

    # The task's definition as XML, as far as the state says it.
    static [string] Write([System.Collections.IDictionary] $raw) {
        $who = if ($raw.group) { '<GroupId>' + [System.Security.SecurityElement]::Escape($raw.group) + '</GroupId>' }
        elseif ($raw.account) { '<UserId>' + [System.Security.SecurityElement]::Escape($raw.account) + '</UserId>' }
        $level = if ($raw.run_level) { '<RunLevel>HighestAvailable</RunLevel>' } else { '<RunLevel>LeastPrivilege</RunLevel>' }
        $hidden = if ($raw.hidden) { '<Hidden>true</Hidden>' } else { '<Hidden>false</Hidden>' }
        return '<?xml version="1.0" encoding="UTF-16"?><Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">' +
            '<RegistrationInfo><URI>' + [System.Security.SecurityElement]::Escape($raw.path) + '</URI></RegistrationInfo><Triggers />' +
            "<Principals><Principal id=""Author"">$who$level</Principal></Principals>" +
            "<Settings><Enabled>$("$($raw.enabled -ne $false)".ToLowerInvariant())</Enabled>$hidden</Settings></Task>"
    }

    # Never is the zero of COM's dates.
    static [datetime] Moment([object] $text) {
        if ($text) { return [RmmLab]::Time($text) }
        return [datetime]::new(1899, 12, 30)
    }
}

# ITaskFolder
class RmmLabTaskFolder {
    [string] $Name; [string] $Path

    RmmLabTaskFolder([string] $path) {
        $this.Path = $path
        $this.Name = if ($path -eq '\') { '\' } else { $path.Substring($path.LastIndexOf('\') + 1) }
    }

    hidden [string] Prefix() { return $this.Path.TrimEnd('\') + '\' }

    # Bit 0 of the flags asks for hidden tasks too.
    [object[]] GetTasks([int] $flags) {
        $prefix = $this.Prefix()
        return @(foreach ($raw in [RmmLabTasks]::All()) {
            if (-not $raw.path.StartsWith($prefix, 'OrdinalIgnoreCase') -or $raw.path.IndexOf('\', $prefix.Length) -ge 0) { continue }
            if ($raw.hidden -and -not ($flags -band 1)) { continue }
            [RmmLabTask]::new($raw)
        })
    }
    [object[]] GetFolders([int] $flags) {
        $prefix = $this.Prefix()
        $names = [System.Collections.Generic.List[string]]::new()
        foreach ($raw in [RmmLabTasks]::All()) {
            if (-not $raw.path.StartsWith($prefix, 'OrdinalIgnoreCase')) { continue }
            $end = $raw.path.IndexOf('\', $prefix.Length)
            if ($end -lt 0) { continue }
            $folder = $raw.path.Substring($prefix.Length, $end - $prefix.Length)
            if ($names -notcontains $folder) { $names.Add($folder) }
        }
        return @(foreach ($one in $names) { [RmmLabTaskFolder]::new($prefix + $one) })
    }
    [object] GetTask([string] $path) {
        $full = if ($path.StartsWith('\')) { $path } else { $this.Prefix() + $path }
        foreach ($raw in [RmmLabTasks]::All()) { if ($raw.path -eq $full) { return [RmmLabTask]::new($raw) } }
        throw [RmmLabTasks]::Fault([System.IO.FileNotFoundException]::new('The system cannot find the file specified. (Exception from HRESULT: 0x80070002)'))
    }
    [object] GetFolder([string] $path) { return [RmmLabTasks]::Folder($path) }
}

class RmmLabTasks {
    static [object[]] All() {
        if (-not [RmmLab]::Kept.ContainsKey('tasks')) {
            $member = [RmmLab]::Member([RmmLab]::Root, 'tasks')
            [RmmLab]::Kept['tasks'] = if ($null -eq $member) { @() } else { @([RmmLab]::Plain($member)) }
        }
        return [RmmLab]::Kept['tasks']
    }

    # What a failing method of a COM object throws.
    static [ErrorRecord] Fault([System.Exception] $reason) {
        return [ErrorRecord]::new($reason, $reason.GetType().FullName, 'OperationStopped', $null)
    }

    static [object] Folder([string] $path) {
        if ([RmmLab]::Lists('denied', 'tasks', ' ')) {
            throw [RmmLabTasks]::Fault([System.UnauthorizedAccessException]::new('Access is denied. (Exception from HRESULT: 0x80070005 (E_ACCESSDENIED))'))
        }
        $full = '\' + $path.Trim('\')
        if ($full -ne '\') {
            $within = @([RmmLabTasks]::All() | Where-Object { $_.path.StartsWith("$full\", 'OrdinalIgnoreCase') })
            if ($within.Count -eq 0) {
                throw [RmmLabTasks]::Fault([System.IO.FileNotFoundException]::new('The system cannot find the file specified. (Exception from HRESULT: 0x80070002)'))
            }
        }
        return [RmmLabTaskFolder]::new($full)
    }
}

# ITaskService
class RmmLabTaskService {
    [bool] $Connected = $false; [uint32] $HighestVersion = 65542; [string] $TargetServer
    [void] Connect() { $this.Connected = $true; $this.TargetServer = "$env:COMPUTERNAME" }
    [object] GetFolder([string] $path) {
        if (-not $this.Connected) { throw [RmmLabTasks]::Fault([System.Runtime.InteropServices.COMException]::new('The Task Scheduler service is not connected.', -2147216625)) }
        return [RmmLabTasks]::Folder($path)
    }
}

# New-Object: COM objects that the state knows, and the engine's own, as far as the caller's language mode allows.
function Microsoft.PowerShell.Commands.NewObjectCommand {
    [CmdletBinding(DefaultParameterSetName = 'Net')]
    param(
        [Parameter(ParameterSetName = 'Net', Mandatory, Position = 0)] [string] $TypeName,
        [Parameter(ParameterSetName = 'Net', Position = 1)] [Alias('Args')] [object[]] $ArgumentList,
        [Parameter(ParameterSetName = 'Com', Mandatory, Position = 0)] [string] $ComObject,
        [Parameter(ParameterSetName = 'Com')] [switch] $Strict,
        [System.Collections.IDictionary] $Property
    )
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    $type = if ($TypeName) { $TypeName -as [type] }
    if ($TypeName -and $script:RmmLabSqlTypes.ContainsKey($TypeName)) { $type = $script:RmmLabSqlTypes[$TypeName] }
    if ([RmmLab]::CallerIsConstrained() -and ($ComObject -or ($type -and -not [RmmLab]::IsCore($type)))) {
        $reason = [PSNotSupportedException]::new('Cannot create type. Only core types are supported in this language mode.')
        $id = if ($ComObject) { 'CannotCreateComTypeConstrainedLanguage' } else { 'CannotCreateTypeConstrainedLanguage' }
        $PSCmdlet.ThrowTerminatingError([ErrorRecord]::new($reason, $id, 'PermissionDenied', $null))
    }
    if ($type -and $script:RmmLabSqlTypes.ContainsKey($TypeName)) { return $type::new.Invoke($ArgumentList) }
    if ($TypeName) { return Microsoft.PowerShell.Utility\New-Object @PSBoundParameters }
    if ($ComObject -eq 'Schedule.Service') { return [RmmLabTaskService]::new() }
    $reason = [System.Runtime.InteropServices.COMException]::new("Retrieving the COM class factory for component with CLSID {00000000-0000-0000-0000-000000000000} failed due to the following error: 80040154 Class not registered (Exception from HRESULT: 0x80040154 (REGDB_E_CLASSNOTREG)).", -2147221164)
    $PSCmdlet.ThrowTerminatingError([ErrorRecord]::new($reason, 'NoCOMClassIdentified', 'ResourceUnavailable', $null))
}
Set-Alias -Name New-Object -Value Microsoft.PowerShell.Commands.NewObjectCommand

# The CIM form of the tasks.
function Get-ScheduledTask {
    [CmdletBinding()]
    param([Parameter(Position = 0)] [string[]] $TaskName = '*', [Parameter(Position = 1)] [string[]] $TaskPath = '*')
    $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
    $states = 'Unknown', 'Disabled', 'Queued', 'Ready', 'Running'
    foreach ($raw in [RmmLabTasks]::All()) {
        $task = [RmmLabTask]::new($raw)
        $folder = $task.Path.Substring(0, $task.Path.LastIndexOf('\') + 1)
        if (-not ($TaskName | Where-Object { $task.Name -like $_ }) -or -not ($TaskPath | Where-Object { $folder -like $_ })) { continue }
        [pscustomobject] @{
            PSTypeName = 'Microsoft.Management.Infrastructure.CimInstance#Root/Microsoft/Windows/TaskScheduler/MSFT_ScheduledTask'
            TaskName = $task.Name; TaskPath = $folder; State = $states[$task.State]; URI = $task.Path
            Author = $task.Definition.RegistrationInfo.Author; Description = $task.Definition.RegistrationInfo.Description
            Principal = $task.Definition.Principal; Settings = $task.Definition.Settings; Actions = $task.Definition.Actions; Triggers = $task.Definition.Triggers
        }
    }
}

function Get-ScheduledTaskInfo {
    [CmdletBinding(DefaultParameterSetName = 'Path')]
    param(
        [Parameter(ParameterSetName = 'Path', Mandatory, Position = 0)] [string] $TaskName,
        [Parameter(ParameterSetName = 'Path', Position = 1)] [string] $TaskPath = '\',
        [Parameter(ParameterSetName = 'Object', Mandatory, ValueFromPipeline)] [object] $InputObject
    )
    process {
        $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
        $path = if ($InputObject) { $InputObject.TaskPath + $InputObject.TaskName } else { $TaskPath + $TaskName }
        $raw = [RmmLabTasks]::All() | Where-Object { $_.path -eq $path } | Select-Object -First 1
        if ($null -eq $raw) {
            $record = New-RmmLabCimError -Code 0x80070002 -Message 'The system cannot find the file specified.' -Category ObjectNotFound -Target $path
            $PSCmdlet.WriteError($record)
            return
        }
        $task = [RmmLabTask]::new($raw)
        [pscustomobject] @{
            PSTypeName = 'Microsoft.Management.Infrastructure.CimInstance#Root/Microsoft/Windows/TaskScheduler/MSFT_TaskDynamicInfo'
            TaskName = $task.Name; TaskPath = $path.Substring(0, $path.LastIndexOf('\') + 1); NumberOfMissedRuns = [uint32] $task.NumberOfMissedRuns
            LastTaskResult = [uint32] ([long] $task.LastTaskResult -band 4294967295L)
            LastRunTime = $(if ($raw.last_run) { $task.LastRunTime }); NextRunTime = $(if ($raw.next_run) { $task.NextRunTime })
        }
    }
}

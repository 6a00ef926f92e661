# Get-CimInstance on the state.
using namespace System.Management.Automation

# An error as the CIM commands give it.
function New-RmmLabCimError {
    param([string] $Code, [string] $Message, [ErrorCategory] $Category, [object] $Target)
    $exception = [Microsoft.Management.Infrastructure.CimException]::new($Message)
    [ErrorRecord]::new($exception, "HRESULT $Code", $Category, $Target)
}

# Why this machine refuses to answer for a class; nothing where it does not.
function Test-RmmLabCimClass {
    param([string] $Space, [string] $Name)
    if (-not [RmmLabTypes]::HasSpace($Space)) {
        New-RmmLabCimError -Code 0x8004100e -Message 'Invalid namespace ' -Category MetadataError -Target "${Space}:$Name"
    }
    elseif ([RmmLab]::Lists('denied', $Space, '/') -or [RmmLab]::Lists('denied', "${Space}:$Name", ' ')) {
        New-RmmLabCimError -Code 0x80041003 -Message 'Access denied ' -Category PermissionDenied -Target "${Space}:$Name"
    }
    elseif ($null -eq [RmmLabTypes]::Class($Space, $Name)) {
        New-RmmLabCimError -Code 0x80041010 -Message 'Invalid class ' -Category MetadataError -Target "${Space}:$Name"
    }
}

# The class's rows that satisfy a condition, as instances with the chosen properties.
function Get-RmmLabInstance {
    param([hashtable] $Class, [string[]] $Chosen, [object] $Where)
    $rows = [RmmLabTypes]::Instances($Class.Space, $Class.Name)
    if ($null -eq $rows) { return }
    $needed = [System.Collections.Generic.HashSet[string]]::new([StringComparer]::OrdinalIgnoreCase)
    $needed.UnionWith($Chosen)
    $row = 0
    foreach ($element in $rows.EnumerateArray()) {
        $row++
        $values = @{}
        foreach ($member in $element.EnumerateObject()) {
            $type = $Class.Types[$member.Name]
            if ($null -eq $type) { throw "the state gives $($Class.Name) a property $($member.Name), which it has not" }
            if ($Where -or $needed.Contains($member.Name)) { $values[$member.Name] = [RmmLabValue]::Typed($member.Value, $type, $member.Name) }
        }
        if ($Where -and -not [RmmLabWql]::Holds($Where, $values)) { continue }
        $instance = [RmmLabCim]::new(@{ Space = $Class.Space; Name = $Class.Name; Types = $Class.Types; Row = $row })
        $properties = $instance.PSObject.Properties
        foreach ($name in $Chosen) { $properties.Add([PSNoteProperty]::new($name, $values[$name]), $true) }
        $names = $instance.PSObject.TypeNames
        $names.Insert(0, 'Microsoft.Management.Infrastructure.CimInstance')
        $names.Insert(0, "Microsoft.Management.Infrastructure.CimInstance#$($Class.Space)/$($Class.Name)")
        $instance
    }
}

function Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand {
    [CmdletBinding(DefaultParameterSetName = 'ClassName')]
    param(
        [Parameter(ParameterSetName = 'ClassName', Mandatory, Position = 0)] [string] $ClassName,
        [Parameter(ParameterSetName = 'Query', Mandatory)] [string] $Query,
        [Parameter(ParameterSetName = 'Query')] [string] $QueryDialect,
        [Parameter(ParameterSetName = 'Instance', Mandatory, Position = 0, ValueFromPipeline)] [Alias('CimInstance')] [object] $InputObject,
        [Parameter(ParameterSetName = 'ClassName')] [Parameter(ParameterSetName = 'Query')] [string] $Namespace = 'root/cimv2',
        [Parameter(ParameterSetName = 'ClassName')] [string] $Filter,
        [Parameter(ParameterSetName = 'ClassName')] [Alias('SelectProperties')] [string[]] $Property,
        [Parameter(ParameterSetName = 'ClassName')] [switch] $KeyOnly,
        [Parameter(ParameterSetName = 'ClassName')] [Parameter(ParameterSetName = 'Query')] [switch] $Shallow,
        [Alias('OT')] [uint32] $OperationTimeoutSec
    )
    process {
        $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
        $space = [RmmLabTypes]::Space($Namespace)
        if ($InputObject) {
            $facts = [RmmLabFacts]::Of($InputObject)
            $class = [RmmLabTypes]::Class($facts.Space, $facts.Name)
            $all = @(Get-RmmLabInstance -Class $class -Chosen @($class.Types.Keys))
            $all | Where-Object { [RmmLabFacts]::Of($_).Row -eq $facts.Row }
            return
        }
        $where = $null
        try {
            if ($Query) {
                $parsed = [RmmLabWql]::new($Query, $false)
                $ClassName, $Property, $where = $parsed.ClassName, $parsed.Properties, $parsed.Where
            }
            elseif ($Filter) { $where = [RmmLabWql]::new($Filter, $true).Where }
            $failure = Test-RmmLabCimClass -Space $space -Name $ClassName
            if ($failure) { $PSCmdlet.WriteError($failure); return }
            $class = [RmmLabTypes]::Class($space, $ClassName)
            $chosen = [System.Collections.Generic.List[string]]::new()
            foreach ($name in $Property) {
                if ($name -eq '*') { continue }
                if (-not $class.Types.Contains($name)) { throw "there is no property $name" }
                $chosen.Add((@($class.Types.Keys) -eq $name)[0])
            }
            [RmmLabWql]::Bind($where, $class.Types)
        }
        catch {
            $PSCmdlet.WriteError((New-RmmLabCimError -Code 0x80041017 -Message "Invalid query: $_" -Category InvalidArgument -Target $Query))
            return
        }
        if ($chosen.Count -eq 0) { $chosen.AddRange([string[]] @($class.Types.Keys)) }
        Get-RmmLabInstance -Class $class -Chosen $chosen -Where $where
    }
}
Set-Alias -Name Get-CimInstance -Value Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand

# Invoke-CimMethod: what the state's `methods` say.

# The first entry of `methods` that is about this method of this class, instance and these arguments.
function Find-RmmLabMethod {
    param([string] $Space, [string] $Class, [string] $Method, [object] $Instance, [System.Collections.IDictionary] $Arguments)
    $all = [RmmLab]::Member([RmmLab]::Root, 'methods')
    if ($null -eq $all) { return }
    foreach ($element in $all.EnumerateArray()) {
        $entry = [RmmLab]::Plain($element)
        if ([RmmLabTypes]::Space($entry['namespace']) -ne $Space -or $entry['class'] -ne $Class -or $entry['method'] -ne $Method) { continue }
        $fits = $true
        foreach ($wanted in @($entry['instance'])) {
            foreach ($name in @(if ($wanted) { $wanted.Keys })) { if ("$($Instance.$name)" -ne "$($wanted[$name])") { $fits = $false } }
        }
        foreach ($wanted in @($entry['arguments'])) {
            foreach ($name in @(if ($wanted) { $wanted.Keys })) { if ("$($Arguments[$name])" -ne "$($wanted[$name])") { $fits = $false } }
        }
        if ($fits) { return $entry }
    }
}

function Microsoft.Management.Infrastructure.CimCmdlets.InvokeCimMethodCommand {
    [CmdletBinding(DefaultParameterSetName = 'ClassName')]
    param(
        [Parameter(ParameterSetName = 'ClassName', Mandatory, Position = 0)] [string] $ClassName,
        [Parameter(ParameterSetName = 'Instance', Mandatory, Position = 0, ValueFromPipeline)] [Alias('CimInstance')] [object] $InputObject,
        [Parameter(ParameterSetName = 'ClassName')] [string] $Namespace = 'root/cimv2',
        [Parameter(Mandatory, Position = 2)] [Alias('Name')] [string] $MethodName,
        [Parameter(Position = 1)] [System.Collections.IDictionary] $Arguments = @{},
        [Alias('OT')] [uint32] $OperationTimeoutSec
    )
    process {
        $ErrorActionPreference = Get-RmmLabPreference -Cmdlet $PSCmdlet -Bound $PSBoundParameters
        $space = [RmmLabTypes]::Space($Namespace)
        if ($InputObject) {
            $facts = [RmmLabAdapter]::FactsOf($InputObject)
            $space, $ClassName = $facts.Space, $facts.Name
        }
        $entry = Find-RmmLabMethod -Space $space -Class $ClassName -Method $MethodName -Instance $InputObject -Arguments $Arguments
        $failure = Test-RmmLabCimClass -Space $space -Name $ClassName
        # A class of which the state has a method is there, with or without instances.
        if ($failure -and ($null -eq $entry -or $failure.CategoryInfo.Category -eq 'PermissionDenied')) { $PSCmdlet.WriteError($failure); return }
        if ($null -eq $entry) {
            $PSCmdlet.WriteError((New-RmmLabCimError -Code 0x8004102e -Message 'Invalid method ' -Category InvalidOperation -Target $MethodName))
            return
        }
        $result = [ordered] @{}
        foreach ($name in $entry['returns'].Keys) { $result[$name] = $entry['returns'][$name] }
        [pscustomobject] $result
    }
}
Set-Alias -Name Invoke-CimMethod -Value Microsoft.Management.Infrastructure.CimCmdlets.InvokeCimMethodCommand

# Serves the tests: one request per line of stdin, one answer per line of stdout, both JSON. A request has `state`
# and `jobs`, each with `script`, `arguments`, `mode` and `culture`; the answer has a result for each job.
$ErrorActionPreference = 'Stop'
$places = @{}
$functions = [System.IO.File]::ReadAllText("$PSScriptRoot/../../rmm/catalog/functions.ps1")

function Get-Place {
    param([string] $Mode)
    if (-not $places.ContainsKey($Mode)) {
        $runspace = [runspacefactory]::CreateRunspace([initialsessionstate]::CreateDefault())
        $runspace.ThreadOptions = 'UseCurrentThread'
        $runspace.Open()
        $place = [powershell]::Create($runspace)
        # The commands keep the language in which they were loaded, as Windows' own do.
        $null = $place.AddScript("
            Import-Module RmmLab.Windows
            `$ErrorActionPreference = 'Stop'; `$ProgressPreference = 'SilentlyContinue'; `$WarningPreference = 'SilentlyContinue'
            `$ExecutionContext.SessionState.LanguageMode = '$Mode'").Invoke()
        if ($place.HadErrors) { throw $place.Streams.Error[0] }
        # A function keeps the language mode in which it was defined.
        $place.Commands.Clear()
        $null = $place.AddScript($functions).Invoke()
        if ($place.HadErrors) { throw $place.Streams.Error[0] }
        $places[$Mode] = $place
    }
    $places[$Mode].Commands.Clear()
    $places[$Mode].Streams.ClearStreams()
    $places[$Mode]
}

function Get-Result {
    param($Place, [string] $Script, $Arguments)
    $result = @{ output = @(); error = $null; refusals = @() }
    try {
        $null = $Place.AddScript($Script, $true)
        foreach ($one in $Arguments.GetEnumerator()) { $null = $Place.AddParameter($one.Key, $one.Value) }
        $result.output = @($Place.Invoke() | ForEach-Object { "$_" })
    }
    catch {
        $record = $_.Exception.InnerException.ErrorRecord
        if ($null -eq $record) { $record = $_ }
        $result.error = @{
            id = "$($record.FullyQualifiedErrorId)"; line = [int] $record.InvocationInfo.ScriptLineNumber
            message = "$($record.Exception.Message)"; category = "$($record.CategoryInfo.Category)"
        }
    }
    $Place.Commands.Clear()
    $result.refusals = @($Place.AddCommand('Get-RmmLabRefusal').Invoke() | ForEach-Object { "$_" })
    $Place.Commands.Clear()
    $result
}

while ($null -ne ($line = [Console]::In.ReadLine())) {
    $request = [System.Text.Json.JsonDocument]::Parse($line).RootElement
    $state = $request.GetProperty('state').GetRawText()
    $prepared = @{}
    $results = foreach ($job in $request.GetProperty('jobs').EnumerateArray()) {
        $mode = $job.GetProperty('mode').GetString()
        [System.Threading.Thread]::CurrentThread.CurrentCulture = $job.GetProperty('culture').GetString()
        $place = Get-Place -Mode $mode
        if (-not $prepared[$mode]) {
            $null = $place.AddCommand('Import-RmmLabState').AddParameter('Json', $state).Invoke()
            $place.Commands.Clear()
            $prepared[$mode] = $true
        }
        $arguments = ConvertFrom-Json -InputObject $job.GetProperty('arguments').GetRawText() -AsHashtable
        Get-Result -Place $place -Script $job.GetProperty('script').GetString() -Arguments $arguments
    }
    [System.Threading.Thread]::CurrentThread.CurrentCulture = ''
    [Console]::Out.WriteLine((ConvertTo-Json -InputObject @($results) -Depth 6 -Compress))
}

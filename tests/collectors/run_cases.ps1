# Serves the tests: one request per line of stdin, one answer per line of stdout, both JSON. A request has `script`,
# `state`, `arguments` and `runs`, each of which is a language mode and a culture; the answer has a result for each run.
$ErrorActionPreference = 'Stop'
$places = @{}

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
    $script = $request.GetProperty('script').GetString()
    $state = $request.GetProperty('state').GetRawText()
    $arguments = ConvertFrom-Json -InputObject $request.GetProperty('arguments').GetRawText() -AsHashtable
    $results = foreach ($run in $request.GetProperty('runs').EnumerateArray()) {
        $place = Get-Place -Mode $run[0].GetString()
        [System.Threading.Thread]::CurrentThread.CurrentCulture = $run[1].GetString()
        $null = $place.AddCommand('Import-RmmLabState').AddParameter('Json', $state).Invoke()
        $place.Commands.Clear()
        Get-Result -Place $place -Script $script -Arguments $arguments
    }
    [System.Threading.Thread]::CurrentThread.CurrentCulture = ''
    [Console]::Out.WriteLine((ConvertTo-Json -InputObject @($results) -Depth 6 -Compress))
}

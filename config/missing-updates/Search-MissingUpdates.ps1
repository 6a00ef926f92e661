# Searches for missing updates and writes what it found to C:\ProgramData\rmm\missing-updates.json, which the collector
# missing_updates reads. Runs as SYSTEM, by the task that Register-MissingUpdates.ps1 makes: see docs/missing-updates.md.
# It searches. It downloads and installs nothing.
param(
    [string]$Path = "$env:ProgramData\rmm\missing-updates.json",
    # policy: as the machine is set, a WSUS server included; microsoft: Microsoft's own service, whatever policy says.
    [ValidateSet('policy', 'microsoft')]
    [string]$Server = 'policy'
)
$ErrorActionPreference = 'Stop'
$started = Get-Date
$result = @{ format = 1; server = $Server; failed = $false; error = 0; updates = $null }
try {
    $session = New-Object -ComObject Microsoft.Update.Session
    $session.ClientApplicationID = 'rmm missing updates'
    $searcher = $session.CreateUpdateSearcher()
    # 2: Windows Update; 0: the default of this machine
    if ($Server -eq 'microsoft') { $searcher.ServerSelection = 2 }
    $found = $searcher.Search('IsInstalled=0 and IsHidden=0')
    $result['updates'] = @(foreach ($update in $found.Updates) {
        $category = ''
        foreach ($item in $update.Categories) { if ($item.Type -eq 'UpdateClassification') { $category = "$($item.CategoryID)".ToLowerInvariant() } }
        $article = ''
        if ($update.KBArticleIDs.Count -gt 0) { $article = "$($update.KBArticleIDs.Item(0))" }
        $published = $null
        # A date of the COM object is in UTC and does not say so.
        if ($update.LastDeploymentChangeTime) { $published = $update.LastDeploymentChangeTime.ToString('s', [cultureinfo]::InvariantCulture) + 'Z' }
        @{
            id = "$($update.Identity.UpdateID)"
            article = $article
            title = "$($update.Title)"
            severity = "$($update.MsrcSeverity)"
            category = $category
            published = $published
            downloaded = [bool]$update.IsDownloaded
        }
    } )
    # 2 succeeded, 3 succeeded with errors, 4 failed, 5 aborted
    $result['failed'] = $found.ResultCode -notin 2, 3
} catch {
    $result['failed'] = $true
    $result['error'] = $_.Exception.GetBaseException().HResult
}
$result['scanned_at'] = (Get-Date).ToUniversalTime().ToString('s', [cultureinfo]::InvariantCulture) + 'Z'
$result['seconds'] = [math]::Round(((Get-Date) - $started).TotalSeconds, 1)
# Written beside it and moved over it: a reader sees the old file or the new one, never a part.
$text = ConvertTo-Json -InputObject $result -Compress -Depth 4
[System.IO.File]::WriteAllText("$Path.new", $text, (New-Object -TypeName System.Text.UTF8Encoding -ArgumentList $false))
Move-Item -LiteralPath "$Path.new" -Destination $Path -Force

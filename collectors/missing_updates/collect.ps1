# Reads what the task of docs/missing-updates.md wrote. The search itself is not possible in a remote session.
$most = 1048576
$folder = $env:ProgramData
if (-not $folder) { $folder = 'C:\ProgramData' }
$path = "$folder\rmm\missing-updates.json"
# Categories by their ids, which are the same in every language.
$categories = @{
    '0fa1201d-4330-4fa8-8ae9-b877473b6441' = 'Security'
    'e6cf1350-c01b-414d-a61f-263d14d133b4' = 'CriticalUpdates'
    '28bc880e-0592-4cbf-8f95-c79b17911d5f' = 'Rollups'
    'e0789628-ce08-4437-be74-2495b842f43b' = 'Definitions'
    'ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0' = 'Drivers'
    '3689bdc8-b205-4af4-8d4a-a63924c5e9d5' = 'Features'
    'b54e7d24-7add-428f-8b75-90a396fa584f' = 'Features'
}
function Get-Iso {
    param($Value)
    try {
        if ($Value) { return ([datetime]$Value).ToUniversalTime().ToString('o') }
    } catch { $null = $_ }
    $null
}
function Get-Count {
    param($Content)
    $counts = @{
        Missing = 0; Critical = 0; Important = 0; Moderate = 0; Low = 0; Unrated = 0; Downloaded = 0
        Security = 0; CriticalUpdates = 0; Rollups = 0; Definitions = 0; Drivers = 0; Features = 0; Other = 0
        Oldest = $null; OldestSecurity = $null; Articles = @()
    }
    foreach ($update in @($Content.updates | Select-Object -First 1000)) {
        $counts['Missing']++
        $severity = 'Unrated'
        if ("$($update.severity)" -in 'Critical', 'Important', 'Moderate', 'Low') { $severity = "$($update.severity)" }
        $counts[$severity]++
        $category = $categories["$($update.category)"]
        if (-not $category) { $category = 'Other' }
        $counts[$category]++
        if ($update.downloaded -eq $true) { $counts['Downloaded']++ }
        if ($category -eq 'Definitions') { continue }
        if ("$($update.article)" -match '^[0-9]{1,10}$' -and $counts['Articles'].Count -lt 100) { $counts['Articles'] += "KB$($update.article)" }
        $published = Get-Iso $update.published
        if (-not $published) { continue }
        if ($category -ne 'Drivers' -and (-not $counts['Oldest'] -or $published -lt $counts['Oldest'])) { $counts['Oldest'] = $published }
        if ($category -ne 'Security' -and $severity -notin 'Critical', 'Important') { continue }
        if (-not $counts['OldestSecurity'] -or $published -lt $counts['OldestSecurity']) { $counts['OldestSecurity'] = $published }
    }
    $counts
}
$notes = @()
$scan = @()
$status = 'absent'
try {
    if (Test-Path -LiteralPath $path -ErrorAction Stop) {
        $status = 'invalid'
        if ((Get-Item -LiteralPath $path -ErrorAction Stop).Length -gt $most) {
            $status = 'too large'
        } else {
            $content = ConvertFrom-Json -InputObject (Get-Content -LiteralPath $path -Raw -Encoding UTF8 -ErrorAction Stop) -ErrorAction Stop
            if ($content.format -eq 1 -and (Get-Iso $content.scanned_at)) {
                $found = @{}
                # A search that failed says nothing about what is missing.
                if ($null -ne $content.updates) { $found = Get-Count $content }
                $found['ScannedAt'] = Get-Iso $content.scanned_at
                $found['Failed'] = $content.failed -eq $true
                $found['Error'] = $content.error -as [long]
                $found['Seconds'] = $content.seconds -as [double]
                $found['Server'] = "$($content.server)"
                $scan = @($found)
                $status = 'ok'
            }
        }
    }
} catch {
    if ((Get-Reason $_) -eq 'access_denied') {
        $status = 'denied'
        $notes = @(@{ Source = 'scan'; Reason = 'access_denied' })
    }
}
if ($status -in 'invalid', 'too large') { $notes = @(@{ Source = 'scan'; Reason = 'unknown' }) }
ConvertTo-Json -InputObject @{ file = @(@{ Status = $status }); scan = $scan; notes = $notes } -Compress -Depth 4

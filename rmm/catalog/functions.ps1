# Functions that collectors' scripts may call: a bundle holds those that its scripts name. Only syntax and types that
# Constrained Language Mode allows; a function calls none that stands below it.

# Why a source could not be read, by numbers and identifiers, which no language changes.
function Get-Reason {
    param($Failure)
    $id = "$($Failure.FullyQualifiedErrorId)"
    # Asked first: some of what the language mode forbids has the category of a missing right.
    if ($id -match 'ConstrainedLanguage|^ConversionSupportedOnlyToCoreTypes') { return 'unsupported' }
    if ("$($Failure.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' -or $id -match '^HRESULT 0x80041003') { return 'access_denied' }
    # The event log tells it by an error within the error, SQL Server by its own numbers: no login, no permission, no access.
    for ($inner = $Failure.Exception; $inner; $inner = $inner.InnerException) {
        if ($inner.HResult -eq -2147024891 -or $inner.Number -in 229, 262, 297, 300, 371, 916, 4060, 18452, 18456) { return 'access_denied' }
    }
    # No such instance, namespace or class, or an operation that the provider lacks; no such log; no such command.
    if ($id -match '^(HRESULT 0x800410(02|0C|0E|10)|NoMatchingLogsFound|CommandNotFoundException|CouldNotAutoloadMatchingModule)') { return 'unsupported' }
    'unknown'
}

# Some classes give their dates as texts, in a form that the readings know; what is no date shall be seen there, too.
function ConvertTo-Utc {
    param($Value)
    if ($Value -is [datetime]) { return $Value.ToUniversalTime().ToString('o') }
    $Value
}

# That no event matches is no error.
function Get-Newest {
    param([string]$Log, [string]$XPath, [int]$Most = 1)
    try {
        Get-WinEvent -LogName $Log -FilterXPath $XPath -MaxEvents $Most -ErrorAction Stop
    } catch {
        if ("$($_.FullyQualifiedErrorId)" -notlike 'NoMatchingEventsFound*') { throw }
    }
}

function Read-Key {
    param([hashtable]$Document, [string]$Source, [string[]]$Keys, [string[]]$Names)
    $found = @{}
    try {
        foreach ($key in $Keys) {
            if (-not (Test-Path -LiteralPath $key)) { continue }
            foreach ($name in $Names) {
                if (-not $found.ContainsKey($name)) { $found[$name] = $null }
            }
            # A key without values gives nothing at all.
            $item = Get-ItemProperty -LiteralPath $key -ErrorAction Stop | Select-Object -Property $Names
            if ($null -eq $item) { continue }
            foreach ($entry in $item.PSObject.Properties) {
                if ($null -ne $entry.Value) { $found[$entry.Name] = $entry.Value }
            }
        }
    } catch {
        $Document.notes += @(@{ Source = $Source; Reason = (Get-Reason -Failure $_) })
        $found = @{}
    }
    $Document[$Source] = @(if ($found.Count -gt 0) { $found })
}

function Read-SqlRow {
    param($Connection, [string]$Text)
    $command = New-Object -TypeName System.Data.SqlClient.SqlCommand -ArgumentList $Text, $Connection
    $command.CommandTimeout = 10
    $reader = $command.ExecuteReader()
    try {
        while ($reader.Read()) {
            $row = @{}
            for ($place = 0; $place -lt $reader.FieldCount; $place++) {
                $value = $reader.GetValue($place)
                if ($value -is [System.DBNull]) { $value = $null }
                $row[$reader.GetName($place)] = $value
            }
            $row
        }
    } finally {
        $reader.Close()
    }
}

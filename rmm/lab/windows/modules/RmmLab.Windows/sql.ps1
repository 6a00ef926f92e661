# SQL Server's client: what the state's `sql` says of each server name that a connection may name.

# System.Data.SqlClient.SqlException
class RmmLabSqlException : System.Exception {
    [int] $Number
    RmmLabSqlException([int] $number) : base("SQL Server refused it ($number).") { $this.Number = $number }
}

class RmmLabSqlConnection {
    [string] $Server
    [bool] $Opened = $false
    hidden [System.Collections.IDictionary] $Answers
    RmmLabSqlConnection([string] $text) {
        if ($text -match 'Password|User Id') { [RmmLab]::Refuse('a password in the text of a connection') }
        $this.Server = [regex]::Match($text, '(?i)(?:^|;)\s*Server\s*=\s*([^;]*)').Groups[1].Value
    }
    [void] Open() {
        $all = [RmmLab]::Member([RmmLab]::Root, 'sql')
        $found = if ($null -ne $all) { [RmmLab]::Member($all, $this.Server) }
        if ($null -eq $found) { throw [RmmLabSqlException]::new(-1) }
        $this.Answers = [RmmLab]::Plain($found)
        if ($this.Answers.Contains('error')) { throw [RmmLabSqlException]::new($this.Answers['error']) }
        $this.Opened = $true
    }
    [void] Close() { $this.Opened = $false }
    [void] Dispose() { $this.Opened = $false }
}

# A query is known by the comment at its beginning; what answers it is a list of rows, or a number: SQL Server's error.
class RmmLabSqlCommand {
    [string] $CommandText
    [int] $CommandTimeout = 30
    [RmmLabSqlConnection] $Connection
    RmmLabSqlCommand([string] $text, [RmmLabSqlConnection] $connection) { $this.CommandText = $text; $this.Connection = $connection }
    [object] ExecuteReader() {
        if (-not $this.Connection.Opened) { throw [System.InvalidOperationException]::new('ExecuteReader requires an open and available Connection.') }
        if ($this.CommandText -match '(?i)\b(INSERT|UPDATE|DELETE|MERGE|DROP|ALTER|CREATE|EXEC|BACKUP|RESTORE)\b(?!_)') { [RmmLab]::Refuse("this query does more than read: $($this.CommandText)") }
        $name = [regex]::Match($this.CommandText, '^/\* (\w+) \*/').Groups[1].Value
        $answer = $this.Connection.Answers[$name]
        if ($answer -is [ValueType]) { throw [RmmLabSqlException]::new([int] $answer) }
        return [RmmLabSqlReader]::new(@($answer))
    }
}

class RmmLabSqlReader {
    hidden [object[]] $Rows
    hidden [int] $At = -1
    [int] $FieldCount
    RmmLabSqlReader([object[]] $rows) { $this.Rows = @($rows | Where-Object { $_ }) }
    [bool] Read() {
        $this.At++
        if ($this.At -ge $this.Rows.Count) { return $false }
        $this.FieldCount = $this.Rows[$this.At].Count
        return $true
    }
    [string] GetName([int] $place) { return @($this.Rows[$this.At].Keys)[$place] }
    [object] GetValue([int] $place) {
        $value = @($this.Rows[$this.At].Values)[$place]
        if ($null -eq $value) { return [System.DBNull]::Value }
        return $value
    }
    [void] Close() { $this.At = $this.Rows.Count }
}

$script:RmmLabSqlTypes = @{ 'System.Data.SqlClient.SqlConnection' = [RmmLabSqlConnection]; 'System.Data.SqlClient.SqlCommand' = [RmmLabSqlCommand] }

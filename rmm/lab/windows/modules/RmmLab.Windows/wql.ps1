# The part of WQL that monitoring needs: SELECT * | names FROM class [WHERE condition], as rmm/lab/wql.py has it.

class RmmLabWql {
    [System.Collections.Generic.List[object]] $Tokens
    [int] $At = 0
    [int] $Depth = 0
    [string[]] $Properties = @()
    [string] $ClassName
    [object] $Where
    static [regex] $Lexeme = [regex]::new('\G\s*(?:(?<word>[A-Za-z_][A-Za-z0-9_]*)|(?<number>[+-]?\d+(?:\.\d+)?)|(?<text>''(?:\\.|[^''\\])*''|"(?:\\.|[^"\\])*")|(?<mark><>|!=|<=|>=|[=<>(),*]))')
    static [string[]] $Keywords = @('select', 'from', 'where', 'and', 'or', 'not', 'like', 'is', 'null', 'true', 'false')

    # A whole query, or with -Condition the part after WHERE. Throws a text for what it cannot read.
    RmmLabWql([string] $text, [bool] $condition) {
        $this.Tokens = [RmmLabWql]::Cut($text)
        if ($condition) { $this.Where = $this.Either() }
        else { $this.Query() }
        if ($this.At -lt $this.Tokens.Count) { throw "unexpected $($this.Tokens[$this.At].Text)" }
    }

    static [System.Collections.Generic.List[object]] Cut([string] $text) {
        $list = [System.Collections.Generic.List[object]]::new()
        $text = $text.TrimEnd()
        $position = 0
        while ($position -lt $text.Length) {
            $match = [RmmLabWql]::Lexeme.Match($text, $position)
            if (-not $match.Success) { throw "at character $($position + 1)" }
            foreach ($kind in 'word', 'number', 'text', 'mark') {
                $group = $match.Groups[$kind]
                if (-not $group.Success) { continue }
                $folded = $group.Value.ToLowerInvariant()
                if ($kind -eq 'word' -and $folded -in [RmmLabWql]::Keywords) { $list.Add(@{ Kind = 'keyword'; Text = $folded }) }
                else { $list.Add(@{ Kind = $kind; Text = $group.Value }) }
            }
            $position = $match.Index + $match.Length
        }
        return $list
    }

    [bool] Accept([string] $kind, [string] $text) {
        if ($this.At -ge $this.Tokens.Count) { return $false }
        $token = $this.Tokens[$this.At]
        if ($token.Kind -ne $kind -or $token.Text -ne $text) { return $false }
        $this.At++
        return $true
    }

    [string] Expect([string] $kind, [string] $text) {
        $token = if ($this.At -lt $this.Tokens.Count) { $this.Tokens[$this.At] } else { @{ Kind = 'end'; Text = 'the end' } }
        if ($token.Kind -ne $kind -or ($text -and $token.Text -ne $text)) { throw "expected $kind $text, found $($token.Text)" }
        $this.At++
        return $token.Text
    }

    [void] Query() {
        $null = $this.Expect('keyword', 'select')
        if (-not $this.Accept('mark', '*')) {
            $this.Properties += $this.Expect('word', '')
            while ($this.Accept('mark', ',')) { $this.Properties += $this.Expect('word', '') }
        }
        $null = $this.Expect('keyword', 'from')
        $this.ClassName = $this.Expect('word', '')
        if ($this.Accept('keyword', 'where')) { $this.Where = $this.Either() }
    }

    [object] Either() {
        $parts = @($this.Both())
        while ($this.Accept('keyword', 'or')) { $parts += $this.Both() }
        if ($parts.Count -eq 1) { return $parts[0] }
        return @{ Kind = 'or'; Parts = $parts }
    }

    [object] Both() {
        $parts = @($this.Negation())
        while ($this.Accept('keyword', 'and')) { $parts += $this.Negation() }
        if ($parts.Count -eq 1) { return $parts[0] }
        return @{ Kind = 'and'; Parts = $parts }
    }

    [object] Negation() {
        if (++$this.Depth -gt 32) { throw 'nested too deeply' }
        try {
            if ($this.Accept('keyword', 'not')) { return @{ Kind = 'not'; Parts = @($this.Negation()) } }
            if ($this.Accept('mark', '(')) {
                $inner = $this.Either()
                $null = $this.Expect('mark', ')')
                return $inner
            }
            return $this.Comparison()
        }
        finally { $this.Depth-- }
    }

    [object] Comparison() {
        $name = $this.Expect('word', '')
        if ($this.Accept('keyword', 'is')) {
            $negated = $this.Accept('keyword', 'not')
            $null = $this.Expect('keyword', 'null')
            $test = @{ Kind = 'test'; Name = $name; Operator = if ($negated) { '<>' } else { '=' }; Value = $null }
            return $test
        }
        $negated = $this.Accept('keyword', 'not')
        if ($negated -or ($this.At -lt $this.Tokens.Count -and $this.Tokens[$this.At].Text -eq 'like')) {
            $null = $this.Expect('keyword', 'like')
            $test = @{ Kind = 'test'; Name = $name; Operator = 'like'; Value = $this.Literal() }
            if ($test.Value -isnot [string]) { throw 'LIKE needs a string' }
            if ($negated) { return @{ Kind = 'not'; Parts = @($test) } }
            return $test
        }
        $operator = $this.Expect('mark', '')
        if ($operator -notin '=', '<>', '!=', '<', '>', '<=', '>=') { throw "$operator is no comparison" }
        if ($operator -eq '!=') { $operator = '<>' }
        return @{ Kind = 'test'; Name = $name; Operator = $operator; Value = $this.Literal() }
    }

    [object] Literal() {
        if ($this.At -ge $this.Tokens.Count) { throw 'expected a value, found the end' }
        $token = $this.Tokens[$this.At++]
        if ($token.Kind -eq 'text') { return [regex]::Replace($token.Text.Substring(1, $token.Text.Length - 2), '\\(.)', '$1') }
        if ($token.Kind -eq 'number') { return [decimal]::Parse($token.Text, [cultureinfo]::InvariantCulture) }
        switch ($token.Text) {
            'true' { return $true }
            'false' { return $false }
            'null' { return $null }
        }
        throw "expected a value, found $($token.Text)"
    }

    # Resolves names and values against a class: throws a text for a property it lacks and a value of another kind.
    static [void] Bind([object] $node, [System.Collections.Specialized.OrderedDictionary] $types) {
        if ($null -eq $node) { return }
        if ($node.Kind -ne 'test') {
            foreach ($part in $node.Parts) { [RmmLabWql]::Bind($part, $types) }
            return
        }
        if (-not $types.Contains($node.Name)) { throw "there is no property $($node.Name)" }
        $type = $types[$node.Name]
        if ($null -eq $node.Value) {
            if ($node.Operator -notin '=', '<>') { throw 'NULL has no order' }
            return
        }
        if ($type.EndsWith('[]')) { throw "$($node.Name) is an array" }
        if ($node.Operator -eq 'like') {
            if ($type -ne 'string') { throw "$($node.Name) is not a string" }
            $node.Pattern = [RmmLabWql]::Like($node.Value)
            return
        }
        $node.Value = [RmmLabWql]::Coerce($node.Value, $type)
    }

    static [object] Coerce([object] $value, [string] $type) {
        $text = [string]::Format([cultureinfo]::InvariantCulture, '{0}', $value)
        if ($type -eq 'string') { return $text }
        if ($type -eq 'reference') { return [RmmLabReference]::Plain($text) }
        if ($type -eq 'boolean') {
            if ($text -in 'true', '1', '-1') { return $true }
            if ($text -in 'false', '0') { return $false }
            throw "$text is no boolean"
        }
        if ($type -eq 'datetime') { return [RmmLabWql]::Time($text) }
        if ($value -is [bool]) { return [decimal] [int] $value }
        return [decimal]::Parse($text, [cultureinfo]::InvariantCulture)
    }

    # yyyymmddHHMMSS.ffffff+UUU, minutes from UTC
    static [datetime] Time([string] $text) {
        if ($text -notmatch '^(\d{14}\.\d{6})([+-]\d{3})$') { throw "$text is no time" }
        $plain = [datetime]::ParseExact($Matches[1], 'yyyyMMddHHmmss.ffffff', [cultureinfo]::InvariantCulture)
        return [datetimeoffset]::new($plain, [timespan]::FromMinutes([int] $Matches[2])).LocalDateTime
    }

    static [regex] Like([string] $pattern) {
        $text = [regex]::Replace($pattern, '\[(\^?)([^\]]+)\]|.', {
            param($match)
            $one = $match.Value
            if ($one -eq '%') { '.*' }
            elseif ($one -eq '_') { '.' }
            elseif ($one.Length -gt 1) { '[' + $match.Groups[1].Value + $match.Groups[2].Value.Replace('\', '\\').Replace('[', '\[') + ']' }
            else { [regex]::Escape($one) }
        }, 'Singleline')
        return [regex]::new("^(?:$text)\z", 'IgnoreCase, Singleline, CultureInvariant')
    }

    # Whether an instance (property -> value) satisfies a bound condition.
    static [bool] Holds([object] $node, [System.Collections.IDictionary] $values) {
        switch ($node.Kind) {
            'and' { foreach ($part in $node.Parts) { if (-not [RmmLabWql]::Holds($part, $values)) { return $false } } return $true }
            'or' { foreach ($part in $node.Parts) { if ([RmmLabWql]::Holds($part, $values)) { return $true } } return $false }
            'not' { return -not [RmmLabWql]::Holds($node.Parts[0], $values) }
        }
        $have = $values[$node.Name]
        if ($null -eq $node.Value) { return ($null -eq $have) -eq ($node.Operator -eq '=') }
        if ($null -eq $have) { return $false }
        if ($node.Operator -eq 'like') { return $node.Pattern.IsMatch($have) }
        $order = [RmmLabWql]::Compare($have, $node.Value)
        switch ($node.Operator) {
            '=' { return $order -eq 0 }
            '<>' { return $order -ne 0 }
            '<' { return $order -lt 0 }
            '>' { return $order -gt 0 }
            '<=' { return $order -le 0 }
        }
        return $order -ge 0
    }

    static [int] Compare([object] $have, [object] $value) {
        if ($have -is [RmmLabCim]) { $have = [RmmLabFacts]::Of($have).Text }
        if ($value -is [string]) { return [string]::Compare([string] $have, $value, 'OrdinalIgnoreCase') }
        if ($value -is [decimal]) { return ([decimal] $have).CompareTo($value) }
        return $have.CompareTo($value)
    }
}

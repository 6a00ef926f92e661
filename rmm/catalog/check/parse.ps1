# Parses scripts by PowerShell's own parser and says what is in them, one JSON line per script, in their order.
# Input: one line of standard input per script, its text in base64 (UTF-8).
Set-StrictMode -Version 3
$ErrorActionPreference = 'Stop'
$language = 'System.Management.Automation.Language'

function Get-Place($Extent) { return @($Extent.StartLineNumber, $Extent.StartColumnNumber) }

# What Windows PowerShell 5.1 cannot parse although this one does.
function Get-NewerSyntax($Ast) {
    switch ($Ast.GetType().Name) {
        'TernaryExpressionAst' { return 'the ternary operator' }
        'PipelineChainAst' { return "the operator $(if ("$($Ast.Operator)" -eq 'AndAnd') { '&&' } else { '||' })" }
        'BinaryExpressionAst' { if ("$($Ast.Operator)" -eq 'QuestionQuestion') { return 'the operator ??' } }
        'AssignmentStatementAst' { if ("$($Ast.Operator)" -eq 'QuestionQuestionEquals') { return 'the operator ??=' } }
        'PipelineAst' { if ($Ast.Background) { return 'background jobs by &' } }
        'ScriptBlockAst' { if ($null -ne $Ast.CleanBlock) { return 'the block clean' } }
        { $_ -in 'MemberExpressionAst', 'InvokeMemberExpressionAst', 'IndexExpressionAst' } {
            if ($Ast.NullConditional) { return 'the operators ?. and ?[]' }
        }
    }
}

function Get-TypeText($TypeName) {
    if ($TypeName.IsArray) { return Get-TypeText $TypeName.ElementType }
    if ($TypeName.IsGeneric) { return "$(Get-TypeText $TypeName.TypeName)``$($TypeName.GenericArguments.Count)" }
    return $TypeName.FullName
}

function Get-Command51($Ast) {
    $given = foreach ($element in $Ast.CommandElements) {
        if ($element -is [System.Management.Automation.Language.CommandParameterAst]) {
            @{ name = $element.ParameterName; at = Get-Place $element.Extent }
        }
    }
    $files = foreach ($one in $Ast.Redirections) {
        if ($one -is [System.Management.Automation.Language.FileRedirectionAst] -and $one.Location.Extent.Text -ne '$null') {
            @{ at = Get-Place $one.Location.Extent }
        }
    }
    return @{
        name = $Ast.GetCommandName(); operator = "$($Ast.InvocationOperator)"; parameters = @($given); files = @($files)
        at = Get-Place $Ast.Extent
    }
}

function Get-Member51($Ast) {
    $name = $Ast.Member -as [System.Management.Automation.Language.StringConstantExpressionAst]
    $type = $Ast.Expression -as [System.Management.Automation.Language.TypeExpressionAst]
    $count = $null
    if ($Ast -is [System.Management.Automation.Language.InvokeMemberExpressionAst]) {
        $count = if ($null -eq $Ast.Arguments) { 0 } else { $Ast.Arguments.Count }
    }
    return @{
        name = if ($null -ne $name) { $name.Value }; type = if ($null -ne $type) { Get-TypeText $type.TypeName }
        static = $Ast.Static; arguments = $count; at = Get-Place $Ast.Member.Extent
    }
}

while ($null -ne ($line = [Console]::In.ReadLine())) {
    $text = [System.Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($line))
    $errors = $null
    $root = [System.Management.Automation.Language.Parser]::ParseInput($text, [ref]$null, [ref]$errors)
    $found = @{ errors = @(); newer = @(); commands = @(); members = @(); types = @(); functions = @() }
    $found.errors = @(foreach ($one in $errors) { @{ id = $one.ErrorId; message = $one.Message; at = Get-Place $one.Extent } })
    foreach ($ast in $root.FindAll({ $true }, $true)) {
        $newer = Get-NewerSyntax $ast
        if ($newer) { $found.newer += @{ what = $newer; at = Get-Place $ast.Extent } }
        switch ($ast.GetType().Name) {
            'CommandAst' { $found.commands += Get-Command51 $ast }
            'FunctionDefinitionAst' { $found.functions += @{ name = $ast.Name; at = Get-Place $ast.Extent } }
            { $_ -in 'MemberExpressionAst', 'InvokeMemberExpressionAst' } { $found.members += Get-Member51 $ast }
            { $_ -in 'TypeExpressionAst', 'TypeConstraintAst', 'ConvertExpressionAst' } {
                if ($_ -ne 'ConvertExpressionAst') { $found.types += @{ name = Get-TypeText $ast.TypeName; at = Get-Place $ast.Extent } }
            }
        }
    }
    ConvertTo-Json -InputObject $found -Compress -Depth 6
}

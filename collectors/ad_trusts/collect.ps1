$trust = Get-CimInstance -Namespace root/MicrosoftActiveDirectory -Query 'SELECT TrustedDomain, TrustDirection, TrustType, TrustAttributes, TrustedDCName, TrustIsOk, TrustStatus FROM Microsoft_DomainTrustStatus'
$document = @{
    trust = @($trust | Select-Object -Property TrustedDomain, TrustDirection, TrustType, TrustAttributes, TrustedDCName, TrustIsOk, TrustStatus)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

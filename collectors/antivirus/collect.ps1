$notes = @()
$product = @()
try {
    $product = @(Get-CimInstance -Namespace root/securitycenter2 -Query 'SELECT instanceGuid, displayName, productState FROM AntiVirusProduct' -ErrorAction Stop)
} catch { $notes += @(@{ Source = 'product'; Reason = (Get-Reason -Failure $_) }) }
$service = Get-CimInstance -Query "SELECT Name, State, StartMode FROM Win32_Service WHERE Name = 'WinDefend' OR Name = 'SAVService' OR Name = 'Sophos Endpoint Defense Service' OR Name = 'Sophos File Scanner Service' OR Name = 'ekrn' OR Name LIKE 'AVP%' OR Name = 'KAVFS' OR Name = 'SepMasterService' OR Name = 'McShield' OR Name = 'mfetp' OR Name = 'ntrtscan' OR Name = 'TMBMServer' OR Name = 'ds_agent' OR Name = 'Amsp' OR Name = 'EPSecurityService' OR Name = 'VSSERV' OR Name = 'CSFalconService' OR Name = 'SentinelAgent' OR Name = 'CylanceSvc' OR Name = 'CbDefense' OR Name = 'cyserver' OR Name = 'fshoster' OR Name = 'avast! Antivirus' OR Name = 'AVG Antivirus' OR Name = 'AntiVirService' OR Name = 'AVKWCtl' OR Name = 'MBAMService' OR Name = 'WRSVC' OR Name = 'PSUAService' OR Name = 'xagt' OR Name = 'ElasticEndpoint' OR Name LIKE 'CiscoAMP%' OR Name = 'SBAMSvc'"
$os = Get-CimInstance -Query 'SELECT ProductType FROM Win32_OperatingSystem'
$document = @{
    product = @($product | Select-Object -Property instanceGuid, displayName, productState)
    service = @($service | Select-Object -Property Name, State, StartMode)
    os = @($os | Select-Object -Property ProductType)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4

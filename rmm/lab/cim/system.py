"""Operating system, computer system, time, hotfixes and page file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rmm.lab.cim.moment import Moment, Provider, Row, when
from rmm.lab.state import GIB

_WINDOWS = "C:\\Windows"


def processes(moment: Moment) -> tuple[int, int]:
    """How many processes and threads run: about as many as the machine is busy."""
    machine = moment.machine
    base = 95 if machine.os.kind == "server" else 190
    wave = machine.cpu_curve(0).rate(moment.t) / machine.load
    count = int(base + 60 * machine.load + 6 * wave + machine.index % 17)
    return count, int(count * (11.5 + 2 * wave))


def operating_system(moment: Moment) -> list[Row]:
    machine = moment.machine
    total = machine.hardware.memory // 1024
    used = machine.memory_used(moment.t)
    free = int(total * (1 - used))
    swap = machine.pagefile // 1024
    language = machine.language
    return [{
        "BootDevice": "\\Device\\HarddiskVolume1", "BuildNumber": str(machine.os.build),
        "BuildType": "Multiprocessor Free", "CSName": machine.name, "Caption": machine.os.caption,
        "CSCreationClassName": "Win32_ComputerSystem", "CreationClassName": "Win32_OperatingSystem",
        "CodeSet": language.code_set, "CountryCode": language.country, "CurrentTimeZone": machine.zone.bias,
        "DataExecutionPrevention_32BitApplications": True, "DataExecutionPrevention_Available": True,
        "DataExecutionPrevention_Drivers": True, "Debug": False, "Description": "", "Distributed": False,
        "DataExecutionPrevention_SupportPolicy": 3 if machine.os.kind == "server" else 2, "EncryptionLevel": 256,
        "ForegroundApplicationBoost": 2, "FreePhysicalMemory": free,
        "FreeSpaceInPagingFiles": int(swap * (1 - used / 4)), "FreeVirtualMemory": free + int(swap * (1 - used / 4)),
        "InstallDate": when(machine.install), "LastBootUpTime": when(machine.boot + machine.skew),
        "LocalDateTime": datetime.fromtimestamp(moment.clock, UTC), "Locale": language.locale,
        "MUILanguages": [language.mui], "Manufacturer": "Microsoft Corporation",
        "MaxNumberOfProcesses": 4294967295, "MaxProcessMemorySize": 137438953344,
        "Name": f"{machine.os.caption}|{_WINDOWS}|\\Device\\Harddisk0\\Partition3", "NumberOfLicensedUsers": 0,
        "NumberOfProcesses": processes(moment)[0], "NumberOfUsers": 2 + machine.index % 3,
        "OSArchitecture": language.architecture,
        "OSLanguage": language.language, "OSProductSuite": 272 if machine.os.kind == "server" else 256, "OSType": 18,
        "OperatingSystemSKU": machine.os.sku, "Organization": "Lab", "PortableOperatingSystem": False, "Primary": True,
        "ProductType": 1 if machine.os.kind == "client" else 2 if machine.role == "dc" else 3,
        "RegisteredUser": "Windows User", "SerialNumber": f"00454-40000-{machine.index % 100000:05d}-AA418",
        "ServicePackMajorVersion": 0, "ServicePackMinorVersion": 0, "SizeStoredInPagingFiles": swap, "Status": "OK",
        "SuiteMask": 272, "SystemDevice": "\\Device\\HarddiskVolume3", "SystemDirectory": f"{_WINDOWS}\\system32",
        "SystemDrive": "C:", "TotalVirtualMemorySize": total + swap, "TotalVisibleMemorySize": total,
        "Version": machine.os.version, "WindowsDirectory": _WINDOWS,
    }]  # fmt: skip


def computer_system(moment: Moment) -> list[Row]:
    machine = moment.machine
    hardware = machine.hardware
    server = machine.os.kind == "server"
    return [{
        "AdminPasswordStatus": 3, "AutomaticManagedPagefile": True, "AutomaticResetBootOption": True,
        "AutomaticResetCapability": True, "BootROMSupported": True, "BootupState": "Normal boot",
        "Caption": machine.name, "ChassisBootupState": 3, "CreationClassName": "Win32_ComputerSystem",
        "CurrentTimeZone": machine.zone.bias, "DNSHostName": machine.name.lower(), "DaylightInEffect": False,
        "Description": "AT/AT COMPATIBLE", "Domain": machine.domain, "DomainRole": _domain_role(moment),
        "EnableDaylightSavingsTime": True, "HypervisorPresent": bool(hardware.model.vm) or machine.role == "hv",
        "InfraredSupported": False, "KeyboardPasswordStatus": 3, "Manufacturer": hardware.model.maker,
        "Model": hardware.model.model, "Name": machine.name, "NetworkServerModeEnabled": True,
        "NumberOfLogicalProcessors": hardware.logical, "NumberOfProcessors": hardware.sockets,
        "OEMStringArray": ["[MS_VM_CERT/SHA1/lab]"] if hardware.model.vm else [hardware.model.maker],
        "PCSystemType": 4 if server else 2 if hardware.model.chassis == 10 else 1,
        "PCSystemTypeEx": 4 if server else 2 if hardware.model.chassis == 10 else 1,
        "PartOfDomain": machine.part_of_domain,
        "PauseAfterReset": -1, "PowerOnPasswordStatus": 3, "PowerState": 0, "PowerSupplyState": 3,
        "PrimaryOwnerName": "Windows User", "ResetCapability": 1, "ResetCount": -1, "ResetLimit": -1,
        "Roles": ["LM_Workstation", "LM_Server", "NT", *(["Server_NT"] if server else [])], "Status": "OK",
        "SystemType": "x64-based PC", "ThermalState": 3, "TotalPhysicalMemory": hardware.memory - 393_216,
        "UserName": None if server else f"{machine.domain.split('.')[0].upper()}\\user{machine.index % 997}",
        "WakeUpType": 6, "Workgroup": None if machine.part_of_domain else machine.domain,
    }]  # fmt: skip


def _domain_role(moment: Moment) -> int:
    machine = moment.machine
    if machine.role == "dc":
        return 4
    return (2 if machine.os.kind == "server" else 0) + int(machine.part_of_domain)


def computer_system_product(moment: Moment) -> list[Row]:
    machine = moment.machine
    return [{
        "Caption": "Computer System Product", "Description": "Computer System Product",
        "IdentifyingNumber": machine.serial, "Name": machine.hardware.model.model, "UUID": machine.uuid,
        "Vendor": machine.hardware.model.maker, "Version": "None",
    }]  # fmt: skip


def _clock(at: datetime) -> list[Row]:
    return [{
        "Day": at.day, "DayOfWeek": (at.weekday() + 1) % 7, "Hour": at.hour, "Minute": at.minute, "Month": at.month,
        "Quarter": (at.month - 1) // 3 + 1, "Second": at.second, "WeekInMonth": (at.day - 1) // 7 + 1, "Year": at.year,
    }]  # fmt: skip


def utc_time(moment: Moment) -> list[Row]:
    """The machine's clock in UTC; Windows leaves Milliseconds null."""
    return _clock(datetime.fromtimestamp(moment.clock, UTC))


def local_time(moment: Moment) -> list[Row]:
    return _clock(datetime.fromtimestamp(moment.clock, UTC) + timedelta(minutes=moment.machine.zone.bias))


def time_zone(moment: Moment) -> list[Row]:
    zone = moment.machine.zone
    return [{
        "Bias": zone.bias, "Caption": zone.caption, "DaylightBias": -60, "DaylightDay": 5, "DaylightDayOfWeek": 0,
        "DaylightHour": 2, "DaylightMillisecond": 0, "DaylightMinute": 0, "DaylightMonth": 3,
        "DaylightName": zone.daylight, "DaylightSecond": 0, "DaylightYear": 0, "Description": zone.caption,
        "StandardBias": 0, "StandardDay": 5, "StandardDayOfWeek": 0, "StandardHour": 3, "StandardMillisecond": 0,
        "StandardMinute": 0, "StandardMonth": 10, "StandardName": zone.standard, "StandardSecond": 0, "StandardYear": 0,
    }]  # fmt: skip


def hotfixes(moment: Moment) -> list[Row]:
    machine = moment.machine
    return [
        {
            "CSName": machine.name,
            "Caption": f"http://support.microsoft.com/?kbid={name.removeprefix('KB')}",
            "Description": "Security Update" if name < "KB5045" else "Update",
            "FixComments": "",
            "HotFixID": name,
            "InstalledBy": "NT AUTHORITY\\SYSTEM",
            # As Windows writes it: month/day/year without leading zeros, whatever the system's language.
            "InstalledOn": f"{int(date[5:7])}/{int(date[8:])}/{date[:4]}",
            "ServicePackInEffect": "",
        }
        for name, date in machine.os.hotfixes.items()
    ]


def page_file(moment: Moment) -> list[Row]:
    """None where the machine has no page file."""
    machine = moment.machine
    if not machine.pagefile:
        return []
    allocated = machine.pagefile >> 20
    used = machine.memory_used(moment.t)
    return [{
        "AllocatedBaseSize": allocated, "Caption": "C:\\pagefile.sys", "CurrentUsage": int(allocated * used * used / 4),
        "Description": "C:\\pagefile.sys", "InstallDate": when(machine.install), "Name": "C:\\pagefile.sys",
        "PeakUsage": int(allocated * 0.3), "TempPageFile": False,
    }]  # fmt: skip


def memory_array(moment: Moment) -> list[Row]:
    memory = moment.machine.hardware.memory
    return [{
        "Caption": "Physical Memory Array", "CreationClassName": "Win32_PhysicalMemoryArray",
        "Description": "Physical Memory Array", "Location": 3, "MaxCapacity": memory * 4 // 1024 & 0xFFFFFFFF,
        "MaxCapacityEx": memory * 4 // 1024, "MemoryDevices": max(1, memory // (16 * GIB)) * 2,
        "MemoryErrorCorrection": 6, "Name": "Physical Memory Array", "Tag": "Physical Memory Array 0", "Use": 3,
    }]  # fmt: skip


PROVIDERS: dict[str, Provider] = {
    "Win32_OperatingSystem": operating_system,
    "Win32_ComputerSystem": computer_system,
    "Win32_ComputerSystemProduct": computer_system_product,
    "Win32_UTCTime": utc_time,
    "Win32_LocalTime": local_time,
    "Win32_TimeZone": time_zone,
    "Win32_QuickFixEngineering": hotfixes,
    "Win32_PageFileUsage": page_file,
    "Win32_PhysicalMemoryArray": memory_array,
}

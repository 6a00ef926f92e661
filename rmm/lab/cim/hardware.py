"""Firmware, board, processors, memory modules, disks, chassis, adapters."""

from __future__ import annotations

from datetime import UTC, datetime

from rmm.lab.cim.moment import Moment, Provider, Row
from rmm.lab.dice import Dice
from rmm.lab.state import GIB, MachineState


def bios(moment: Moment) -> list[Row]:
    machine = moment.machine
    model = machine.hardware.model
    return [{
        "BIOSVersion": [f"{model.maker.split()[0].upper()} - 1", model.bios], "Caption": model.bios,
        "CurrentLanguage": "en|US|iso8859-1", "Description": model.bios, "InstallableLanguages": 1,
        "ListOfLanguages": ["en|US|iso8859-1"], "Manufacturer": model.maker, "Name": model.bios, "PrimaryBIOS": True,
        "ReleaseDate": datetime.fromisoformat(model.bios_date).replace(tzinfo=UTC), "SMBIOSBIOSVersion": model.bios,
        "SMBIOSMajorVersion": 3, "SMBIOSMinorVersion": 2, "SMBIOSPresent": True, "SerialNumber": machine.serial,
        "SoftwareElementID": model.bios, "SoftwareElementState": 3, "Status": "OK", "SystemBiosMajorVersion": 1,
        "SystemBiosMinorVersion": 13, "TargetOperatingSystem": 0, "Version": f"{model.maker.split()[0].upper()} - 1",
    }]  # fmt: skip


def base_board(moment: Moment) -> list[Row]:
    machine = moment.machine
    model = machine.hardware.model
    return [{
        "Caption": "Base Board", "CreationClassName": "Win32_BaseBoard", "Description": "Base Board",
        "HostingBoard": True, "HotSwappable": False, "Manufacturer": model.maker, "Name": "Base Board",
        "PoweredOn": True, "Product": model.board, "Removable": False, "Replaceable": True,
        "RequiresDaughterBoard": False, "SerialNumber": f"/{machine.serial[:16]}/CNWS300/", "Status": "OK",
        "Tag": "Base Board", "Version": "A01",
    }]  # fmt: skip


def enclosure(moment: Moment) -> list[Row]:
    machine = moment.machine
    model = machine.hardware.model
    return [{
        "Caption": "System Enclosure", "ChassisTypes": [model.chassis], "CreationClassName": "Win32_SystemEnclosure",
        "Description": "System Enclosure", "LockPresent": False, "Manufacturer": model.maker,
        "Name": "System Enclosure", "SMBIOSAssetTag": f"LAB{machine.index:06d}", "SecurityStatus": 3,
        "SerialNumber": machine.serial, "Tag": "System Enclosure 0", "Version": "None",
    }]  # fmt: skip


def processors(moment: Moment) -> list[Row]:
    machine = moment.machine
    name, cores, threads, mhz = machine.hardware.cpu
    load = machine.cpu_curve(0).rate(moment.t)
    amd = name.startswith("AMD")
    return [
        {
            "AddressWidth": 64, "Architecture": 9, "Availability": 3, "CpuStatus": 1,
            "Caption": f"{'AMD64' if amd else 'Intel64'} Family 6 Model 106 Stepping 6",
            "CreationClassName": "Win32_Processor", "CurrentClockSpeed": mhz, "DataWidth": 64,
            "Description": f"{'AMD64' if amd else 'Intel64'} Family 6 Model 106 Stepping 6", "DeviceID": f"CPU{socket}",
            "ExtClock": 100, "Family": 179, "L2CacheSize": 1024 * cores, "L3CacheSize": 24_576, "Level": 6,
            "LoadPercentage": int(load * 100), "Manufacturer": "AuthenticAMD" if amd else "GenuineIntel",
            "MaxClockSpeed": mhz, "Name": name, "NumberOfCores": cores, "NumberOfEnabledCore": cores,
            "NumberOfLogicalProcessors": cores * threads, "PowerManagementSupported": False,
            "ProcessorId": "178BFBFF00A00F11" if amd else "1F8BFBFF000606A6", "ProcessorType": 3, "Role": "CPU",
            "SecondLevelAddressTranslationExtensions": not machine.hardware.model.vm,
            "SocketDesignation": f"CPU {socket}", "Status": "OK", "StatusInfo": 3, "SystemName": machine.name,
            "SystemCreationClassName": "Win32_ComputerSystem", "ThreadCount": cores * threads, "UpgradeMethod": 1,
            "VMMonitorModeExtensions": not machine.hardware.model.vm, "VirtualizationFirmwareEnabled": False,
        }
        for socket in range(machine.hardware.sockets)
    ]  # fmt: skip


def memory_modules(moment: Moment) -> list[Row]:
    machine = moment.machine
    size = min(machine.hardware.memory, (32 if machine.hardware.memory >= 64 * GIB else 8) * GIB)
    return [
        {
            "BankLabel": f"Bank {slot}", "Capacity": size, "Caption": "Physical Memory", "ConfiguredClockSpeed": 3200,
            "CreationClassName": "Win32_PhysicalMemory", "DataWidth": 64, "Description": "Physical Memory",
            "DeviceLocator": f"DIMM {slot}", "FormFactor": 8, "Manufacturer": "Samsung", "MemoryType": 0,
            "Name": "Physical Memory", "PartNumber": "M393A4K40EB3-CWE", "SMBIOSMemoryType": 26,
            "SerialNumber": f"{machine.index:06X}{slot:02X}", "Speed": 3200, "Tag": f"Physical Memory {slot}",
            "TotalWidth": 72, "TypeDetail": 8320,
        }
        for slot in range(machine.hardware.memory // size)
    ]  # fmt: skip


def disks(moment: Moment) -> list[Row]:
    machine = moment.machine
    return [
        {
            "BytesPerSector": 512, "Caption": machine.hardware.model.disk, "ConfigManagerErrorCode": 0,
            "CreationClassName": "Win32_DiskDrive", "Description": machine.language.disk,
            "DeviceID": f"\\\\.\\PHYSICALDRIVE{index}", "FirmwareRevision": "2.0", "Index": index,
            "InterfaceType": "SCSI", "Manufacturer": "(Standard disk drives)", "MediaLoaded": True,
            "MediaType": "Fixed hard disk media", "Model": machine.hardware.model.disk,
            "Name": f"\\\\.\\PHYSICALDRIVE{index}",
            "PNPDeviceID": f"SCSI\\DISK&VEN_LAB\\5&{machine.index:X}&0&{index:06X}",
            "Partitions": 3 if index == 0 else 1, "SCSIBus": 0, "SCSILogicalUnit": 0, "SCSIPort": 0,
            "SCSITargetId": index, "SectorsPerTrack": 63, "SerialNumber": f"6000c29{machine.index:08x}{index:02x}",
            "Size": (drive.size + 700_000_000) // 8_225_280 * 8_225_280, "Status": "OK", "SystemName": machine.name,
            "SystemCreationClassName": "Win32_ComputerSystem", "TotalHeads": 255, "TracksPerCylinder": 255,
        }
        for index, drive in enumerate(machine.drives)
    ]  # fmt: skip


def adapter_name(machine: MachineState) -> str:
    """The network adapter as the machine's language calls it."""
    name = machine.hardware.model.nic
    return machine.language.adapters.get(name, name)


def adapters(moment: Moment) -> list[Row]:
    machine = moment.machine
    digits = Dice(machine.seed, machine.index, "mac").hexadecimal(2)
    mac = f"00:50:56:{digits}:{machine.index >> 8 & 255:02X}:{machine.index & 255:02X}"
    name = adapter_name(machine)
    return [{
        "AdapterType": "Ethernet 802.3", "AdapterTypeId": 0, "Availability": 3, "Caption": f"[00000001] {name}",
        "ConfigManagerErrorCode": 0, "CreationClassName": "Win32_NetworkAdapter", "Description": name, "DeviceID": "1",
        "GUID": f"{{{machine.uuid}}}", "Index": 1, "Installed": True, "InterfaceIndex": 6, "MACAddress": mac,
        "Manufacturer": machine.hardware.model.maker, "Name": name, "NetConnectionID": "Ethernet0",
        "NetConnectionStatus": 2, "NetEnabled": True, "PhysicalAdapter": True, "ProductName": name,
        "Speed": machine.hardware.model.bps, "SystemName": machine.name,
        "SystemCreationClassName": "Win32_ComputerSystem",
    }]  # fmt: skip


def video(moment: Moment) -> list[Row]:
    machine = moment.machine
    name = "Microsoft Basic Display Adapter" if machine.hardware.model.vm else "Intel(R) UHD Graphics"
    return [{
        "AdapterCompatibility": name.split()[0], "Availability": 3, "Caption": name, "ConfigManagerErrorCode": 0,
        "CreationClassName": "Win32_VideoController", "CurrentHorizontalResolution": 1024,
        "CurrentVerticalResolution": 768, "Description": name, "DeviceID": "VideoController1",
        "DriverVersion": f"{machine.os.version}.1", "Name": name, "Status": "OK", "SystemName": machine.name,
    }]  # fmt: skip


def battery(moment: Moment) -> list[Row]:
    """Notebooks only; one that is full and on mains."""
    machine = moment.machine
    if machine.hardware.model.chassis != 10:
        return []
    return [{
        "Availability": 2, "BatteryStatus": 2, "Caption": "Internal Battery", "Chemistry": 6,
        "CreationClassName": "Win32_Battery", "Description": "Internal Battery", "DesignVoltage": 11_550,
        "DeviceID": f"{machine.index:05d}LAB", "EstimatedChargeRemaining": 97, "EstimatedRunTime": 71_582_788,
        "Name": "LAB BATTERY", "Status": "OK", "SystemName": machine.name,
    }]  # fmt: skip


PROVIDERS: dict[str, Provider] = {
    "Win32_BIOS": bios,
    "Win32_BaseBoard": base_board,
    "Win32_SystemEnclosure": enclosure,
    "Win32_Processor": processors,
    "Win32_PhysicalMemory": memory_modules,
    "Win32_DiskDrive": disks,
    "Win32_NetworkAdapter": adapters,
    "Win32_VideoController": video,
    "Win32_Battery": battery,
}

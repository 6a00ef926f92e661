"""`rmm collector check`: refuses what a real Windows would refuse, and what a collector must not do."""

from rmm.catalog.check.finding import Finding
from rmm.catalog.check.folder import check_folder, check_folders, check_script, check_shell
from rmm.catalog.check.own_parser import Script, own_findings

__all__ = ["Finding", "Script", "check_folder", "check_folders", "check_script", "check_shell", "own_findings"]

"""`rmm collector check`: refuses what a real Windows would refuse, and what a collector must not do."""

from rmm.catalog.check.finding import Finding
from rmm.catalog.check.folder import check_folder, check_folders, check_script, check_shell

__all__ = ["Finding", "check_folder", "check_folders", "check_script", "check_shell"]

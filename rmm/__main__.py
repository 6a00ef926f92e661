"""The `rmm` command."""

from rmm.cli.main import main

if __name__ == "__main__":
    main()

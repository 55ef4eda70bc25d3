"""`python -m amc_platform.cli`: how a job starts the command, where only its interpreter and its code are known."""

from amc_platform.cli.main import main

if __name__ == "__main__":
    main()

"""Keep the lake small and fast: one step of `lakehouse_maintenance`."""

from exp_platform.operations.maintenance import main

if __name__ == "__main__":
    main()

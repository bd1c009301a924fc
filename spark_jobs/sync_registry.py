"""Write one experiment's configuration to the registry; claims the experiment for this run."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("sync_registry")

"""What a person runs: configs, the comparison, its report, the command line."""

"""What several tests share: small problems, runs of the command line, stores and their faults."""

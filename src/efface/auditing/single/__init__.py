"""What can be said of single requested records: looks that are reported and never decide."""

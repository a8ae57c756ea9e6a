"""The networks and the linear code that they stand on. Offline only: this package needs torch."""

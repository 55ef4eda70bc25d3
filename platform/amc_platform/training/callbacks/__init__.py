"""What happens beside the steps: one contract, one callback a file, each switched by a field of the spec."""

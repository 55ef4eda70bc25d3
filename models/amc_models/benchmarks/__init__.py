"""What the network is measured against: recorded numbers and plain implementations of the same mathematics."""

"""What all styles with accounts have in common."""

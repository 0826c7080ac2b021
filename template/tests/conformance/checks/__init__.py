"""The checks: each async function is one, and its name is its title."""

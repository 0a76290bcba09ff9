"""The five services of the reference InfraCore. Standard library only."""

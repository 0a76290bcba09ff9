"""Everything that is asked of a host in one SSH exec: facts and questions, gathered."""

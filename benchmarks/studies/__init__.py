"""Studies of published methods: which step helps, where, by how much. Each writes the tables of a page in docs."""

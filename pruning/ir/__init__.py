"""What a network is, as data: operators, index maps, and tables of their kinds."""

"""What a network is, as data: operators, kernels, index maps, the forms of their costs."""

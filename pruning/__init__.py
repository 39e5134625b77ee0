"""Budgeted channel pruning of convolutional networks while they train; torch only."""

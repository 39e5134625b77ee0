"""Everything that is drawn: plots, tables and pages that open offline."""

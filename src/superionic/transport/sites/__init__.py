"""Where ions sit, how they jump between sites, and what their jumps connect."""

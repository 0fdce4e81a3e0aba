"""Sites of the mobile ions, jumps between them, and the networks that jumps form."""

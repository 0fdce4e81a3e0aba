"""The probability density of mobile ions."""

"""What single mutants of detection do wrong, and the tests that notice them."""

"""How good signals were, once what they spoke of has happened."""

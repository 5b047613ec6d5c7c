"""A sum of fractions proved to be zero, down to one claim about its numerators and one about its denominators."""

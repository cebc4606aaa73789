"""The headline: does a mask improve any method? Gains over the same method's plain form."""

"""Statistics of studies: pure, seeded functions over arrays and tables; they know neither stores nor pictures."""

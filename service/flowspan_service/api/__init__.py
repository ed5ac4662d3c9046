"""The API without its transport: checks, servicers and conversions, one module per noun."""

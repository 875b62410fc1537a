"""Forms made from declarations: one field for each parameter."""

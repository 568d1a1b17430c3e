"""One module a target: each turns the model into the text of generated files."""

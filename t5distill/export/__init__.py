"""A student as others read it: a Hugging Face directory, a T5X checkpoint."""
